"""What the rest of the service does with jobs. Nothing here commits: the caller does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.jobs import engine, lease_repository, repository
from service.kit.jobs.context import plain_json
from service.kit.jobs.errors import BadJobArguments, JobAlreadyFinished
from service.kit.jobs.registry import Handler, find_handler
from service.kit.jobs.tables import Job, JobEvent, WorkerLease

MAX_PRIORITY = 1000
_MAX_KEY_LENGTH = 200


@dataclass(frozen=True)
class QueueDepth:
    """How much work waits or runs on one queue."""

    queue: str
    status: str
    count: int
    oldest_created_at: datetime


def enqueue(
    session: Session,
    *,
    workspace_id: str,
    kind: str,
    args: dict[str, Any],
    campaign_id: str | None = None,
    created_by: str | None = None,
    dedupe_key: str | None = None,
    priority: int = 0,
    job_id: str | None = None,
) -> Job:
    """Ask for a job in the caller's transaction: it exists if and only if that commits.

    ``dedupe_key``: while a job of the workspace with this key is unfinished, that job is returned
    instead and nothing is added. ``priority``: -1000 to 1000, larger runs sooner. ``job_id``:
    an identifier chosen by the caller. Raises :class:`UnknownJobKind` for a kind without a
    handler and :class:`BadJobArguments` for arguments that are not small, finite, plain JSON.
    """
    handler = find_handler(kind)
    _check(args, dedupe_key, priority)
    session.flush()  # the workspace may be part of this very transaction
    while True:
        identifier = job_id or new_id("job")
        values = _new_row(handler, identifier, args, priority)
        values |= {"workspace_id": workspace_id, "campaign_id": campaign_id}
        values |= {"created_by": created_by, "dedupe_key": dedupe_key}
        if repository.insert_unless_duplicate(session, values):
            break
        existing = repository.find_unfinished(session, workspace_id, dedupe_key or "")
        if existing is not None:
            return existing
        # It finished between the two statements, so the key is free again.
    repository.record(session, identifier, 1, "status", {"status": "queued", "attempt": 0})
    engine.submit(session, engine.Submission(values["ticket"], identifier, handler.queue, priority))
    return _existing(session, identifier)


def cancel(session: Session, job: Job) -> Job:
    """Cancel at once if queued; ask a running job to stop, which it does within two seconds.

    Raises :class:`JobAlreadyFinished`. Asking again changes nothing.
    """
    row = repository.lock(session, job.id)
    if row is None:
        raise LookupError(f"there is no job {job.id}")
    if row.is_finished:
        raise JobAlreadyFinished(row.id, row.status)
    now = utcnow()
    if row.status == "queued":
        values: dict[str, Any] = {
            "status": "cancelled",
            "cancel_requested_at": now,
            "finished_at": now,
            "eta_s": None,
        }
        event = {"status": "cancelled", "attempt": row.attempt}
        repository.change(session, [repository.is_job(row.id)], values, "status", event)
        repository.forget_steps(session, row.id)
    elif row.cancel_requested_at is None:
        event = {"status": "running", "attempt": row.attempt, "cancel_requested": True}
        values = {"cancel_requested_at": now}
        repository.change(session, [repository.is_job(row.id)], values, "status", event)
    return _existing(session, row.id)


def get_job(session: Session, job_id: str) -> Job | None:
    """The job as it is stored now, of whatever workspace: check that before you show it."""
    return repository.find(session, job_id)


def events_after(session: Session, job_id: str, seq: int, *, limit: int = 500) -> list[JobEvent]:
    """Events of a job after number ``seq`` (0 = from the start), oldest first."""
    return repository.events_after(session, job_id, seq, limit)


def queue_depths(session: Session) -> list[QueueDepth]:
    """Waiting and running jobs by queue, over all workspaces, for the operator."""
    return [QueueDepth(*row) for row in repository.count_unfinished(session)]


def live_workers(session: Session) -> list[WorkerLease]:
    """Workers that renewed their lease in time, by name."""
    return lease_repository.live(session)


def _check(args: dict[str, Any], dedupe_key: str | None, priority: int) -> None:
    if not isinstance(args, dict):
        raise BadJobArguments(f"arguments of a job are a JSON object, not {type(args).__name__}")
    plain_json(args, "the arguments of a job")
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise BadJobArguments(f"priority is {priority}; it goes from -1000 to 1000")
    if dedupe_key is not None and not 1 <= len(dedupe_key) <= _MAX_KEY_LENGTH:
        raise BadJobArguments(f"a dedupe key has 1 to {_MAX_KEY_LENGTH} characters")


def _new_row(
    handler: Handler, identifier: str, args: dict[str, Any], priority: int
) -> dict[str, Any]:
    return {
        "id": identifier,
        "kind": handler.kind,
        "queue": handler.queue,
        "status": "queued",
        "attempt": 0,
        "max_attempts": handler.max_attempts,
        "args": args,
        "priority": priority,
        "ticket": f"{identifier}.1",
        "created_at": utcnow(),
        "version": 1,
    }


def _existing(session: Session, job_id: str) -> Job:
    job = repository.find(session, job_id)
    if job is None:
        raise LookupError(f"there is no job {job_id}")
    return job
