"""Every statement on jobs, their events and their steps.

A change to a job and its event are one transaction: the job's ``version`` grows by one under the
row's lock and numbers the event, so that events are gapless in the order in which they commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.kit.database import utcnow
from service.kit.jobs.tables import FINISHED, UNFINISHED, Job, JobEvent, JobStep
from service.kit.outbox import emit
from service.kit.repository import Repository


class JobRepository(Repository[Job]):
    """The jobs of one workspace, as requests see them."""

    entity = Job
    noun = "job"

    def of_campaign(self, campaign_id: str) -> Select[Job]:
        return self.readable().where(Job.campaign_id == campaign_id)


@dataclass(frozen=True)
class Claim:
    """The right to run one job: it writes only while attempt and ticket are still the job's."""

    job_id: str
    workspace_id: str
    campaign_id: str | None
    kind: str
    queue: str
    priority: int
    args: dict[str, Any]
    created_by: str | None
    attempt: int
    max_attempts: int
    ticket: str

    @property
    def still_mine(self) -> tuple[ColumnElement[bool], ...]:
        """What fences off a worker whose job was taken over while it was away."""
        return (
            Job.id == self.job_id,
            Job.attempt == self.attempt,
            Job.ticket == self.ticket,
            Job.status == "running",
        )


@dataclass(frozen=True)
class Standing:
    """What a running attempt needs to know about its job."""

    is_mine: bool
    cancel_requested: bool


def is_job(job_id: str) -> ColumnElement[bool]:
    """The job itself, whoever owns it. For changes under :func:`lock`."""
    return Job.id == job_id


def insert_unless_duplicate(session: Session, values: dict[str, Any]) -> bool:
    """Insert a job; false when an unfinished one holds its key. Never aborts the transaction."""
    table = Job.__table__
    dialect = session.get_bind().dialect.name
    build = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = (
        build(table)  # type: ignore[arg-type]
        .values(**values)
        .on_conflict_do_nothing(
            index_elements=["workspace_id", "dedupe_key"],
            index_where=text("status IN ('queued', 'running')"),
        )
        .returning(table.c.id)
    )
    return session.execute(statement).first() is not None


def find_unfinished(session: Session, workspace_id: str, dedupe_key: str) -> Job | None:
    """The job that holds ``dedupe_key`` now."""
    statement = select(Job).where(
        Job.workspace_id == workspace_id,
        Job.dedupe_key == dedupe_key,
        Job.status.in_(UNFINISHED),
    )
    return session.scalar(statement.execution_options(populate_existing=True))


def find(session: Session, job_id: str) -> Job | None:
    """The job as it is stored now."""
    return session.get(Job, job_id, populate_existing=True)


def lock(session: Session, job_id: str) -> Job | None:
    """The job, and nobody else changes it until this transaction ends."""
    statement = select(Job).where(Job.id == job_id).with_for_update()
    return session.scalar(statement.execution_options(populate_existing=True))


def change(
    session: Session,
    where: Sequence[ColumnElement[bool]],
    values: dict[str, Any],
    kind: str,
    data: dict[str, Any],
) -> bool:
    """Change the one job that matches and record the event; false when none does."""
    row = session.execute(
        update(Job)
        .where(*where)
        .values(**values, version=Job.version + 1)
        .returning(Job.id, Job.version, Job.workspace_id, Job.campaign_id, Job.kind)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        return False
    record(session, row.id, row.version, kind, data)
    if kind == "status" and data["status"] in FINISHED:
        emit(session, f"job.{data['status']}", row, kind=row.kind)
    return True


def record(session: Session, job_id: str, seq: int, kind: str, data: dict[str, Any]) -> None:
    """Append one event."""
    session.execute(
        insert(JobEvent).values(job_id=job_id, seq=seq, at=utcnow(), kind=kind, data=data)
    )


def events_after(session: Session, job_id: str, seq: int, limit: int) -> list[JobEvent]:
    """At most ``limit`` events after number ``seq``, oldest first."""
    statement = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.seq > seq)
        .order_by(JobEvent.seq)
        .limit(limit)
    )
    return list(session.scalars(statement))


def hold(session: Session, claim: Claim) -> bool:
    """Whether the job is still ours; if so, it stays ours until this transaction ends."""
    statement = select(Job.id).where(*claim.still_mine).with_for_update()
    return session.scalar(statement) is not None


def standing(session: Session, claim: Claim) -> Standing:
    """Cheap look at the job during its run."""
    row = session.execute(
        select(Job.status, Job.attempt, Job.ticket, Job.cancel_requested_at).where(
            Job.id == claim.job_id
        )
    ).first()
    if row is None:
        return Standing(is_mine=False, cancel_requested=False)
    mine = (row.status, row.attempt, row.ticket) == ("running", claim.attempt, claim.ticket)
    return Standing(mine, row.cancel_requested_at is not None)


def find_step(session: Session, job_id: str, name: str) -> str | None:
    """What a finished step returned, as JSON text."""
    return session.scalar(
        select(JobStep.value).where(JobStep.job_id == job_id, JobStep.name == name)
    )


def save_step(session: Session, claim: Claim, name: str, value: str) -> None:
    """Remember a finished step. The caller holds the job."""
    session.execute(
        insert(JobStep).values(
            job_id=claim.job_id,
            name=name,
            attempt=claim.attempt,
            finished_at=utcnow(),
            value=value,
        )
    )


def forget_steps(session: Session, job_id: str) -> None:
    """A finished job needs its steps no more."""
    session.execute(delete(JobStep).where(JobStep.job_id == job_id))


def unfinished_since(session: Session, before: datetime, limit: int) -> list[tuple[str, str]]:
    """``(id, ticket)`` of the oldest unfinished jobs made before ``before``."""
    rows = session.execute(
        select(Job.id, Job.ticket)
        .where(Job.status.in_(UNFINISHED), Job.created_at < before)
        .order_by(Job.created_at, Job.id)
        .limit(limit)
    )
    return [(row.id, row.ticket) for row in rows]


def count_unfinished(session: Session) -> list[tuple[str, str, int, datetime]]:
    """``(queue, status, how many, oldest)`` for the metrics."""
    rows = session.execute(
        select(Job.queue, Job.status, func.count(), func.min(Job.created_at))
        .where(Job.status.in_(UNFINISHED))
        .group_by(Job.queue, Job.status)
    )
    return [(queue, status, count, oldest) for queue, status, count, oldest in rows]


def delete_events(session: Session, finished_before: datetime) -> int:
    """Delete the events of jobs that finished long ago; the jobs themselves stay."""
    old = select(Job.id).where(Job.status.in_(FINISHED), Job.finished_at < finished_before)
    result = session.execute(
        delete(JobEvent)
        .where(JobEvent.job_id.in_(old))
        .execution_options(synchronize_session=False)
    )
    return int(result.rowcount)  # type: ignore[attr-defined]
