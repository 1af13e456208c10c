"""Jobs as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.kit.jobs.tables import Job
from service.kit.schemas import Out

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class ProgressOut(Out):
    stage: str | None
    done: int | None
    total: int | None
    eta_s: float | None = Field(description="Seconds that this stage will still take.")


class JobOut(Out):
    id: str
    kind: str
    status: Status
    campaign_id: str | None
    attempt: int
    max_attempts: int
    progress: ProgressOut
    cancel_requested_at: datetime | None
    result: dict[str, Any] | None = Field(
        description="Once succeeded: links to what was made, such as `recommendation`."
    )
    problem: dict[str, Any] | None = Field(description="Once failed: why (RFC 9457).")
    worker: str | None
    version: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def describe_job(job: Job) -> JobOut:
    """What the outside sees of ``job``."""
    progress = ProgressOut(stage=job.stage, done=job.done, total=job.total, eta_s=job.eta_s)
    plain = {name: getattr(job, name) for name in JobOut.model_fields if name not in ("progress",)}
    return JobOut(progress=progress, **plain)
