"""A batch in the lab: running, done, called off; candidates that are replaced."""

import csv
import io

import pytest

from tests.lab import at_once, block_of, codes, column
from tests.service.learning.bench import measure

STEPS = {
    "accepted": {"running", "cancelled"},
    "running": {"done", "cancelled"},
    "done": set(),
    "cancelled": set(),
}
WAYS_TO = {
    "accepted": [],
    "running": ["running"],
    "done": ["running", "done"],
    "cancelled": ["cancelled"],
}


@pytest.fixture
def recommendation(lab, campaign):
    return lab.recommend(campaign["id"])


@pytest.fixture
def batch(lab, recommendation):
    return lab.ok(lab.accept(recommendation))


def path(batch, item=None):
    return f"/v1/batches/{batch['id']}" + (f"/items/{item['id']}/replacement" if item else "")


def read(lab, batch):
    return lab.ok(lab.get(path(batch)))


def change(lab, batch, version, **body):
    return lab.patch(path(batch), body, version)


def brought_to(lab, batch, status):
    for step in WAYS_TO[status]:
        batch = lab.ok(change(lab, batch, batch["version"], status=step))
    return batch


def replace(lab, batch, item, **body):
    return lab.post(path(batch, item), {"reason": "out of stock", **body})


def give_results(lab, campaign, *items):
    measure(lab, campaign, [((a, b), line) for a, b, line in map(block_of, items)])


class TestLifecycle:
    @pytest.mark.parametrize("present", STEPS)
    def test_every_step_from(self, lab, recommendation, present):
        for rank, wanted in enumerate(["running", "done", "cancelled"], start=1):
            fresh = lab.ok(lab.accept(recommendation, ranks=[rank]))
            batch = brought_to(lab, fresh, present)
            response = change(lab, batch, batch["version"], status=wanted)
            if wanted in STEPS[present] or wanted == present:
                assert lab.ok(response)["status"] == wanted
            else:
                assert present in lab.refused(response, 409)["detail"]
                assert read(lab, batch) == batch

    def test_times_are_kept(self, lab, batch):
        running = lab.ok(change(lab, batch, 1, status="running"))
        assert running["started_at"] > batch["created_at"]
        assert running["finished_at"] is None
        done = lab.ok(change(lab, batch, 2, status="done"))
        assert done["finished_at"] > done["started_at"] == running["started_at"]

    def test_done_says_what_was_measured_and_gives_the_rest_back(self, lab, campaign, batch):
        running = lab.ok(change(lab, batch, 1, status="running"))
        give_results(lab, campaign, *running["items"][:2])
        partial = read(lab, batch)
        assert column(partial["items"], "has_results") == [True, True, False, False]
        assert (partial["n_items"], partial["n_with_results"]) == (4, 2)
        assert set(column(partial["items"], "status")) == {"pending"}
        done = lab.ok(change(lab, batch, 2, status="done"))
        assert column(done["items"], "status") == ["measured", "measured", "missing", "missing"]
        again = {block_of(c) for c in lab.recommend(campaign["id"])["candidates"]}
        items = [block_of(item) for item in done["items"]]
        assert again >= set(items[2:])
        assert not again & set(items[:2])

    def test_cancelled_gives_everything_back(self, lab, campaign, recommendation, batch):
        cancelled = lab.ok(change(lab, batch, 1, status="cancelled"))
        assert set(column(cancelled["items"], "status")) == {"released"}
        again = lab.recommend(campaign["id"])
        assert (again["n_pool"], again["round"]) == (14, 1)
        assert lab.ok(lab.accept(recommendation))["round"] == 1

    def test_cancelled_keeps_what_was_measured(self, lab, campaign, batch):
        give_results(lab, campaign, batch["items"][0])
        cancelled = lab.ok(change(lab, batch, 1, status="cancelled"))
        assert column(cancelled["items"], "status") == ["measured"] + ["released"] * 3

    def test_a_finished_round_counts(self, lab, campaign, batch):
        brought_to(lab, batch, "done")
        assert lab.recommend(campaign["id"])["round"] == 2

    def test_every_step_is_in_the_trail(self, lab, batch):
        brought_to(lab, batch, "done")
        steps = [
            (event["old"]["status"], event["new"]["status"])
            for event in lab.events("batch.changed")
            if "status" in event["new"]
        ]
        assert steps == [("accepted", "running"), ("running", "done")]
        ends = [event["new"]["status"] for event in lab.events("batch_item.changed")]
        assert ends == ["missing"] * 4

    def test_a_note(self, lab, batch):
        noted = lab.ok(change(lab, batch, 1, note="plate 7"))
        assert (noted["note"], noted["status"], noted["version"]) == ("plate 7", "accepted", 2)
        assert lab.ok(change(lab, batch, 2, note=None))["note"] is None

    @pytest.mark.parametrize(("version", "status"), [(None, 428), (9, 412)])
    def test_without_the_present_version(self, lab, batch, version, status):
        with lab.untouched():
            lab.refused(change(lab, batch, version, status="running"), status)
        assert read(lab, batch) == batch

    def test_two_steps_at_one_version(self, lab, batch):
        answers = at_once(
            lambda: change(lab, batch, 1, status="running"),
            lambda: change(lab, batch, 1, status="cancelled"),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412]

    def test_in_a_closed_campaign(self, lab, campaign, batch):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        with lab.untouched():
            lab.refused(change(lab, batch, 1, status="running"), 409)
            lab.refused(replace(lab, batch, batch["items"][0]), 409)
        assert read(lab, batch) == batch


class TestReplacing:
    def test_one_out_and_the_next_best_in(self, lab, recommendation, batch):
        response = replace(lab, batch, batch["items"][1])
        successor = lab.ok(response)
        assert response.status_code == 201
        assert block_of(successor) == block_of(recommendation["candidates"][4])
        assert (successor["position"], successor["rank"]) == (2, 5)
        after = read(lab, batch)
        assert (after["n_items"], after["version"]) == (4, 2)
        assert [(i["position"], i["status"]) for i in after["items"]] == [
            (1, "pending"), (2, "replaced"), (2, "pending"), (3, "pending"), (4, "pending"),
        ]  # fmt: skip

    def test_what_was_replaced_is_free_again_but_not_for_this_batch(
        self, lab, campaign, recommendation, batch
    ):
        gone = block_of(batch["items"][0])
        successor = lab.ok(replace(lab, batch, batch["items"][0]))
        second = lab.ok(replace(lab, batch, successor))
        assert block_of(second) == block_of(recommendation["candidates"][5])
        assert gone in {block_of(c) for c in lab.recommend(campaign["id"])["candidates"]}

    def test_a_ban_keeps_it_away_for_good(self, lab, campaign, batch):
        gone = block_of(batch["items"][0])
        lab.ok(replace(lab, batch, batch["items"][0], ban=True))
        (ban,) = lab.every(f"/v1/campaigns/{campaign['id']}/marks")
        assert (ban["mark"], ban["reason"]) == ("ban", "out of stock")
        assert ban["cell_line"] == batch["items"][0]["cell_line"]["id"]
        assert gone not in {block_of(c) for c in lab.recommend(campaign["id"])["candidates"]}

    def test_without_a_ban_no_mark_is_made(self, lab, campaign, batch):
        lab.ok(replace(lab, batch, batch["items"][0]))
        assert lab.every(f"/v1/campaigns/{campaign['id']}/marks") == []

    def test_what_is_banned_pending_or_measured_does_not_come_in(
        self, lab, campaign, recommendation, batch
    ):
        first, *others = recommendation["candidates"][4:]
        banned = block_of(first)[:2]
        ban = {"marks": [{"mark": "ban", "compounds": banned}]}
        lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", ban))
        taken, measured, free, *_ = [c for c in others if block_of(c)[:2] != banned]
        lab.ok(lab.accept(recommendation, ranks=[taken["rank"]]))
        give_results(lab, campaign, measured)
        assert block_of(lab.ok(replace(lab, batch, batch["items"][0]))) == block_of(free)

    def test_the_cap_holds_and_what_leaves_makes_room(self, lab, campaign):
        """With one use a compound, the successor may use the compounds of what it replaces."""
        limits = {"limits": {"batch_size": 1, "max_per_compound": 1}}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", limits, 1))
        recommendation = lab.recommend(campaign["id"])
        batch = lab.ok(lab.accept(recommendation))
        successor = lab.ok(replace(lab, batch, batch["items"][0]))
        assert block_of(successor) == block_of(recommendation["candidates"][1])

    def test_a_successor_never_breaks_the_cap(self, lab, campaign):
        limits = {"limits": {"batch_size": 2, "max_per_compound": 1}}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", limits, 1))
        batch = lab.ok(lab.accept(lab.recommend(campaign["id"])))
        kept = set(block_of(batch["items"][0])[:2])
        successor = lab.ok(replace(lab, batch, batch["items"][1]))
        assert not kept & set(block_of(successor)[:2])

    def test_nothing_is_left_to_take(self, lab, campaign, recommendation):
        batch = lab.ok(lab.accept(recommendation, ranks=list(range(1, 15))))
        with lab.untouched():
            problem = lab.refused(replace(lab, batch, batch["items"][0], ban=True), 409)
        assert "Ask for a new one" in problem["detail"]
        assert read(lab, batch) == batch

    def test_the_reason_is_in_the_trail(self, lab, batch):
        lab.ok(replace(lab, batch, batch["items"][0]))
        (out,) = lab.events("batch_item.changed")
        assert (out["old"], out["new"]) == ({"status": "pending"}, {"status": "replaced"})
        assert out["reason"] == "out of stock"

    def test_what_breaks_the_schema(self, lab, batch, subtests):
        for body, pointer in [
            ({"reason": None}, "/reason"),
            ({"reason": ""}, "/reason"),
            ({"reason": " \t "}, "/reason"),
            ({"ban": "yes"}, "/ban"),
        ]:
            with subtests.test(str(body)), lab.untouched():
                problem = lab.refused(replace(lab, batch, batch["items"][0], **body), 422)
                assert codes(problem)[0][1] == pointer

    @pytest.mark.parametrize("status", ["running", "done", "cancelled"])
    def test_only_in_a_batch_that_does_not_run_yet(self, lab, batch, status):
        batch = brought_to(lab, batch, status)
        with lab.untouched():
            problem = lab.refused(replace(lab, batch, batch["items"][0]), 409)
        assert status in problem["detail"]

    def test_twice(self, lab, batch):
        lab.ok(replace(lab, batch, batch["items"][0]))
        with lab.untouched():
            problem = lab.refused(replace(lab, batch, batch["items"][0]), 409)
        assert "replaced" in problem["detail"]

    def test_two_at_the_same_moment(self, lab, recommendation, batch):
        first, second = batch["items"][:2]
        answers = at_once(
            lambda: replace(lab, batch, first),
            lambda: replace(lab, batch, first),
            lambda: replace(lab, batch, second),
        )
        assert [answer.status_code for answer in answers[:2]].count(201) == 1
        assert answers[2].status_code == 201
        pending = [block_of(i) for i in read(lab, batch)["items"] if i["status"] == "pending"]
        assert len(pending) == len(set(pending)) == 4

    def test_an_item_of_another_batch(self, lab, recommendation, batch):
        other = lab.ok(lab.accept(recommendation, ranks=[8]))
        with lab.untouched():
            lab.refused(replace(lab, batch, other["items"][0]), 404)


def test_the_batch_as_csv(lab, campaign, batch):
    lab.ok(replace(lab, batch, batch["items"][3]))
    give_results(lab, campaign, batch["items"][0])
    response = lab.get(path(batch), params={"format": "csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    items = read(lab, batch)["items"]
    assert column(rows, "status") == column(items, "status")
    for row, item in zip(rows, items, strict=True):
        assert (row["compound_1"], row["compound_2"], row["cell_line"]) == (
            item["compounds"][0]["name"], item["compounds"][1]["name"], item["cell_line"]["name"],
        )  # fmt: skip
        assert row["doses_1_um"] == "0.3 3"
        assert row["has_results"] == str(item["has_results"])
        assert float(row["mean"]) == item["predicted"]["mean"]
