"""Tables of the job layer. The engine's own tables are its business and never joined to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier

UNFINISHED = ("queued", "running")
FINISHED = ("succeeded", "failed", "cancelled")
_UNFINISHED_SQL = "status IN ('queued', 'running')"


class Job(WorkspaceOwned, Base):
    """One piece of work that outlives the request which asked for it."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("attempt >= 0 AND attempt <= max_attempts", name="attempt"),
        # Two requests that race for the same key: the database decides, on both backends.
        Index(
            "uq_job_unfinished_dedupe_key",
            "workspace_id",
            "dedupe_key",
            unique=True,
            sqlite_where=text(_UNFINISHED_SQL),
            postgresql_where=text(_UNFINISHED_SQL),
        ),
        Index(None, "workspace_id", "created_at", "id"),
        Index(None, "campaign_id"),
        Index(None, "status", "created_at"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str | None] = mapped_column(Identifier)
    kind: Mapped[str] = mapped_column(String(80))
    queue: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(12))
    attempt: Mapped[int]
    max_attempts: Mapped[int]
    stage: Mapped[str | None] = mapped_column(String(200))
    done: Mapped[int | None]
    total: Mapped[int | None]
    eta_s: Mapped[float | None]
    args: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    problem: Mapped[dict[str, Any] | None]
    priority: Mapped[int]
    dedupe_key: Mapped[str | None] = mapped_column(String(200))
    worker: Mapped[str | None] = mapped_column(String(200))
    ticket: Mapped[str] = mapped_column(String(80))
    """The engine's workflow that may run this job; any other one is out of date."""
    cancel_requested_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_by: Mapped[str | None] = mapped_column(Identifier)
    version: Mapped[int]
    """Grows with every change; also the number of the last event."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing will ever change again."""
        return self.status in FINISHED


class JobEvent(Base):
    """What happened to a job, in order. Append-only until retention removes it."""

    __tablename__ = "job_event"
    __table_args__ = (CheckConstraint("kind IN ('status', 'progress')", name="kind"),)

    job_id: Mapped[str] = mapped_column(
        Identifier, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(12))
    data: Mapped[dict[str, Any]]


class JobStep(Base):
    """A finished step of an unfinished job: what it returned, so that it is not repeated."""

    __tablename__ = "job_step"

    job_id: Mapped[str] = mapped_column(
        Identifier, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    attempt: Mapped[int]
    finished_at: Mapped[datetime]
    value: Mapped[str] = mapped_column(Text)
    """JSON as text: a step may return null, a number or a list as well as an object."""


class WorkerLease(Base):
    """A worker that says it is alive. Whoever does not renew has lost its jobs."""

    __tablename__ = "worker_lease"
    # Two workers on one graphics card would fight for its memory; NULL (CPU) never conflicts.
    __table_args__ = (UniqueConstraint("host", "device_key"),)

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    token: Mapped[str] = mapped_column(String(64))
    host: Mapped[str] = mapped_column(String(200))
    device: Mapped[str] = mapped_column(String(20))
    device_key: Mapped[str | None] = mapped_column(String(80))
    """What the card is, however the process numbers it (CUDA_VISIBLE_DEVICES); NULL on CPU."""
    device_reason: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    process: Mapped[str] = mapped_column(String(200))
    """The process for certain, where the system can tell: see ``process.py``."""
    version: Mapped[str] = mapped_column(String(40))
    queues: Mapped[list[Any]]
    reaping: Mapped[bool]
    """Held for a moment by a colleague that is collecting the jobs of a dead worker."""
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    current_job: Mapped[str | None] = mapped_column(Identifier)
