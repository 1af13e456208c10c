"""POST /v1/campaigns/{id}/predictions: ask a model about pairs and treatments."""

import csv
import io

import pytest

from tests.lab import codes, column
from tests.service.learning.bench import DOSES, block, open_campaign, viability

NUMBERS = ["mean", "sd", "q05", "q50", "q95", "epistemic_sd", "observation_sd"]


@pytest.fixture
def model(lab, campaign):
    return lab.train(campaign["id"])


def item(line, **doses):
    """A pair's score where every dose is None, else a treatment's viability."""
    return {"cell_line": line, "doses": [{"compound": c, "dose_um": d} for c, d in doses.items()]}


def ask(lab, campaign, *items, **more):
    return lab.post(f"/v1/campaigns/{campaign['id']}/predictions", {"items": list(items), **more})


def predict(lab, campaign, *items, **more):
    return lab.result(ask(lab, campaign, *items, **more), "prediction")


def numbers(answer):
    return [answer[name] for name in NUMBERS]


class TestScores:
    def test_of_pairs_in_the_order_of_the_questions(self, lab, campaign, model):
        asked = [item("Y", E=None, D=None), item("X", A=None, B=None), item("X", D=None, E=None)]
        answer = predict(lab, campaign, *asked)
        assert (answer["model_id"], answer["campaign_id"]) == (model["id"], campaign["id"])
        items = answer["items"]
        assert column(items, "cell_line") == ["Y", "X", "X"]
        assert column(items, "quantity") == ["score"] * 3
        assert [{d["compound"] for d in i["doses"]} for i in items] == [
            {"D", "E"}, {"A", "B"}, {"D", "E"},
        ]  # fmt: skip
        for found in items:
            assert found["q05"] < found["q50"] < found["q95"]
            parts = found["epistemic_sd"] ** 2 + found["observation_sd"] ** 2
            assert found["sd"] ** 2 == pytest.approx(parts)
            assert 0 <= found["hit_probability"] <= 1

    def test_neither_order_nor_name_of_the_compounds_matters(self, lab, campaign, model):
        ids = {row["name"]: row["id"] for row in campaign["compounds"]}
        one, other, by_id = predict(
            lab,
            campaign,
            item("X", A=None, E=None),
            item("x ", e=None, a=None),
            item("X", **{ids["E"]: None, ids["A"]: None}),
        )["items"]
        assert one == other == by_id

    def test_the_same_question_has_the_same_answer(self, lab, campaign, model):
        one, two = (predict(lab, campaign, item("X", A=None, E=None)) for _ in range(2))
        assert one["id"] != two["id"]
        assert one["items"] == two["items"]

    def test_an_answer_does_not_depend_on_what_else_is_asked(self, lab, campaign, model):
        alone = predict(lab, campaign, item("X", A=None, E=None))["items"][0]
        amid = predict(
            lab, campaign, item("Y", B=None, C=None), item("X", A=0.3), item("X", A=None, E=None)
        )["items"][2]
        assert numbers(amid) == pytest.approx(numbers(alone), rel=1e-6)

    def test_the_chance_of_a_hit_follows_the_threshold(self, lab, campaign, model):
        chances = []
        for version, threshold in enumerate((-1000.0, 1000.0), start=1):
            goal = {"objective": {"score": "bliss_mean", "hit_threshold": threshold}}
            lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", goal, version))
            answer = predict(lab, campaign, item("X", A=None, E=None))["items"][0]
            chances.append(answer["hit_probability"])
        assert chances == pytest.approx([1.0, 0.0], abs=0.05)


class TestTreatments:
    def test_single_agents_at_doses(self, lab, campaign, model):
        doses = (0.1, 1.0, 10.0)
        answers = predict(lab, campaign, *(item("X", C=dose) for dose in doses))["items"]
        assert column(answers, "quantity") == ["viability"] * 3
        assert column(answers, "hit_probability") == [None] * 3
        truth = [viability("X", {"C": dose}) for dose in doses]
        assert column(answers, "mean") == pytest.approx(truth, abs=0.08)

    def test_pairs_at_doses(self, lab, campaign, model):
        answers = predict(lab, campaign, *(item("X", A=d, B=d) for d in DOSES))["items"]
        truth = [viability("X", {"A": dose, "B": dose}) for dose in DOSES]
        assert column(answers, "mean") == pytest.approx(truth, abs=0.15)
        assert [[d["dose_um"] for d in a["doses"]] for a in answers] == [[0.3, 0.3], [3.0, 3.0]]

    def test_doses_stay_with_their_compounds(self, lab, campaign, model):
        one, swapped = predict(lab, campaign, item("X", A=0.3, B=3.0), item("X", B=3.0, A=0.3))[
            "items"
        ]
        assert one == swapped
        assert {d["compound"]: d["dose_um"] for d in one["doses"]} == {"A": 0.3, "B": 3.0}


class TestTables:
    def test_csv(self, lab, campaign, model):
        asked = [item("X", A=None, B=None), item("Y", C=1.5), item("X", A=0.3, B=3.0)]
        answer = predict(lab, campaign, *asked)
        response = lab.get(f"/v1/predictions/{answer['id']}", params={"format": "csv"})
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(response.text)))
        for row, found in zip(rows, answer["items"], strict=True):
            assert [float(row[name]) for name in NUMBERS] == numbers(found)
            assert (row["cell_line"], row["quantity"]) == (found["cell_line"], found["quantity"])
        assert [(r["dose_1_um"], r["compound_2"], r["dose_2_um"]) for r in rows] == [
            ("", "B", ""), ("1.5", "", ""), ("0.3", "B", "3.0"),
        ]  # fmt: skip

    def test_another_format(self, lab, campaign, model):
        answer = predict(lab, campaign, item("X", A=None, B=None))
        lab.refused(lab.get(f"/v1/predictions/{answer['id']}", params={"format": "xml"}), 422)


class TestModels:
    def test_the_latest_unless_another_is_named(self, lab, campaign, model):
        lab.measure(campaign["id"], *block(("D", "E"), "X"))
        later = lab.train(campaign["id"])
        asked = item("X", D=None, E=None)
        assert predict(lab, campaign, asked)["model_id"] == later["id"]
        named = predict(lab, campaign, asked, model_id=model["id"])
        assert named["model_id"] == model["id"]
        assert named["items"] != predict(lab, campaign, asked)["items"]

    def test_before_there_is_one(self, lab, campaign):
        with lab.untouched():
            problem = lab.refused(ask(lab, campaign, item("X", A=1.0)), 409)
        assert f"POST /v1/campaigns/{campaign['id']}/models" in problem["detail"]

    def test_of_another_campaign(self, lab, campaign, model):
        other = open_campaign(lab, name="Other")
        with lab.untouched():
            lab.refused(ask(lab, other, item("X", A=1.0), model_id=model["id"]), 409)

    def test_that_is_older_than_what_is_asked(self, lab, campaign, model):
        lab.compounds("F")
        extra = {"add_compounds": [{"compound": "F", "doses_um": [1.0]}]}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", extra, 1))
        job = lab.run(ask(lab, campaign, item("X", A=None, B=None), item("X", A=None, F=None)))
        assert job["status"] == "failed"
        assert job["problem"]["type"] == "/problems/model-too-old"
        assert job["problem"]["status"] == 409
        assert "F joined the campaign" in job["problem"]["detail"]
        assert "Train again" in job["problem"]["detail"]
        lab.train(campaign["id"])
        assert predict(lab, campaign, item("X", A=None, F=None))["items"][0]["quantity"] == "score"

    def test_a_closed_campaign_can_still_be_asked(self, lab, campaign, model):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        assert predict(lab, campaign, item("X", A=None, B=None))["model_id"] == model["id"]


class TestRefusals:
    def test_each_rule_names_its_place(self, lab, campaign, model, subtests):
        for wrong, pointer, words in [
            (item("Q", A=1.0), "/items/1/cell_line", "in the campaign"),
            (item("X", Q=1.0), "/items/1/doses/0/compound", "in the campaign"),
            (item("X", A=1.0, Q=1.0), "/items/1/doses/1/compound", "in the campaign"),
            (item("X", A=None), "/items/1/doses/0/dose_um", "needs its dose_um"),
            (item("X", A=1.0, B=None), "/items/1/doses", "for both"),
            (item("X", A=1.0, a=1.0), "/items/1/doses", "one compound"),
            (item("X", A=1.0, a=None), "/items/1/doses", "for both"),
            (item("X", Q=1.0, R=None), "/items/1/doses/0/compound", "in the campaign"),
            (item("X", A=0.0), "/items/1/doses/0/dose_um", "greater"),
            (item("X"), "/items/1/doses", "at least 1"),
            (item("X", A=1.0, B=1.0, C=1.0), "/items/1/doses", "at most 2"),
        ]:
            with subtests.test(pointer), lab.untouched():
                problem = lab.refused(ask(lab, campaign, item("X", A=1.0), wrong), 422)
                assert codes(problem)[0][1] == pointer
                assert problem["errors"][0]["row"] == 1
                assert words in problem["detail"]

    def test_nothing_asked(self, lab, campaign, model):
        with lab.untouched():
            lab.refused(ask(lab, campaign), 422)

    def test_what_is_no_id(self, lab, subtests):
        campaign = open_campaign(lab)
        for model_id in ("latest", "mdl_x", 7):
            with subtests.test(str(model_id)), lab.untouched():
                problem = lab.refused(ask(lab, campaign, item("X", A=1.0), model_id=model_id), 422)
                assert codes(problem)[0][1] == "/model_id"

    def test_of_another_workspace(self, lab, other_lab, campaign, model):
        prediction = predict(lab, campaign, item("X", A=None, B=None))
        theirs = open_campaign(other_lab)
        with lab.untouched():
            other_lab.refused(ask(other_lab, campaign, item("X", A=1.0)), 404)
            asked = ask(other_lab, theirs, item("X", A=1.0), model_id=model["id"])
            other_lab.refused(asked, 404)
        other_lab.refused(other_lab.get(f"/v1/predictions/{prediction['id']}"), 404)
