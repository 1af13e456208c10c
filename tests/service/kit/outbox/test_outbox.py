"""An event exists if and only if its change does."""

from __future__ import annotations

import ast
from typing import Any, get_args

import pytest

from service.integrations.schemas import EventType
from service.kit.jobs import JobFailed, enqueue, handler, run_inline
from service.kit.jobs.tables import FINISHED
from service.kit.outbox import OutboxEvent, emit
from service.kit.outbox import emitting as the_module
from tests.architecture.source import sources
from tests.lab import PAIR_HEADER, Lab
from tests.service.learning.bench import short_training, start_campaign


def types(lab: Lab) -> list[str]:
    return [event["type"] for event in lab.every("/v1/events")]


def test_a_submission_is_told(lab: Lab) -> None:
    campaign = lab.campaign()
    submission = lab.measure(campaign["id"], "X,A,1,B,1,0.5")
    (event,) = lab.every("/v1/events")
    assert (event["type"], event["subject_id"]) == ("submission.stored", submission["id"])
    assert (event["campaign_id"], event["data"]) == (campaign["id"], {"n_measurements": 1})
    assert lab.ok(lab.get(f"/v1/events/{event['id']}")) == event


def test_what_changes_nothing_is_not_told(lab: Lab) -> None:
    campaign = lab.campaign()
    table = f"{PAIR_HEADER}\nX,A,1,B,1,0.5\n"
    lab.ok(lab.submit(campaign["id"], table, dry_run=True))
    lab.refused(lab.submit(campaign["id"], table + "X,Nobody,1,B,1,0.5\n"), 422)
    assert types(lab) == []
    lab.ok(lab.submit(campaign["id"], table))
    lab.ok(lab.submit(campaign["id"], table))
    assert types(lab) == ["submission.stored"]


def test_a_correction_is_told(lab: Lab) -> None:
    campaign = lab.campaign()
    lab.measure(campaign["id"], "X,A,1,B,1,0.5")
    (well,) = lab.wells(campaign["id"])
    change = {"value": 0.6, "reason": "typing error"}
    after = lab.ok(lab.post(f"/v1/measurements/{well['id']}/corrections", change))
    event = lab.every("/v1/events", type="measurement.corrected")[0]
    assert (event["subject_id"], event["data"]) == (after["id"], {"corrects": well["id"]})


def test_a_cancelled_job_is_told_once(lab: Lab) -> None:
    with lab.parts.database.writing() as session:
        job = enqueue(session, workspace_id=lab.workspace_id, kind="predict", args={})
    lab.ok(lab.delete(f"/v1/jobs/{job.id}"))
    lab.refused(lab.delete(f"/v1/jobs/{job.id}"), 409)
    (event,) = lab.every("/v1/events")
    assert (event["type"], event["data"]) == ("job.cancelled", {"kind": "predict"})


def test_a_round_is_told(lab: Lab) -> None:
    with short_training():
        campaign = start_campaign(lab)
        recommendation = lab.recommend(campaign["id"])
    batch = lab.ok(lab.accept(recommendation, ranks=[1]))
    path = f"/v1/batches/{batch['id']}"
    running = lab.ok(lab.patch(path, {"status": "running"}, batch["version"]))
    lab.ok(lab.patch(path, {"status": "running"}, running["version"]))  # it is so already
    told = {e["type"]: e for e in lab.every("/v1/events")}
    assert set(told) == {
        "submission.stored", "model.ready", "recommendation.ready", "job.succeeded",
        "batch.accepted", "batch.changed",
    }  # fmt: skip
    assert types(lab).count("batch.changed") == 1
    assert told["model.ready"]["subject_id"] == recommendation["model_id"]
    assert told["recommendation.ready"]["subject_id"] == recommendation["id"]
    assert told["batch.changed"]["data"] == {"status": "running"}
    assert all(event["campaign_id"] == campaign["id"] for event in told.values())


def test_a_job_that_fails_is_told(lab: Lab) -> None:
    @handler("doomed", queue="io", max_attempts=1)
    def doomed(ctx: Any) -> dict[str, Any]:
        raise JobFailed({"title": "No", "detail": "no"})

    with lab.parts.database.writing() as session:
        job = enqueue(session, workspace_id=lab.workspace_id, kind="doomed", args={})
    run_inline(lab.parts.database, lab.parts.artifacts, lab.parts.settings, job.id)
    (event,) = lab.every("/v1/events", type="job.failed")
    assert (event["subject_id"], event["data"]) == (job.id, {"kind": "doomed"})


def test_a_rolled_back_change_leaves_no_event(lab: Lab) -> None:
    class Row:
        id, workspace_id = "x", lab.workspace_id

    def fail() -> None:
        with lab.parts.database.writing() as session:
            emit(session, "batch.changed", Row())
            session.flush()
            assert session.query(OutboxEvent).count() == 1
            raise ZeroDivisionError

    with lab.untouched(), pytest.raises(ZeroDivisionError):
        fail()


def test_another_workspace_sees_nothing(lab: Lab, other_lab: Lab) -> None:
    lab.measure(lab.campaign()["id"], "X,A,1,B,1,0.5")
    assert other_lab.every("/v1/events") == []


def test_every_type_that_is_written_can_be_subscribed_to() -> None:
    written = {f"job.{status}" for status in FINISHED}
    for source in sources("service"):
        if source.name == the_module.__name__:
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "emit":
                kind = node.args[1]
                if isinstance(kind, ast.Constant):
                    written.add(kind.value)
    assert written == set(get_args(EventType))
