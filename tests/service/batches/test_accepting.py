"""POST /v1/campaigns/{id}/batches: into the lab, every candidate once."""

import pytest

from tests.lab import at_once, block_of, codes, column
from tests.service.learning.bench import measure, open_campaign, start_campaign


@pytest.fixture
def recommendation(lab, campaign):
    return lab.recommend(campaign["id"])


def path(campaign):
    return f"/v1/campaigns/{campaign['id']}/batches"


def blocks(batch):
    return [block_of(item) for item in batch["items"]]


def mark(lab, campaign, kind, block, whole_pair=False):
    a, b, line = block
    item = {"mark": kind, "compounds": [b, a], "cell_line": None if whole_pair else line}
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", {"marks": [item]}))


class TestAccepting:
    def test_the_batch_as_it_was_recommended(self, lab, campaign, recommendation):
        response = lab.accept(recommendation, note="Thursday")
        batch = lab.ok(response)
        assert response.status_code == 201
        assert response.headers["location"] == f"/v1/batches/{batch['id']}"
        assert response.headers["etag"] == '"1"'
        chosen = [c for c in recommendation["candidates"] if c["in_batch"]]
        assert blocks(batch) == [block_of(candidate) for candidate in chosen]
        assert (batch["status"], batch["round"], batch["note"]) == ("accepted", 1, "Thursday")
        assert (batch["n_items"], batch["n_with_results"]) == (4, 0)
        assert column(batch["items"], "position") == column(batch["items"], "rank") == [1, 2, 3, 4]
        assert set(column(batch["items"], "status")) == {"pending"}
        for item, candidate in zip(batch["items"], chosen, strict=True):
            assert item["compounds"] == candidate["compounds"]
            assert item["predicted"]["mean"] == candidate["mean"]
            assert item["predicted"]["reason"] == candidate["reason"]
        assert lab.ok(lab.get(f"/v1/batches/{batch['id']}")) == batch

    def test_some_ranks_in_ones_own_order(self, lab, recommendation):
        batch = lab.ok(lab.accept(recommendation, ranks=[9, 2, 14]))
        assert column(batch["items"], "rank") == [9, 2, 14]
        assert column(batch["items"], "position") == [1, 2, 3]
        ranked = [block_of(candidate) for candidate in recommendation["candidates"]]
        assert blocks(batch) == [ranked[8], ranked[1], ranked[13]]

    def test_doses_are_those_of_the_recommendation(self, lab, campaign, recommendation):
        batch = lab.ok(lab.accept(recommendation))
        assert batch["items"][0]["compounds"][0]["doses_um"] == [0.3, 3.0]

    def test_pending_blocks_are_never_proposed_again(self, lab, campaign, recommendation):
        first = lab.ok(lab.accept(recommendation))
        second = lab.recommend(campaign["id"])
        assert (second["round"], second["n_pool"]) == (2, 10)
        assert not {block_of(c) for c in second["candidates"]} & set(blocks(first))
        batch = lab.ok(lab.accept(second))
        assert batch["round"] == 2
        assert not set(blocks(batch)) & set(blocks(first))

    def test_it_is_in_the_trail_with_all_its_items(self, lab, recommendation):
        batch = lab.ok(lab.accept(recommendation))
        (event,) = lab.events("batch.created")
        assert event["subject_id"] == batch["id"]
        assert (event["new"]["status"], event["new"]["round"]) == ("accepted", 1)
        assert len(lab.events("batch_item.created")) == 4


class TestRefusals:
    def test_what_is_in_another_batch(self, lab, recommendation):
        lab.ok(lab.accept(recommendation, ranks=[2, 3]))
        with lab.untouched():
            problem = lab.refused(lab.accept(recommendation), 409)
        assert column(problem["errors"], "row") == [2, 3]
        names = block_of(recommendation["candidates"][1])
        assert f"{names[0]} + {names[1]} in {names[2]}" in problem["detail"]
        assert "in another batch" in problem["detail"]
        batch = lab.ok(lab.accept(recommendation, ranks=[1, 4]))
        assert column(batch["items"], "rank") == [1, 4]

    def test_what_was_measured_since(self, lab, campaign, recommendation):
        a, b, line = block_of(recommendation["candidates"][0])
        measure(lab, campaign, [((a, b), line)])
        with lab.untouched():
            problem = lab.refused(lab.accept(recommendation), 409)
        assert [(e["row"], e["code"]) for e in problem["errors"]] == [(1, "unavailable")]
        assert "measured since" in problem["detail"]

    @pytest.mark.parametrize("whole_pair", [True, False])
    def test_what_was_banned_since(self, lab, campaign, recommendation, whole_pair):
        mark(lab, campaign, "ban", block_of(recommendation["candidates"][0]), whole_pair)
        with lab.untouched():
            problem = lab.refused(lab.accept(recommendation, ranks=[1]), 409)
        assert "banned since" in problem["detail"]

    def test_a_pin_on_one_line_wins_over_a_ban_on_the_pair(self, lab, campaign):
        block = ("A", "E", "Y")
        mark(lab, campaign, "ban", block, whole_pair=True)
        mark(lab, campaign, "pin", block)
        recommendation = lab.recommend(campaign["id"])
        assert block_of(recommendation["candidates"][0]) == block
        assert blocks(lab.ok(lab.accept(recommendation)))[0] == block

    def test_ranks_that_are_none(self, lab, recommendation, subtests):
        for ranks, pointer, words in [
            ([1, 15], "/ranks/1", "not in 1 to 14"),
            ([0], "/ranks/0", "not in 1 to 14"),
            ([-1], "/ranks/0", "not in 1 to 14"),
            ([1, 2, 1], "/ranks/2", "listed twice"),
            ([], "/ranks", "at least 1"),
            ([1.0], "/ranks/0", "integer"),
            (["1"], "/ranks/0", "integer"),
            ([10**30], "/ranks/0", "not in 1 to 14"),
        ]:
            with subtests.test(str(ranks)), lab.untouched():
                problem = lab.refused(lab.accept(recommendation, ranks=ranks), 422)
                assert codes(problem)[0][1] == pointer
                assert words in problem["detail"]

    @pytest.mark.parametrize("status", ["paused", "closed"])
    def test_a_campaign_that_is_not_open(self, lab, campaign, recommendation, status):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": status}, 1))
        with lab.untouched():
            problem = lab.refused(lab.accept(recommendation), 409)
        assert status in problem["detail"]

    def test_a_recommendation_of_another_campaign(self, lab, campaign, recommendation):
        other = open_campaign(lab, name="Other")
        body = {"recommendation_id": recommendation["id"]}
        with lab.untouched():
            lab.refused(lab.post(path(other), body), 404)

    @pytest.mark.parametrize("identifier", ["rec_x", "", None, "cam_00000000000000000000000000"])
    def test_what_is_no_recommendation(self, lab, campaign, identifier):
        with lab.untouched():
            response = lab.post(path(campaign), {"recommendation_id": identifier})
            lab.refused(response, 404 if str(identifier).startswith("cam_") else 422)


class TestOtherWorkspaces:
    def test_a_recommendation_of_another_lab(self, lab, other_lab, recommendation):
        theirs = start_campaign(other_lab)
        body = {"recommendation_id": recommendation["id"]}
        with lab.untouched():
            other_lab.refused(other_lab.accept(recommendation), 404)
            other_lab.refused(other_lab.post(path(theirs), body), 404)

    def test_batches_are_ones_own(self, lab, other_lab, campaign, recommendation):
        batch = lab.ok(lab.accept(recommendation))
        other_lab.refused(other_lab.get(f"/v1/batches/{batch['id']}"), 404)
        other_lab.refused(other_lab.get(path(campaign)), 404)
        with lab.untouched():
            change = other_lab.patch(f"/v1/batches/{batch['id']}", {"status": "cancelled"}, 1)
            other_lab.refused(change, 404)
            item = batch["items"][0]["id"]
            swap = f"/v1/batches/{batch['id']}/items/{item}/replacement"
            other_lab.refused(other_lab.post(swap, {"reason": "mine now"}), 404)

    def test_what_is_pending_there_is_free_here(self, lab, other_lab, campaign, recommendation):
        lab.ok(lab.accept(recommendation))
        theirs = other_lab.recommend(start_campaign(other_lab)["id"])
        assert theirs["n_pool"] == 14


class TestAtOnce:
    def test_two_accepts_of_the_same_batch(self, lab, recommendation):
        answers = at_once(*[lambda: lab.accept(recommendation)] * 3)
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        for answer in answers:
            if answer.status_code == 409:
                assert column(answer.json()["errors"], "row") == [1, 2, 3, 4]
        assert lab.rows()["batch"] == 1
        assert lab.rows()["batch_item"] == 4

    def test_overlapping_ranks_in_opposite_orders(self, lab, recommendation):
        """Rows inserted in opposite orders are how deadlocks are made."""
        answers = at_once(
            lambda: lab.accept(recommendation, ranks=[1, 2, 3, 4, 5, 6]),
            lambda: lab.accept(recommendation, ranks=[6, 5, 4, 3, 2, 1]),
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        assert lab.rows()["batch_item"] == 6

    def test_disjoint_ranks_both_win_and_are_two_rounds(self, lab, recommendation):
        answers = at_once(
            lambda: lab.accept(recommendation, ranks=[1, 2]),
            lambda: lab.accept(recommendation, ranks=[3, 4]),
        )
        assert sorted(lab.ok(answer)["round"] for answer in answers) == [1, 2]


def test_the_list_is_oldest_first_and_short(lab, campaign, recommendation):
    first = lab.ok(lab.accept(recommendation, ranks=[1]))
    second = lab.ok(lab.accept(recommendation, ranks=[2]))
    listed = lab.every(path(campaign), limit=1)
    assert column(listed, "id") == [first["id"], second["id"]]
    assert "items" not in listed[0]
