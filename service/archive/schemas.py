"""Archives as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.archive.tables import Archive
from service.kit.jobs import Job
from service.kit.jobs.schemas import ProgressOut, Status
from service.kit.schemas import Body, Out


class ArchiveIn(Body):
    weights: bool = Field(
        False,
        description="Also pack the weights of models and what they were fitted on, as large as "
        "the screen itself. Without them an imported model shows its evidence and cannot predict.",
        examples=[True],
    )


class ArchiveOut(Out):
    id: str
    kind: Literal["export", "import"]
    campaign_id: str | None = Field(
        description="The campaign in it; of an import: what it became, once that exists."
    )
    weights: bool
    status: Status = Field(description="Of the job that makes or reads it.")
    progress: ProgressOut
    problem: dict[str, object] | None = Field(description="Once failed: why (RFC 9457).")
    job_id: str
    sha256: str | None = Field(description="Of the file.")
    n_bytes: int | None
    content_sha256: str | None = Field(
        description="Of everything in the file but who made it and when: equal for equal content."
    )
    rows: dict[str, int] | None = Field(description="Rows of each table in it.")
    created_by: str
    created_at: datetime


def describe_archive(archive: Archive, job: Job) -> ArchiveOut:
    """What the outside sees of ``archive``."""
    plain = (
        "id",
        "kind",
        "campaign_id",
        "weights",
        "job_id",
        "n_bytes",
        "created_by",
        "created_at",
    )
    manifest = archive.manifest or {}
    return ArchiveOut(
        **{name: getattr(archive, name) for name in (*plain, "created_by", "created_at")},
        status=job.status,
        progress=ProgressOut(stage=job.stage, done=job.done, total=job.total, eta_s=job.eta_s),
        problem=job.problem,
        sha256=archive.artifact.partition(".")[0] if archive.artifact else None,
        content_sha256=manifest.get("content_sha256"),
        rows=manifest.get("rows"),
    )
