"""One attempt at a job, run in this process: outcomes, retries, steps, fencing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from job_handlers import diary
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from service.kit.auth.tables import Workspace
from service.kit.jobs import Job, JobStep, cancel, events_after, registry, run_inline
from service.kit.jobs.context import JobContext
from service.kit.jobs.errors import Fenced, JobStopped
from service.kit.jobs.execution import StoppedEarly, Succeeded, _begin, _settle, execute


@pytest.fixture
def run(database, artifacts, settings):
    return lambda job: run_inline(database, artifacts, settings, job.id)


@pytest.fixture
def begin(runtime, look):
    """Start an attempt at a job and return what its handler would see."""

    def begin(job: Job) -> JobContext:
        claim = _begin(runtime, job.id, look(job.id).ticket)
        assert claim is not None
        return JobContext(claim, runtime)

    return begin


def test_success(run, ask):
    job = run(ask("add", args={"a": 1, "b": 2}))
    assert (job.status, job.result, job.attempt) == ("succeeded", {"sum": 3, "device": "cpu"}, 1)
    assert job.worker == "inline"
    assert (job.stage, job.done, job.total, job.eta_s) == ("adding", 3, 3, None)
    assert job.created_at <= job.started_at <= job.finished_at


def test_a_finished_job_is_not_run_again(run, ask, runtime, look):
    job = run(ask("add", args={"a": 1, "b": 2}))
    execute(runtime, job.id, job.ticket)
    assert look(job.id).version == job.version


def test_permanent_failure_keeps_the_handlers_problem(run, ask):
    job = run(ask("give-up"))
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.problem == {
        "type": "/problems/no-data",
        "title": "There is nothing to learn from",
        "status": 422,
        "detail": "Add plates.",
    }


def test_unexpected_errors_are_retried_then_final_and_never_leak(run, ask, database):
    job = run(ask("crash"))
    assert (job.status, job.attempt, job.problem) == ("queued", 1, None)
    job = run(job)
    assert (job.status, job.attempt) == ("failed", 2)
    assert job.problem["type"] == "/problems/internal"
    assert "RuntimeError" in job.problem["detail"]
    assert "Quote err_" in job.problem["detail"]
    with database.reading() as session:
        told = str([event.data for event in events_after(session, job.id, 0)]) + str(job.problem)
    assert "secret" not in told


def test_retry_has_a_new_ticket_and_waits_longer_each_time(run, ask):
    job = ask("crash")
    again = run(job)
    assert again.ticket != job.ticket
    handler = registry.find_handler("crash")
    assert [handler.wait_before_retry(n) for n in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert handler.wait_before_retry(60) == 6 * 3600


def test_finished_steps_survive_a_retry(run, ask, tmp_path):
    job = run(run(ask("crash-once", args={"folder": str(tmp_path)})))
    assert (job.status, job.result) == ("succeeded", {"attempt": 2})
    assert diary(tmp_path) == ["step"]


def test_a_transaction_step_happens_exactly_once(run, ask, database):
    job = run(run(ask("rename")))
    assert job.status == "succeeded"
    with database.reading() as session:
        assert session.get(Workspace, "ws_test").name == "Test lab renamed"


def test_nan_in_a_result_is_an_error_not_a_null(run, ask):
    job = run(ask("nan"))
    assert job.status == "failed"
    assert job.result is None


def test_stopped_of_the_models_means_cancelled(run, ask):
    assert run(ask("model-stop")).status == "cancelled"


def test_job_of_a_kind_nobody_knows_fails_clearly(run, ask, monkeypatch):
    job = ask("add", args={"a": 1, "b": 2})
    monkeypatch.delitem(registry._handlers, "add")
    job = run(job)
    assert (job.status, job.problem["type"]) == ("failed", "/problems/unknown-job-kind")
    assert "'add'" in job.problem["detail"]


def test_poison_job_fails_after_its_attempts(ask, begin, run):
    # A worker that dies leaves the job running; the engine brings the same ticket back.
    job = ask("die")
    begin(job)
    begin(job)
    job = run(job)
    assert (job.status, job.attempt) == ("failed", 2)
    assert job.problem["type"] == "/problems/worker-died"


def test_a_step_name_may_occur_once(ask, begin):
    ctx = begin(ask("add"))
    ctx.step("one", lambda: 1)
    with pytest.raises(ValueError, match="distinct names"):
        ctx.step("one", lambda: 2)


def test_a_step_gives_the_same_types_first_and_later(ask, begin):
    job = ask("add")
    assert begin(job).step("pair", lambda: (1, None)) == [1, None]
    assert begin(job).step("pair", lambda: pytest.fail("repeated")) == [1, None]


WAYS_TO_WRITE = {
    "progress": lambda ctx: ctx.progress("training", 1, 2),
    "step": lambda ctx: ctx.step("step", lambda: 1),
    "transaction": lambda ctx: ctx.transaction("t", lambda session: pytest.fail("ran")),
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE)
def test_an_attempt_that_was_taken_over_cannot_write(ask, begin, runtime, look, way):
    job = ask("rename")
    zombie, _owner = begin(job), begin(job)
    with pytest.raises(Fenced):
        WAYS_TO_WRITE[way](zombie)
    assert zombie.should_stop()
    assert not _settle(runtime, zombie, Succeeded({"by": "zombie"}))
    assert look(job.id).status == "running"


def test_a_worker_without_its_lease_passes_jobs_on(ask, runtime, look):
    job = ask("add", args={"a": 1, "b": 1})
    lost: list[bool] = []
    outcast = replace(
        runtime, worker="a", lease_token="given up", on_lease_lost=lambda: lost.append(True)
    )
    execute(outcast, job.id, job.ticket)
    passed_on = look(job.id)
    assert (passed_on.status, passed_on.attempt, lost) == ("queued", 0, [True])
    execute(runtime, job.id, job.ticket)
    assert look(job.id).status == "queued"  # the old ticket is worth nothing
    execute(runtime, job.id, passed_on.ticket)
    assert look(job.id).status == "succeeded"


def test_fence_holds_although_the_attempt_number_comes_back(ask, begin, runtime, look):
    # Handing a job back does not count as an attempt, so two attempts can have one number.
    job = ask("loop")
    first = begin(job)
    stopping = replace(runtime, is_stopping=lambda: True)
    assert _settle(stopping, first, StoppedEarly())
    handed_back = look(job.id)
    assert (handed_back.status, handed_back.attempt) == ("queued", 0)
    second = begin(job)
    assert second.attempt == first.attempt
    assert not _settle(runtime, first, Succeeded({}))
    assert _settle(runtime, second, Succeeded({}))


def test_should_stop_sees_a_cancellation(ask, begin, database, monkeypatch):
    monkeypatch.setattr("service.kit.jobs.context._POLL_S", 0.0)
    job = ask("loop")
    ctx = begin(job)
    assert not ctx.should_stop()
    with database.writing() as session:
        assert cancel(session, job).status == "running"
        assert cancel(session, job).version == job.version + 2
    assert ctx.should_stop()
    with pytest.raises(JobStopped):
        ctx.raise_if_stopped()


def test_progress_writes_columns_and_an_event(ask, begin, database, look):
    job = ask("loop")
    ctx = begin(job)
    ctx.progress("reading", 3, 10)
    stored = look(job.id)
    assert (stored.stage, stored.done, stored.total) == ("reading", 3, 10)
    with database.reading() as session:
        event = events_after(session, job.id, 2)[0]
    assert (event.kind, event.data["stage"], event.seq) == ("progress", "reading", stored.version)


def test_a_locked_database_does_not_cost_a_training(ask, begin, monkeypatch, database):
    ctx = begin(ask("loop"))

    def locked() -> None:
        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr(database, "writing", locked)
    ctx.progress("training", 1, 2)


def test_unfinished_steps_are_forgotten_with_the_job(run, ask, database, tmp_path):
    run(run(ask("crash-once", args={"folder": str(tmp_path)})))
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(JobStep)) == 0
