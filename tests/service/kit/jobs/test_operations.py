"""Asking, cancelling, listening: what the rest of the service does with jobs."""

from __future__ import annotations

import threading

import pytest
from job_handlers import WORKSPACE
from sqlalchemy import text

from service.kit.auth.tables import Workspace
from service.kit.jobs import (
    BadJobArguments,
    EngineNotReady,
    JobAlreadyFinished,
    UnknownJobKind,
    cancel,
    enqueue,
    events_after,
    get_job,
    queue_depths,
    run_inline,
)


def tickets(database):
    table = "dbos.workflow_status" if database.dialect == "postgresql" else "workflow_status"
    with database.reading() as session:
        return session.execute(text(f"SELECT * FROM {table}")).mappings().all()


def test_commit_gives_row_and_ticket(database, ask, look):
    job = ask("add", args={"a": 1, "b": 2}, campaign_id="cmp_1", created_by="key_1", priority=7)
    stored = look(job.id)
    assert (stored.status, stored.queue, stored.attempt, stored.version) == ("queued", "cpu", 0, 1)
    assert (stored.campaign_id, stored.created_by, stored.priority) == ("cmp_1", "key_1", 7)
    assert stored.args == {"a": 1, "b": 2}
    (ticket,) = tickets(database)
    assert (ticket["workflow_uuid"], ticket["queue_name"]) == (job.ticket, "cpu")


def test_rollback_leaves_neither_row_nor_ticket(database):
    with database.session(write=True) as session:
        enqueue(session, workspace_id=WORKSPACE, kind="add", args={}, job_id="job_mine")
        session.rollback()
    with database.reading() as session:
        assert get_job(session, "job_mine") is None
    assert tickets(database) == []


def test_enqueue_in_the_transaction_that_makes_the_workspace(database, look):
    with database.writing() as session:
        session.add(Workspace(id="ws_new", name="New"))
        job = enqueue(session, workspace_id="ws_new", kind="add", args={})
    assert look(job.id).workspace_id == "ws_new"


def test_own_statements_still_work_after_enqueue_in_the_same_transaction(database):
    # DBOS leaves a schema translation on the connection; it must not touch our tables.
    with database.writing() as session:
        enqueue(session, workspace_id=WORKSPACE, kind="add", args={})
        session.add(Workspace(id="ws_new", name="New"))
        session.flush()
        assert session.get(Workspace, "ws_new") is not None


def test_unregistered_kind_is_refused(database, ask):
    with pytest.raises(UnknownJobKind, match=r"no handler .* 'bake'.*add"):
        ask("bake")
    assert tickets(database) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), "x" * 300_000])
def test_arguments_that_are_not_small_finite_json_are_refused(ask, value):
    with pytest.raises(BadJobArguments):
        ask("add", args={"value": value})


@pytest.mark.parametrize("options", [{"priority": 1001}, {"dedupe_key": ""}, {"args": [1]}])
def test_other_bad_requests(ask, options):
    with pytest.raises(BadJobArguments):
        ask("add", **options)


def test_dedupe_returns_the_unfinished_job_of_the_same_workspace(
    database, ask, artifacts, settings
):
    args = {"a": 1, "b": 1}
    first = ask("add", dedupe_key="import-7", args=args)
    assert ask("add", dedupe_key="import-7", args=args).id == first.id
    assert ask("add", dedupe_key="import-8", args=args).id != first.id
    assert ask("add", dedupe_key="import-7", workspace_id="ws_other").id != first.id
    assert len(tickets(database)) == 3
    run_inline(database, artifacts, settings, first.id)
    assert ask("add", dedupe_key="import-7").id != first.id


def test_dedupe_holds_between_racing_requests(database):
    ids: list[str] = []
    gate = threading.Barrier(4)

    def request() -> None:
        gate.wait()
        with database.writing() as session:
            ids.append(
                enqueue(session, workspace_id=WORKSPACE, kind="add", args={}, dedupe_key="k").id
            )

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert len(tickets(database)) == 1


def test_cancel_queued_is_at_once_and_final(database, ask, look, artifacts, settings):
    job = ask("add", args={"a": 1, "b": 2})
    with database.writing() as session:
        assert cancel(session, job).status == "cancelled"
    assert run_inline(database, artifacts, settings, job.id).status == "cancelled"
    with database.writing() as session, pytest.raises(JobAlreadyFinished, match="been cancelled"):
        cancel(session, job)


def test_finished_job_cannot_be_cancelled(database, ask, artifacts, settings):
    job = run_inline(database, artifacts, settings, ask("add", args={"a": 1, "b": 2}).id)
    with database.writing() as session, pytest.raises(JobAlreadyFinished) as caught:
        cancel(session, job)
    assert caught.value.status == "succeeded"


def test_events_are_gapless_and_in_order(database, ask, artifacts, settings):
    job = run_inline(database, artifacts, settings, ask("add", args={"a": 1, "b": 2}).id)
    with database.reading() as session:
        events = events_after(session, job.id, 0)
        later = events_after(session, job.id, 1)
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert [event.data.get("status") for event in events] == [
        "queued",
        "running",
        None,
        "succeeded",
    ]
    assert [event.kind for event in events] == ["status", "status", "progress", "status"]
    assert job.version == 4
    assert [event.seq for event in later] == [2, 3, 4]


def test_queue_depths(database, ask):
    for _ in range(3):
        ask("add")
    with database.reading() as session:
        (depth,) = queue_depths(session)
    assert (depth.queue, depth.status, depth.count) == ("cpu", "queued", 3)


def test_missing_engine_tables_are_explained(database):
    drop = "DROP SCHEMA dbos CASCADE" if database.dialect == "postgresql" else None
    with database.engine.begin() as connection:
        if drop:
            connection.execute(text(drop))
        else:
            connection.execute(text("DROP TABLE workflow_input"))
            connection.execute(text("DROP TABLE workflow_status"))
    session = database.session(write=True)
    with pytest.raises(EngineNotReady, match="nextround migrate"):
        enqueue(session, workspace_id=WORKSPACE, kind="add", args={})
    session.close()
