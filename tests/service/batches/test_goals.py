"""Rounds of campaigns that look for something else than a score, over HTTP."""

import csv
import io

import pytest

from tests.lab import block_of, column
from tests.service.learning.bench import BLOCKS, measure, open_campaign, singles, start_campaign

EFFICACY = {"kind": "efficacy", "summary": "mean"}
SELECTIVE = {"kind": "selectivity", "kill": ["X"], "spare": ["Y"]}
SUM = {
    "kind": "weighted_sum",
    "terms": [
        {"objective": {"kind": "score"}, "weight": 2.0},
        {"objective": {"kind": "efficacy", "summary": "max"}, "weight": 0.5},
    ],
}
FRONT = {
    "kind": "pareto",
    "objectives": [
        {"objective": {"kind": "score"}, "reference": -5.0},
        {"objective": EFFICACY, "reference": 30.0},
    ],
}
GOALS = {"efficacy": EFFICACY, "selectivity": SELECTIVE, "weighted_sum": SUM, "pareto": FRONT}
QUICK = {"model": "plain_gp"}


def begin(lab, goal, **more):
    objective = {"goal": goal, **more.pop("objective", {})}
    return start_campaign(lab, objective=objective, learning=QUICK, **more)


def lab_work(lab, campaign, recommendation):
    batch = lab.ok(lab.accept(recommendation))
    lab.ok(lab.patch(f"/v1/batches/{batch['id']}", {"status": "running"}, 1))
    blocks = [block_of(item) for item in batch["items"]]
    measure(lab, campaign, [((a, b), line) for a, b, line in blocks])
    lab.ok(lab.patch(f"/v1/batches/{batch['id']}", {"status": "done"}, 2))
    return blocks


def blocks_of_model(lab, recommendation):
    return lab.ok(lab.get(f"/v1/models/{recommendation['model_id']}/blocks"))["items"]


@pytest.mark.parametrize("kind", GOALS)
def test_two_rounds_of_each_kind(lab, kind):
    campaign = begin(lab, GOALS[kind], objective={} if kind == "pareto" else {"hit_threshold": 1.0})
    first = lab.recommend(campaign["id"])
    said = first["objective"]
    assert said["kind"] == kind
    assert said["known"] == 6
    assert said["compares_lines"] == (kind == "selectivity")
    assert len(said["parts"]) == (0 if kind == "efficacy" else 2)
    for one in first["candidates"]:
        assert one["q05"] < one["mean"] < one["q95"] or one["sd"] < 1
        assert 0 <= one["probability_of_improvement"] <= 1
        assert one["expected_improvement"] >= 0
        assert (one["objective"] is None) == (kind == "efficacy")
    measured = lab_work(lab, campaign, first)
    second = lab.recommend(campaign["id"], seed=2)
    assert second["round"] == 2
    assert not {block_of(one) for one in second["candidates"]} & set(measured)
    known = [b for b in blocks_of_model(lab, second) if b["is_hit"] is not None]
    assert second["objective"]["known"] == len(known)
    assert second["objective"]["best"] == pytest.approx(
        max(b["objective"] for b in known), abs=1e-3
    )
    curve = lab.ok(lab.get(f"/v1/campaigns/{campaign['id']}/learning-curve"))
    assert curve["rounds"][-1]["found"] == sum(b["is_hit"] for b in known)
    assert curve["rounds"][-1]["measured"] == len(known)
    assert second["outlook"]["found"] == sum(b["is_hit"] for b in known)
    if said["compares_lines"] or kind == "pareto":
        return
    assert second["calibration"]["n_blocks"] == len(measured)


def test_selectivity_by_hand(lab):
    campaign = begin(lab, SELECTIVE, objective={"hit_threshold": 2.0})
    answer = lab.recommend(campaign["id"])
    parts = answer["objective"]["parts"]
    assert [part["cell_line"]["name"] for part in parts] == ["X", "Y"]
    assert [part["weight"] for part in parts] == [1.0, -1.0]
    assert "cel_" not in answer["objective"]["description"]
    assert answer["objective"]["description"].endswith("in X minus that in Y")
    by_pair = {}
    for one in answer["candidates"]:
        kill, spare = one["objective"]["parts"]
        assert one["mean"] == pytest.approx(kill["mean"] - spare["mean"], abs=1e-3)
        numbers = tuple(one[n] for n in ("mean", "hit_probability", "acquisition"))
        by_pair.setdefault(block_of(one)[:2], set()).add(numbers)
    assert {len(numbers) for numbers in by_pair.values()} == {1}
    efficacy = lab.campaign(
        **{"compounds": list("ABCDE"), "doses_um": [0.3, 3.0]}, objective={"goal": EFFICACY}
    )
    lab.measure(efficacy["id"], *singles())
    measure(lab, efficacy, BLOCKS[:6])
    model = lab.train(efficacy["id"])
    inhibition = {
        (*b["compound_names"], b["cell_line_name"]): b["objective"]
        for b in lab.ok(lab.get(f"/v1/models/{model['id']}/blocks"))["items"]
    }
    for block in blocks_of_model(lab, answer):
        pair = tuple(block["compound_names"])
        by_hand = inhibition[(*pair, "X")] - inhibition[(*pair, "Y")]
        assert block["objective"] == pytest.approx(by_hand, abs=2e-4)
        assert block["is_hit"] == (by_hand > 2.0)


def test_a_pair_is_known_once_every_line_is_measured(lab):
    campaign = open_campaign(lab, objective={"goal": SELECTIVE, "hit_threshold": -99.0},
                             learning=QUICK, limits={"batch_size": 5})  # fmt: skip
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, [BLOCKS[row] for row in (0, 1, 2, 4, 6, 8)])
    answer = lab.recommend(campaign["id"])
    assert (answer["objective"]["known"], answer["objective"]["partly_measured"]) == (2, 4)
    found = {block_of_measured(b): b["is_hit"] for b in blocks_of_model(lab, answer)}
    assert sorted(map(str, found.values())) == ["None"] * 4 + ["True"] * 2
    assert answer["outlook"]["found"] == 2


def block_of_measured(block):
    return (*block["compound_names"], block["cell_line_name"])


def test_other_lines_are_left_out_and_it_says_so(lab):
    campaign = begin(lab, {"kind": "selectivity", "kill": ["X"]}, objective={"hit_threshold": 5.0})
    body = {"marks": [{"mark": "pin", "compounds": ["D", "E"]}]}
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", body))
    answer = lab.recommend(campaign["id"])
    assert {block_of(one)[2] for one in answer["candidates"]} == {"X"}
    assert answer["n_pool"] == 7
    assert answer["candidates"][0]["pinned"]
    assert "10 candidates, 1 of them pinned, are in cell lines" in answer["step"]["reason"]
    assert "(Y)" in answer["step"]["reason"]


def test_a_front_names_its_members(lab):
    campaign = begin(lab, FRONT)
    answer = lab.recommend(campaign["id"])
    assert answer["step"]["acquisition"] == "expected_hypervolume"
    assert answer["objective"]["reference"] == [-5.0, 30.0]
    batch = [one for one in answer["candidates"] if one["in_batch"]]
    on_front = [one["rank"] for one in batch if one["objective"]["on_front"]]
    assert answer["objective"]["batch_on_front"] == on_front
    for one in answer["candidates"]:
        assert 0 <= one["objective"]["front_probability"] <= 1
    assert max(one["objective"]["front_probability"] for one in batch) > 0
    text = lab.get(f"/v1/recommendations/{answer['id']}", params={"format": "csv"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    stated = [float(row["front_probability"]) for row in rows]
    assert stated == [one["objective"]["front_probability"] for one in answer["candidates"]]
    chance = lab.recommend(campaign["id"], acquisition="front_probability")
    values = column(chance["candidates"], "acquisition")
    assert values == [one["objective"]["front_probability"] for one in chance["candidates"]]


def test_a_front_on_plates(lab):
    limits = {"batch_size": 4, "plates": 2, "blocks_per_plate": 2, "lines_per_plate": 1}
    answer = lab.recommend(begin(lab, FRONT, limits=limits)["id"])
    batch = [one for one in answer["candidates"] if one["in_batch"]]
    assert len(batch) == 4
    for plate in (1, 2):
        assert len({block_of(one)[2] for one in batch if one["plate"] == plate}) == 1
    assert answer["solution"]["value"] == pytest.approx(sum(column(batch, "acquisition")), rel=1e-3)


def test_questions_work_for_every_goal(lab):
    campaign = begin(lab, SELECTIVE, objective={"hit_threshold": 2.0})
    answer = lab.recommend(campaign["id"])
    path = f"/v1/recommendations/{answer['id']}"
    why = lab.ok(lab.get(f"{path}/candidates/1/why"))
    assert why["candidate"]["objective"]["parts"]
    assert any(related["is_hit"] is not None for related in why["related"])
    tried = lab.ok(lab.post(f"{path}/dry-run", {}))
    expected = sum(one["hit_probability"] for one in answer["candidates"] if one["in_batch"])
    assert tried["expected_hits"]["expected"] == pytest.approx(expected, rel=1e-4)
    lab.ok(lab.get(f"{path}/candidates/1/alternatives"))


def test_a_campaign_without_a_goal_says_what_its_score_is(lab):
    answer = lab.recommend(start_campaign(lab, learning=QUICK)["id"])
    assert answer["objective"]["kind"] == "score"
    assert answer["objective"]["parts"] == []
    assert answer["objective"]["known"] == 6
    blocks = blocks_of_model(lab, answer)
    assert column(blocks, "objective") == column(blocks, "score")
    assert answer["objective"]["best"] == pytest.approx(max(column(blocks, "score")), abs=1e-3)
    for one in answer["candidates"]:
        assert one["objective"] is None
        assert one["expected_improvement"] >= 0


def test_old_forecasts_of_another_goal_do_not_count(lab):
    campaign = begin(lab, EFFICACY, objective={"hit_threshold": 1.0})
    lab_work(lab, campaign, lab.recommend(campaign["id"]))
    version = lab.ok(lab.get(f"/v1/campaigns/{campaign['id']}"))["version"]
    change = {"objective": {"goal": {"kind": "efficacy", "summary": "max"}, "hit_threshold": 1.0}}
    lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", change, version))
    assert lab.recommend(campaign["id"])["calibration"] is None


def test_a_replay_of_another_goal_is_refused(lab):
    campaign = begin(lab, EFFICACY)
    path = f"/v1/campaigns/{campaign['id']}/replays"
    problem = lab.refused(lab.post(path, {}), 409)
    assert "goal is efficacy" in problem["detail"]
    plain = open_campaign(lab)
    asked = {"acquisitions": ["ucb", "front_probability"]}
    problem = lab.refused(lab.post(f"/v1/campaigns/{plain['id']}/replays", asked), 422)
    assert problem["errors"][0]["pointer"] == "/acquisitions/1"


def test_predicted_scores_are_not_judged_by_another_goals_threshold(lab):
    campaign = begin(lab, EFFICACY)
    lab.train(campaign["id"])
    items = [{"cell_line": "X", "doses": [{"compound": "A"}, {"compound": "E"}]}]
    path = f"/v1/campaigns/{campaign['id']}/predictions"
    answer = lab.result(lab.post(path, {"items": items}), "prediction")
    assert answer["items"][0]["hit_probability"] is None
