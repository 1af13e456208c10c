"""Recommendations under the rules of a laboratory, and what they say of themselves."""

import csv
import io

import pytest

from models import rounds
from tests.lab import block_of, column
from tests.service.learning.bench import BLOCKS, measure, open_campaign, start_campaign

PLATES = {
    "batch_size": 6,
    "plates": 3,
    "blocks_per_plate": 2,
    "compounds_per_plate": 3,
    "lines_per_plate": 1,
}


def begin(lab, **more):
    """A campaign whose model is the quickest."""
    return start_campaign(lab, **{"learning": {"model": "plain_gp"}, **more})


@pytest.fixture
def campaign(lab):
    return begin(lab)


def ask(lab, campaign, **body):
    return lab.post(f"/v1/campaigns/{campaign['id']}/recommendations", {"seed": 1, **body})


def pin(lab, campaign, pair, line=None):
    body = {"marks": [{"mark": "pin", "compounds": list(pair), "cell_line": line}]}
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", body))


def batch(recommendation):
    return [one for one in recommendation["candidates"] if one["in_batch"]]


def on_plates(rows):
    plates = {}
    for one in rows:
        plates.setdefault(one["plate"], []).append(block_of(one))
    return plates


class TestPlates:
    def test_every_plate_is_one_that_the_lab_can_run(self, lab):
        campaign = begin(lab, limits=PLATES)
        answer = lab.recommend(campaign["id"])
        plates = on_plates(batch(answer))
        assert sorted(plates) == list(range(1, len(plates) + 1))
        assert 1 <= len(plates) <= 3
        for blocks in plates.values():
            assert len(blocks) <= 2
            assert len({c for a, b, _ in blocks for c in (a, b)}) <= 3
            assert len({line for *_, line in blocks}) == 1
        assert {one["plate"] for one in answer["candidates"] if not one["in_batch"]} == {None}
        assert (answer["limits"]["plates"], answer["limits"]["batch"]) == (3, 6)
        solution = answer["solution"]
        assert solution["bound"] >= solution["value"] > 0
        assert solution["method"]
        text = lab.get(f"/v1/recommendations/{answer['id']}", params={"format": "csv"}).text
        rows = list(csv.DictReader(io.StringIO(text)))
        assert column(rows, "plate") == [str(o["plate"] or "") for o in answer["candidates"]]

    def test_plates_and_not_the_batch_size_say_how_many(self, lab):
        campaign = begin(lab, limits={**PLATES, "batch_size": 96})
        assert lab.recommend(campaign["id"])["limits"]["batch"] == 6
        assert lab.recommend(campaign["id"], batch_size=2)["n_batch"] == 2

    def test_a_batch_that_falls_short_says_why(self, lab):
        limits = {"batch_size": 8, "stock": dict.fromkeys("ABCDE", 1)}
        answer = lab.recommend(begin(lab, limits=limits)["id"])
        assert answer["n_batch"] == 2
        assert "2 of 8 blocks" in answer["shortfall"]
        assert "compound 0" not in answer["shortfall"]

    def test_without_such_rules_nothing_is_said_of_them(self, lab, campaign):
        answer = lab.recommend(campaign["id"])
        assert answer["shortfall"] is answer["solution"] is None
        assert answer["limits"] == {"batch": 4, "per_compound": None}
        assert set(column(answer["candidates"], "plate")) == {None}

    def test_compounds_that_must_not_meet_never_do(self, lab):
        limits = {"batch_size": 14, "never_together": [["A", "E"], ["B", "C"]]}
        answer = lab.recommend(begin(lab, limits=limits)["id"])
        pairs = {block_of(one)[:2] for one in batch(answer)}
        assert not pairs & {("A", "E"), ("B", "C")}
        assert answer["n_batch"] == 10

    def test_an_impossible_request_names_the_rules(self, lab):
        campaign = begin(lab, limits={**PLATES, "plates": 1})
        pin(lab, campaign, "BC", "X")
        pin(lab, campaign, "DE", "X")
        job = lab.run(ask(lab, campaign))
        assert (job["status"], job["problem"]["status"]) == ("failed", 409)
        assert job["problem"]["type"] == "/problems/conflicting-rules"
        assert "4 compounds" in job["problem"]["detail"]
        assert "at most 3 compounds" in job["problem"]["detail"]
        assert lab.every(f"/v1/campaigns/{campaign['id']}/recommendations") == []

    def test_what_is_out_of_stock_is_called_by_its_name(self, lab):
        campaign = begin(lab, limits={**PLATES, "stock": {"E": 0}})
        pin(lab, campaign, "AE", "X")
        problem = lab.run(ask(lab, campaign))["problem"]
        assert "there is no stock of E" in problem["detail"]

    def test_plates_follow_into_the_batch(self, lab):
        answer = lab.recommend(begin(lab, limits=PLATES)["id"])
        accepted = lab.ok(lab.accept(answer))
        assert column(accepted["items"], "plate") == column(batch(answer), "plate")
        rank = answer["n_batch"] + 1
        lab.ok(lab.patch(f"/v1/batches/{accepted['id']}", {"status": "cancelled"}, 1))
        own = lab.ok(lab.accept(answer, ranks=[rank, 1]))
        assert own["items"][1]["plate"] == batch(answer)[0]["plate"]
        assert own["items"][0]["plate"] in (1, 2)

    def test_a_replacement_takes_the_place_on_the_plate(self, lab):
        campaign = begin(lab, limits={**PLATES, "plates": 1, "compounds_per_plate": 4})
        accepted = lab.ok(lab.accept(lab.recommend(campaign["id"])))
        item = accepted["items"][0]
        path = f"/v1/batches/{accepted['id']}/items/{item['id']}/replacement"
        new = lab.ok(lab.post(path, {"reason": "broken vial"}))
        assert new["plate"] == item["plate"] == 1
        other = accepted["items"][1]
        assert block_of(new)[2] == block_of(other)[2]

    def test_no_replacement_fits(self, lab):
        limits = {"batch_size": 2, "stock": dict.fromkeys("ABCDE", 1)}
        accepted = lab.ok(lab.accept(lab.recommend(begin(lab, limits=limits)["id"])))
        item = accepted["items"][0]
        path = f"/v1/batches/{accepted['id']}/items/{item['id']}/replacement"
        response = lab.post(path, {"reason": "broken vial"})
        spare = set("ABCDE") - {c for i in accepted["items"][1:] for c in block_of(i)[:2]}
        if response.status_code == 201:
            assert set(block_of(response.json())[:2]) <= spare
        else:
            lab.refused(response, 409)


class TestWhatItSays:
    @pytest.mark.parametrize("acquisition", ["expected_improvement", "top_k", "bald"])
    def test_the_step_is_what_was_asked_for(self, lab, campaign, acquisition):
        answer = lab.recommend(campaign["id"], acquisition=acquisition)
        assert answer["step"]["acquisition"] == acquisition
        assert acquisition in answer["step"]["reason"]

    def test_the_service_chooses(self, lab):
        learning = {"acquisition": "auto", "rounds_planned": 1, "model": "plain_gp"}
        answer = lab.recommend(begin(lab, learning=learning)["id"])
        assert answer["rules"]["rounds_planned"] == 1
        assert "Last of 1 planned rounds" in answer["step"]["reason"]
        assert answer["step"]["acquisition"] == "hit_probability"

    def test_what_is_left_to_find(self, lab, campaign):
        answer = lab.recommend(campaign["id"])
        outlook = answer["outlook"]
        assert outlook["usable"] == 14
        assert outlook["left"]["low"] <= outlook["left"]["expected"] <= 14
        assert outlook["advice"] in ("go on", "consider stopping", "stop")
        assert outlook["reason"]
        raw = column(answer["candidates"], "raw_hit_probability")
        assert all(0 <= chance <= 1 for chance in raw)

    def test_before_there_is_a_model(self, lab):
        answer = lab.recommend(open_campaign(lab)["id"])
        assert answer["outlook"] is answer["calibration"] is None
        assert answer["step"]["reason"]


class TestHistory:
    def test_earlier_forecasts_are_held_against_what_was_measured(self, lab, monkeypatch):
        """Those of a model, of what has results now, for the same threshold."""
        objective = {"score": "bliss_mean", "hit_threshold": 1.0}
        campaign = begin(lab, objective=objective)
        first = lab.recommend(campaign["id"])
        lab.ok(lab.accept(first))
        done = batch(first)[:3]
        measure(lab, campaign, [(block_of(one)[:2], block_of(one)[2]) for one in done])
        asked, heard = ask(lab, campaign), {}
        score_pool = rounds.score_pool

        def listen(*args, **more):
            heard.update(more)
            return score_pool(*args, **more)

        monkeypatch.setattr(rounds, "score_pool", listen)
        second = lab.result(asked, "recommendation")
        assert heard["round_number"] == second["round"] == 2
        stated = sorted(one["raw_hit_probability"] for one in done)
        assert sorted(heard["history"].chance) == stated
        found = {block_of(b): b["is_hit"] for b in self.blocks(lab, second)}
        hits = [found[block_of(one)] for one in done]
        assert sorted(heard["history"].hit.tolist()) == sorted(hits)
        assert heard["history"].rounds_ago.tolist() == [0, 0, 0]

        objective = {"objective": {"score": "bliss_mean", "hit_threshold": 2.0}}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", objective, 1))
        lab.recommend(campaign["id"])
        assert len(heard["history"]) == 0

    def blocks(self, lab, recommendation):
        found = lab.ok(lab.get(f"/v1/models/{recommendation['model_id']}/blocks"))["items"]
        return [
            {
                "compounds": [{"name": name} for name in block["compound_names"]],
                "cell_line": {"name": block["cell_line_name"]},
                "is_hit": block["is_hit"],
            }
            for block in found
        ]

    def test_a_round_by_chance_had_forecast_nothing(self, lab, campaign, monkeypatch):
        first = lab.recommend(campaign["id"], acquisition="random")
        lab.ok(lab.accept(first, ranks=[1]))
        one = batch(first)[0]
        measure(lab, campaign, [(block_of(one)[:2], block_of(one)[2])])
        asked, heard, score_pool = ask(lab, campaign), {}, rounds.score_pool
        listen = lambda *a, **more: heard.update(more) or score_pool(*a, **more)  # noqa: E731
        monkeypatch.setattr(rounds, "score_pool", listen)
        lab.result(asked, "recommendation")
        assert len(heard["history"]) == 0


class TestLearningCurve:
    def path(self, campaign):
        return f"/v1/campaigns/{campaign['id']}/learning-curve"

    def test_round_by_round(self, lab):
        objective = {"score": "bliss_mean", "hit_threshold": 0.5}
        campaign = begin(lab, objective=objective)
        first = lab.recommend(campaign["id"])
        lab.ok(lab.accept(first))
        measure(lab, campaign, [(block_of(o)[:2], block_of(o)[2]) for o in batch(first)])
        second = lab.recommend(campaign["id"])
        curve = lab.ok(lab.get(self.path(campaign)))
        assert (curve["recommendation_id"], curve["hit_threshold"]) == (second["id"], 0.5)
        assert column(curve["rounds"], "number") == [0, 1]
        assert column(curve["rounds"], "measured") == [6, 10]
        found = column(curve["rounds"], "found")
        model = lab.ok(lab.get(f"/v1/models/{second['model_id']}/blocks"))["items"]
        assert found[1] == sum(block["is_hit"] for block in model)
        for one in curve["rounds"]:
            assert one["random_low"] <= one["random"] + 1
            assert one["random"] <= one["random_high"] + 1
        assert curve["outlook"] == second["outlook"]

    def test_before_there_is_a_model(self, lab):
        campaign = open_campaign(lab)
        lab.recommend(campaign["id"])
        problem = lab.refused(lab.get(self.path(campaign)), 409)
        assert "recommendations" in problem["detail"]

    def test_of_another_workspace(self, lab, other_lab, campaign):
        other_lab.refused(other_lab.get(self.path(campaign)), 404)


def test_only_those_of_the_pool_are_ranked(lab, campaign):
    """Pins are shown as such, also beyond the batch's end."""
    pin(lab, campaign, "AE", "X")
    answer = lab.recommend(campaign["id"])
    pinned = [block_of(one) for one in answer["candidates"] if one["pinned"]]
    assert pinned == [("A", "E", "X")]
    assert len(answer["candidates"]) == len(BLOCKS) - 6
