"""Workers as real processes that are killed, stopped and asked to leave."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from itertools import pairwise

import pytest
from job_handlers import WORKSPACE, diary
from job_worker import until
from sqlalchemy import select, update

from service.kit.database import utcnow
from service.kit.jobs import Job, JobEvent, WorkerLease, cancel, enqueue, events_after, live_workers
from service.kit.jobs.engine import JobClient
from service.kit.jobs.reaper import mend, reap, tidy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def until_finished(look):
    def wait(job: Job) -> Job:
        return until(lambda: _finished(look(job.id)), f"job {job.kind} finished")

    return wait


def _finished(job: Job) -> Job | None:
    return job if job.is_finished else None


@pytest.fixture
def client(database_url):
    client = JobClient(database_url)
    yield client
    client.close()


def until_line(folder, start: str) -> None:
    until(lambda: any(line.startswith(start) for line in diary(folder)), f"{start!r} in the diary")


def test_jobs_run_and_start_soon(start_worker, ask, until_finished):
    start_worker("a").until_ready()
    waits = []
    for number in range(5):
        job = until_finished(ask("add", args={"a": number, "b": 1}))
        assert job.result == {"sum": number + 1, "device": "cpu"}
        assert job.worker == "a"
        waits.append((job.started_at - job.created_at).total_seconds())
    print(f"enqueue to start, poll 0.1 s: {sorted(waits)}")
    assert sorted(waits)[2] < 5.0


def test_kill_then_same_name_resumes_without_repeating_steps(
    start_worker, ask, until_finished, tmp_path
):
    job = ask("steps", args={"folder": str(tmp_path)})
    first = start_worker("a").until_ready()
    until_line(tmp_path, "third")
    first.signal(signal.SIGKILL)
    (tmp_path / "go").touch()
    second = start_worker("a").until_ready()
    done = until_finished(job)
    assert (done.status, done.result, done.attempt) == ("succeeded", {"sum": 6}, 2)
    pids = [first.process.pid] * 3 + [second.process.pid]
    names = ["first", "second", "third", "third"]
    assert diary(tmp_path) == [f"{n} {p}" for n, p in zip(names, pids, strict=True)]


def test_kill_then_another_workers_reaper_takes_over(
    start_worker, ask, until_finished, tmp_path, database
):
    job = ask("steps", args={"folder": str(tmp_path)})
    first = start_worker("a").until_ready()
    until_line(tmp_path, "third")
    other = start_worker("b").until_ready()
    first.signal(signal.SIGKILL)
    (tmp_path / "go").touch()
    done = until_finished(job)
    assert (done.status, done.worker, done.result) == ("succeeded", "b", {"sum": 6})
    assert [line.split()[0] for line in diary(tmp_path)] == ["first", "second", "third", "third"]
    with database.reading() as session:
        assert [lease.name for lease in live_workers(session)] == ["b"]
    assert other.process.poll() is None


def test_lease_of_a_silent_worker_expires_and_the_zombie_is_fenced(
    start_worker, ask, until_finished, look, tmp_path
):
    job = ask("zombie", args={"folder": str(tmp_path)})
    zombie = start_worker("a", lease_s=3.0).until_ready()
    until_line(tmp_path, "begin 1")
    zombie.signal(signal.SIGSTOP)
    start_worker("b", lease_s=3.0).until_ready()
    until_line(tmp_path, "begin 2")
    (tmp_path / "go").touch()
    done = until_finished(job)
    assert (done.status, done.worker, done.result) == ("succeeded", "b", {"attempt": 2})
    zombie.signal(signal.SIGCONT)
    assert zombie.wait() == 75
    assert [line for line in diary(tmp_path) if "of 1" in line or "by 1" in line] in (
        [],  # it noticed the loss and ended before its thread woke up
        [f"{way} of 1 refused: Fenced" for way in ("progress", "step", "transaction")],
        [
            "progress of 1 refused: Fenced",
            "step of 1 refused: JobStopped",
            "transaction of 1 refused: JobStopped",
        ],
    )
    assert look(job.id).version == done.version


def test_job_that_kills_its_worker_fails_for_good(start_worker, ask, until_finished, tmp_path):
    job = ask("die", args={"folder": str(tmp_path)})
    for _ in range(2):
        assert start_worker("a").wait() == -signal.SIGKILL
    start_worker("a").until_ready()
    done = until_finished(job)
    assert (done.status, done.attempt) == ("failed", 2)
    assert done.problem["type"] == "/problems/worker-died"
    assert diary(tmp_path) == ["attempt 1", "attempt 2"]


def test_running_job_stops_within_two_seconds_of_cancel(
    start_worker, ask, until_finished, database, tmp_path
):
    start_worker("a").until_ready()
    job = ask("loop", args={"folder": str(tmp_path)})
    until_line(tmp_path, "looping")
    with database.writing() as session:
        asked = cancel(session, job).cancel_requested_at
    done = until_finished(job)
    assert done.status == "cancelled"
    took = (done.finished_at - asked).total_seconds()
    print(f"cancel to cancelled: {took:.2f} s")
    assert took < 2.0


def test_sigterm_hands_running_jobs_back_at_once(start_worker, ask, look, database, tmp_path):
    job = ask("loop", args={"folder": str(tmp_path)})
    first = start_worker("a").until_ready()
    until_line(tmp_path, "looping")
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    handed_back = look(job.id)
    assert (handed_back.status, handed_back.attempt) == ("queued", 0)
    with database.reading() as session:
        assert live_workers(session) == []
        assert events_after(session, job.id, 0)[-1].data["reason"] == "worker is stopping"
    start_worker("b").until_ready()
    until(lambda: look(job.id).status == "running", "the job runs on another worker")


def test_second_worker_of_the_same_name_is_refused(start_worker):
    start_worker("a").until_ready()
    second = start_worker("a")
    assert second.wait() == 75
    assert "the name 'a' is taken" in second.output
    assert "Traceback" not in second.output


def test_events_of_a_running_job_arrive_in_order(start_worker, ask, database, tmp_path):
    start_worker("a").until_ready()
    job = ask("loop", args={"folder": str(tmp_path)})
    seen: list[int] = []

    def enough() -> bool:
        with database.reading() as session:
            events = events_after(session, job.id, seen[-1] if seen else 0)
        seen.extend(event.seq for event in events)
        return len(seen) >= 8

    until(enough, "eight events")
    assert seen == list(range(1, len(seen) + 1))


def test_more_urgent_jobs_first(start_worker, database, until_finished):
    with database.writing() as session:
        jobs = [
            enqueue(
                session,
                workspace_id=WORKSPACE,
                kind="add",
                args={"a": 1, "b": 1},
                priority=priority,
            )
            for priority in (-5, 0, 5)
        ]
    start_worker("a").until_ready()
    low, _middle, high = [until_finished(job) for job in jobs]
    assert high.started_at < low.started_at


def test_retry_waits_in_the_queue_and_then_runs(start_worker, ask, until_finished, tmp_path):
    start_worker("a").until_ready()
    done = until_finished(ask("crash-once", args={"folder": str(tmp_path)}))
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert diary(tmp_path) == ["step"]


def test_retention_deletes_traces_but_not_jobs(
    start_worker, ask, until_finished, database, client, look
):
    start_worker("a").until_ready()
    old, new = [until_finished(ask("add", args={"a": 1, "b": 1})) for _ in range(2)]
    until(lambda: not client.pending(), "tickets closed")
    with database.writing() as session:
        past = utcnow() - timedelta(days=100)
        session.execute(update(Job).where(Job.id == old.id).values(finished_at=past))
    assert tidy(database, client, 90.0) == 4
    with database.reading() as session:
        assert events_after(session, old.id, 0) == []
        assert len(events_after(session, new.id, 0)) == 4
    deleted = [0]  # the clock of the engine counts whole seconds on SQLite
    until(lambda: deleted.append(tidy(database, client, 0.0)) or sum(deleted) == 6, "all deleted")
    assert client.lost([old.ticket, new.ticket]) == [old.ticket, new.ticket]
    assert look(old.id).status == look(new.id).status == "succeeded"


def test_job_whose_ticket_is_gone_is_queued_anew(
    start_worker, ask, until_finished, database, client, look
):
    job = ask("add", args={"a": 1, "b": 1})
    client._client.cancel_workflow(job.ticket)
    assert mend(database, client) == 0  # it is young: its transaction may be seconds old
    with database.writing() as session:
        past = utcnow() - timedelta(minutes=5)
        session.execute(update(Job).where(Job.id == job.id).values(created_at=past))
    assert mend(database, client) == 1
    assert mend(database, client) == 0
    assert look(job.id).ticket != job.ticket
    start_worker("a").until_ready()
    assert until_finished(job).status == "succeeded"


def test_reaper_leaves_the_living_alone(start_worker, ask, database, client, look, tmp_path):
    start_worker("a").until_ready()
    job = ask("loop", args={"folder": str(tmp_path)})
    until_line(tmp_path, "looping")
    assert reap(database, client, 6.0) == 0
    assert [ticket.worker for ticket in client.pending()] == ["a"]
    assert look(job.id).attempt == 1


def test_lease_row_tells_what_the_operator_wants_to_know(start_worker, database):
    worker = start_worker("a").until_ready()
    with database.reading() as session:
        (lease,) = session.scalars(select(WorkerLease))
    assert (lease.pid, lease.device) == (worker.process.pid, "cpu")
    assert lease.device_reason == "the CPU was asked for"
    assert lease.queues == ["train", "score", "cpu", "io"]
    assert lease.host == os.uname().nodename


def test_progress_events_are_thinned_out(start_worker, ask, database, tmp_path):
    start_worker("a").until_ready()
    job = ask("loop", args={"folder": str(tmp_path)})
    until_line(tmp_path, "looping")

    def progress() -> list[JobEvent]:
        with database.reading() as session:
            events = events_after(session, job.id, 0)
        return [event for event in events if event.kind == "progress"]

    events = until(lambda: progress() if len(progress()) >= 5 else None, "five progress events")
    gaps = [(b.at - a.at).total_seconds() for a, b in pairwise(events)]
    assert min(gaps) > 0.1
    assert events[-1].data["done"] - events[0].data["done"] > len(events)
