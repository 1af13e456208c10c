"""POST /v1/campaigns/{id}/models and what came of it."""

import csv
import io

import pytest
from sqlalchemy import select

from models import rounds
from service.kit.jobs import FINISHED
from service.learning import fitting
from service.learning.tables import FittedModel
from tests.lab import codes, column
from tests.service.learning.bench import BLOCKS, FIRST, block, measure, open_campaign, singles


def ask(lab, campaign, **body):
    return lab.post(f"/v1/campaigns/{campaign['id']}/models", body)


def models(lab, campaign):
    return lab.every(f"/v1/campaigns/{campaign['id']}/models")


def stored(lab, model):
    with lab.parts.database.reading() as session:
        return session.scalars(select(FittedModel).where(FittedModel.id == model["id"])).one()


class TestAsking:
    def test_the_answer_is_a_job(self, lab, campaign):
        response = ask(lab, campaign, seed=3)
        job = lab.ok(response)
        assert response.status_code == 202
        assert response.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["kind"], job["status"], job["campaign_id"]) == (
            "train", "queued", campaign["id"],
        )  # fmt: skip
        assert models(lab, campaign) == []

    def test_seeds_that_are_none(self, lab, campaign, subtests):
        for seed in (-1, 2**31, 1.0, "1", True):
            with subtests.test(repr(seed)), lab.untouched():
                problem = lab.refused(ask(lab, campaign, seed=seed), 422)
                assert codes(problem)[0][1] == "/seed"

    def test_a_closed_campaign(self, lab, campaign):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        with lab.untouched():
            problem = lab.refused(ask(lab, campaign), 409)
        assert "is closed" in problem["detail"]

    def test_who_asked_is_in_the_trail(self, lab, campaign):
        job = lab.ok(ask(lab, campaign, seed=3))
        (event,) = lab.events(subject_id=job["id"])
        assert (event["action"], event["new"]["kind"]) == ("job.requested", "train")
        assert event["actor"].startswith("key_")


class TestTraining:
    def test_a_model_of_everything_measured(self, lab, campaign):
        model = lab.train(campaign["id"], seed=3)
        assert models(lab, campaign) == [model]
        assert (model["campaign_id"], model["score"]) == (campaign["id"], "bliss_mean")
        assert (model["n_blocks"], model["n_wells"]) == (6, len(lab.wells(campaign["id"])))
        assert (model["seed"], model["device"], model["excluded"]) == (3, "cpu", [])
        assert model["evidence"]["n_blocks"] == 6
        assert {"torch", "numpy", "nextround"} <= set(model["versions"])
        row = stored(lab, model)
        for name in (row.snapshot, row.weights, row.metadata_artifact, row.blocks):
            assert lab.parts.artifacts.exists(name)

    def test_a_seed_is_drawn_and_kept_where_none_is_given(self, lab, campaign):
        first, second = (lab.train(campaign["id"], seed=None)["seed"] for _ in range(2))
        assert 0 <= first < 2**31
        assert first != second

    def test_the_same_data_and_seed_give_the_same_model_to_the_bit(self, lab, campaign):
        one, two, other = (stored(lab, lab.train(campaign["id"], seed=s)) for s in (3, 3, 4))
        assert (one.snapshot, one.weights) == (two.snapshot, two.weights)
        assert one.snapshot == other.snapshot
        assert one.weights != other.weights

    def test_new_wells_are_another_snapshot(self, lab, campaign):
        before = lab.train(campaign["id"])
        measure(lab, campaign, [BLOCKS[6]])
        after = lab.train(campaign["id"])
        assert after["snapshot"] != before["snapshot"]
        assert (before["n_blocks"], after["n_blocks"]) == (6, 7)

    def test_the_rules_are_those_of_the_moment_of_asking(self, lab, campaign):
        asked = ask(lab, campaign, seed=1)
        change = {"objective": {"score": "hsa_mean", "hit_threshold": 1.0}}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", change, 1))
        assert lab.result(asked, "model")["score"] == "bliss_mean"
        assert lab.train(campaign["id"])["score"] == "hsa_mean"

    def test_the_worker_stands_in_the_trail(self, lab, campaign):
        model = lab.train(campaign["id"])
        (event,) = lab.events("fitted_model.created")
        assert event["subject_id"] == model["id"]
        assert event["actor"] == event["request_id"] == model["job_id"]
        assert event["new"]["seed"] == 1

    def test_what_was_left_out_is_told_by_name(self, lab):
        campaign = open_campaign(lab)
        measure(lab, campaign, FIRST)
        lab.measure(campaign["id"], *singles("ABCD"), *block(("A", "E"), "X"))
        triple = "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,compound_3,dose_3_um,"
        lab.ok(lab.submit(campaign["id"], f"{triple}viability_fraction\nX,A,1,B,1,C,1,0.2\n"))
        model = lab.train(campaign["id"])
        assert model["n_blocks"] == 6
        reasons = {item["reason"]: item["n_wells"] for item in model["excluded"]}
        assert reasons["E was never measured alone in X"] == 4
        assert sum(reasons.values()) == 5
        assert "cmp_" not in str(reasons)


class TestFailing:
    @pytest.mark.parametrize("blocks", [0, 4])
    def test_too_little_was_measured(self, lab, blocks):
        campaign = open_campaign(lab)
        lab.measure(campaign["id"], *singles())
        if blocks:
            measure(lab, campaign, BLOCKS[:blocks])
        job = lab.run(ask(lab, campaign))
        assert (job["status"], job["result"]) == ("failed", None)
        assert job["problem"]["type"] == "/problems/too-few-blocks"
        assert f"{blocks} usable measured blocks" in job["problem"]["detail"]
        assert models(lab, campaign) == []

    def test_nothing_was_measured(self, lab):
        job = lab.run(ask(lab, open_campaign(lab)))
        assert (job["status"], job["problem"]["status"]) == ("failed", 409)

    def test_science_that_breaks_is_tried_again_and_then_told_without_details(
        self, lab, campaign, monkeypatch
    ):
        def broken(*args, **more):
            raise ZeroDivisionError("secret structure CCO")

        monkeypatch.setattr(rounds, "fit", broken)
        asked = ask(lab, campaign)
        before = lab.rows()
        states = [lab.run(asked)["status"] for _ in range(3)]
        assert states == ["queued", "queued", "failed"]
        job = lab.ok(lab.get(asked.headers["location"]))
        assert job["problem"]["type"] == "/problems/internal"
        assert "ZeroDivisionError" in job["problem"]["detail"]
        assert "secret" not in str(job)
        assert models(lab, campaign) == []
        assert {name: n - before[name] for name, n in lab.rows().items() if n != before[name]} == {
            "job_event": lab.rows()["job_event"] - before["job_event"],
            "outbox_event": 1,
        }
        told = lab.every("/v1/events")[-1]
        assert told["type"] == "job.failed"
        assert "secret" not in str(told)

    def test_a_job_goes_on_where_it_broke(self, lab, campaign, monkeypatch):
        """The fit of the first attempt is stored; the second one only publishes it."""
        asked = ask(lab, campaign)
        with monkeypatch.context() as patch:
            patch.setattr(fitting, "add_model", lambda *_: 1 / 0)
            assert lab.run(asked)["status"] == "queued"
        monkeypatch.setattr(rounds, "fit", None)
        job = lab.run(asked)
        assert (job["status"], job["attempt"]) == ("succeeded", 2)
        assert len(models(lab, campaign)) == 1


class TestReading:
    def test_measured_blocks(self, lab, campaign):
        model = lab.train(campaign["id"])
        answer = lab.ok(lab.get(f"/v1/models/{model['id']}/blocks"))
        assert (answer["model_id"], answer["score"]) == (model["id"], "bliss_mean")
        found = {(tuple(i["compound_names"]), i["cell_line_name"]) for i in answer["items"]}
        assert found == set(FIRST)
        threshold = campaign["objective"]["hit_threshold"]
        for item in answer["items"]:
            assert item["n_wells"] == 4
            assert item["standard_error"] > 0
            assert item["is_hit"] == (item["score"] > threshold)
            assert abs(item["score"]) < 15

    def test_measured_blocks_as_csv(self, lab, campaign):
        model = lab.train(campaign["id"])
        items = lab.ok(lab.get(f"/v1/models/{model['id']}/blocks"))["items"]
        response = lab.get(f"/v1/models/{model['id']}/blocks", params={"format": "csv"})
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(response.text)))
        assert [float(row["score"]) for row in rows] == column(items, "score")
        assert [(r["compound_1"], r["compound_2"]) for r in rows] == [
            tuple(item["compound_names"]) for item in items
        ]

    def test_oldest_first(self, lab, campaign):
        made = [lab.train(campaign["id"], seed=seed) for seed in (1, 2)]
        assert models(lab, campaign) == made

    def test_of_another_workspace(self, lab, other_lab, campaign):
        model = lab.train(campaign["id"])
        with lab.untouched():
            other_lab.refused(ask(other_lab, campaign), 404)
        for path in (
            f"/v1/models/{model['id']}",
            f"/v1/models/{model['id']}/blocks",
            f"/v1/campaigns/{campaign['id']}/models",
            f"/v1/jobs/{model['job_id']}",
            f"/v1/jobs/{model['job_id']}/events",
        ):
            other_lab.refused(other_lab.get(path), 404)
        other_lab.refused(other_lab.delete(f"/v1/jobs/{model['job_id']}"), 404)
        assert other_lab.every("/v1/jobs") == []
        assert other_lab.every("/v1/jobs", campaign_id=campaign["id"]) == []
        assert lab.ok(lab.get(f"/v1/jobs/{model['job_id']}"))["status"] in FINISHED
