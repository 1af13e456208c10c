"""Bringing back the jobs of dead workers, and tidying up after old ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from service.kit.database import Database, utcnow
from service.kit.jobs import engine, lease_repository, leases, repository
from service.kit.jobs.engine import JobClient
from service.settings import Settings

log = structlog.get_logger(__name__)

_MEND_EVERY_S = 60.0
_TIDY_EVERY_S = 3600.0
_SETTLED_S = 60.0
_PAGE = 500


def reap(database: Database, client: JobClient, lease_s: float) -> int:
    """Put the jobs of workers without a live lease back on their queues; return how many.

    The dead worker's name is held meanwhile: otherwise a second reaper, or the worker itself
    coming back, could start a job which is then queued once more under its feet.
    """
    leases.expire_dead_processes(database)
    with database.reading() as session:
        now = lease_repository.now(session)
        rows = lease_repository.every(session)
    live = {row.name for row in rows if row.expires_at > now}
    suspects = {ticket.worker for ticket in client.pending()} | {row.name for row in rows}
    return sum(_reap_worker(database, client, name, lease_s) for name in sorted(suspects - live))


def _reap_worker(database: Database, client: JobClient, name: str, lease_s: float) -> int:
    lease = leases.claim_dead(database, name, lease_s)
    if lease is None:
        return 0
    try:
        tickets = client.pending(name)
        for ticket in tickets:
            client.resume(ticket)
    finally:
        leases.release(database, lease)
    if tickets:
        log.warning("jobs of a dead worker are queued again", worker=name, jobs=len(tickets))
    return len(tickets)


def mend(database: Database, client: JobClient) -> int:
    """Queue unfinished jobs anew whose ticket the engine has given up; return how many.

    It takes an operator's hand or a worker that lost its database at the worst moment, but a job
    must not wait for ever for either.
    """
    with database.reading() as session:
        before = utcnow() - timedelta(seconds=_SETTLED_S)
        jobs = repository.unfinished_since(session, before, _PAGE)
    lost = set(client.lost([ticket for _, ticket in jobs])) if jobs else set()
    return sum(_mend_job(database, job_id, ticket) for job_id, ticket in jobs if ticket in lost)


def _mend_job(database: Database, job_id: str, ticket: str) -> int:
    with database.writing() as session:
        job = repository.lock(session, job_id)
        if job is None or job.is_finished or job.ticket != ticket:
            return 0
        renewed = f"{job.id}.{job.version + 1}"
        data = {"status": job.status, "attempt": job.attempt, "reason": "queued anew"}
        repository.change(session, [repository.is_job(job.id)], {"ticket": renewed}, "status", data)
        engine.submit(session, engine.Submission(renewed, job.id, job.queue, job.priority))
    log.warning("a job without a ticket is queued again", job=job_id)
    return 1


def tidy(database: Database, client: JobClient, retention_days: float) -> int:
    """Delete the engine's traces and the events of jobs that finished long ago."""
    before = utcnow() - timedelta(days=retention_days)
    deleted = client.delete_finished(before)
    with database.writing() as session:
        deleted += repository.delete_events(session, before)
    return deleted


class Reaper:
    """Does all of this now and then, in a thread of a worker."""

    def __init__(self, database: Database, client: JobClient, settings: Settings) -> None:
        self._database = database
        self._client = client
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)
        self._due: dict[str, float] = {}

    def start(self) -> None:
        """Look at once, then every ``reap_every_s``."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the present look and end."""
        self._stop.set()
        self._thread.join(timeout=30.0)

    def _run(self) -> None:
        while True:
            self._look()
            if self._stop.wait(self._settings.reap_every_s):
                return

    def _look(self) -> None:
        settings = self._settings
        self._when_due("reap", 0.0, lambda: reap(self._database, self._client, settings.lease_s))
        self._when_due("mend", _MEND_EVERY_S, lambda: mend(self._database, self._client))
        self._when_due(
            "tidy",
            _TIDY_EVERY_S,
            lambda: tidy(self._database, self._client, settings.retention_days),
        )

    def _when_due(self, what: str, every_s: float, action: Callable[[], int]) -> None:
        if self._stop.is_set() or time.monotonic() < self._due.get(what, 0.0):
            return
        self._due[what] = time.monotonic() + every_s
        try:
            action()
        except Exception as error:  # the next look may succeed; a dead reaper helps nobody
            log.warning("reaper stumbled", task=what, error=str(error))
