"""Uploaded files, the readings in them, what quality control said, flags, limits of a workspace."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.audit.tables import make_append_only
from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow
from service.kit.etag import Versioned

STATES = ("queued", "parsed", "committed", "refused")


class Upload(WorkspaceOwned, Base):
    """A file as it came: the original byte for byte, what it was taken for, and what became of it.

    A refused file leaves this row and its original, and nothing else.
    """

    __tablename__ = "upload"
    __audited__ = True
    __audit_hidden__ = frozenset({"preview"})
    __table_args__ = (
        UniqueConstraint("campaign_id", "sha256"),
        UniqueConstraint("workspace_id", "id"),
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        ForeignKeyConstraint(
            ["campaign_id", "submission_id"], ["submission.campaign_id", "submission.id"]
        ),
        CheckConstraint(f"state IN {STATES!r}", name="state"),
        CheckConstraint("state = 'committed' OR submission_id IS NULL", name="submission"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier)
    file_name: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64))
    original: Mapped[str] = mapped_column(String(80))
    n_bytes: Mapped[int]
    state: Mapped[str] = mapped_column(String(10))
    format: Mapped[str | None] = mapped_column(String(40))
    why: Mapped[str | None] = mapped_column(Text)
    """Why it was taken for that format."""
    asked: Mapped[dict[str, Any]]
    """How to read it, as it was said with the file; a commit may say otherwise."""
    preview: Mapped[dict[str, Any]]
    """A :class:`service.assays.uploads.schemas.Preview`, as of the last look."""
    parsed: Mapped[str | None] = mapped_column(String(80))
    """Artifact with what a slow parser found, so that it runs once."""
    job_id: Mapped[str | None] = mapped_column(Identifier)
    submission_id: Mapped[str | None] = mapped_column(Identifier)
    """Null also where a committed file had plate maps and no readings."""
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    committed_by: Mapped[str | None] = mapped_column(String(80))
    committed_at: Mapped[datetime | None]


def _of_plate() -> tuple[ForeignKeyConstraint, ...]:
    return (
        ForeignKeyConstraint(["workspace_id", "plate_id"], ["plate.workspace_id", "plate.id"]),
        ForeignKeyConstraint(["workspace_id", "upload_id"], ["upload.workspace_id", "upload.id"]),
    )


class PlateReading(WorkspaceOwned, Base):
    """One well of one read of a plate, as the instrument wrote it. Never changed."""

    __tablename__ = "plate_reading"
    __table_args__ = (
        *_of_plate(),
        CheckConstraint("(value IS NULL) = (flag IS NOT NULL)", name="value"),
        CheckConstraint("value > -1e300 AND value < 1e300", name="finite"),
        Index(None, "plate_id"),
    )

    upload_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    plate_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    label: Mapped[str] = mapped_column(String(200), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    column: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[float | None]
    flag: Mapped[str | None] = mapped_column(String(200))
    unit: Mapped[str | None] = mapped_column(String(40))
    line: Mapped[int]
    field: Mapped[int]


class PlateResult(WorkspaceOwned, Base):
    """What quality control and one rule of normalisation said of a plate. The last one counts."""

    __tablename__ = "plate_result"
    __audited__ = True
    __audit_hidden__ = frozenset({"groups"})
    __table_args__ = (
        *_of_plate(),
        CheckConstraint("verdict IN ('pass', 'warn', 'fail')", name="verdict"),
        Index(None, "plate_id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier)
    plate_id: Mapped[str] = mapped_column(Identifier)
    upload_id: Mapped[str] = mapped_column(Identifier)
    submission_id: Mapped[str] = mapped_column(Identifier)
    label: Mapped[str] = mapped_column(String(200))
    rule: Mapped[str] = mapped_column(String(40))
    """Name and version of the rule of normalisation."""
    scale: Mapped[str] = mapped_column(String(20))
    time_zero: Mapped[dict[str, Any] | None]
    verdict: Mapped[str] = mapped_column(String(10))
    reasons: Mapped[list[Any]]
    groups: Mapped[list[Any]]
    """Of each cell line: metrics, findings, control levels and their noise."""
    reference: Mapped[dict[str, Any]]
    """Viability of the reference pair, by what it is."""
    limits: Mapped[dict[str, Any]]
    """What it was judged by."""
    n_counted: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class WellFlag(WorkspaceOwned, Base):
    """Somebody says that a well, or a whole plate, must not be counted. Lifted, never deleted."""

    __tablename__ = "well_flag"
    __audited__ = True
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "plate_id"], ["plate.workspace_id", "plate.id"]),
        CheckConstraint('("row" IS NULL) = ("column" IS NULL)', name="well"),
        CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name="lifted"),
        Index(None, "plate_id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier)
    plate_id: Mapped[str] = mapped_column(Identifier)
    row: Mapped[int | None]
    column: Mapped[int | None]
    reason: Mapped[str] = mapped_column(Text)
    rule: Mapped[str | None] = mapped_column(String(40))
    """The rule that proposed it, where one did."""
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    lifted_by: Mapped[str | None] = mapped_column(String(80))
    lifted_at: Mapped[datetime | None]
    lift_reason: Mapped[str | None] = mapped_column(Text)


class QualityLimits(Versioned, WorkspaceOwned, Base):
    """By what the plates of a workspace are judged, once somebody has said so."""

    __tablename__ = "quality_limits"
    __audited__ = True
    __table_args__ = (UniqueConstraint("workspace_id"),)

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    definition: Mapped[dict[str, Any]]
    """A :class:`models.quality.limits.QcLimits`."""
    changed_by: Mapped[str] = mapped_column(String(80))
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)


make_append_only(PlateReading.__table__)
make_append_only(PlateResult.__table__)
