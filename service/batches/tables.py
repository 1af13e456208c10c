"""Recommendations, and the batches that were accepted from them and are in the lab now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow
from service.kit.etag import Versioned

STATUSES = ("accepted", "running", "done", "cancelled")
ITEM_STATUSES = ("pending", "measured", "missing", "replaced", "released")


class Recommendation(WorkspaceOwned, Base):
    """A ranked list of candidates and the batch chosen from it; the list itself is an artifact."""

    __tablename__ = "recommendation"
    __audited__ = True
    __audit_hidden__ = frozenset({"worlds", "curve"})
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        UniqueConstraint("job_id"),
        UniqueConstraint("campaign_id", "id"),
        ForeignKeyConstraint(
            ["campaign_id", "model_id"], ["fitted_model.campaign_id", "fitted_model.id"]
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    job_id: Mapped[str] = mapped_column(Identifier)
    model_id: Mapped[str | None] = mapped_column(Identifier)
    round: Mapped[int]
    rules: Mapped[dict[str, Any]]
    seed: Mapped[int]
    n_pool: Mapped[int]
    n_ranked: Mapped[int]
    n_batch: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    timings: Mapped[dict[str, Any]]
    candidates: Mapped[str] = mapped_column(String(80))
    table_artifact: Mapped[str] = mapped_column(String(80))
    step: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    calibration: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    outlook: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    shortfall: Mapped[str | None] = mapped_column(Text)
    solution: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    objective: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    earlier: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What it learned from which campaign; nothing where all is the campaign's own."""
    limits: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The limits that the batch obeys, as numbers; see :mod:`service.batches.bench`."""
    curve: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    """Hits by round, for the learning curve."""
    worlds: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """Chance of a hit of each ranked candidate in each world; see
    :mod:`service.batches.hit_counts`."""
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Batch(Versioned, WorkspaceOwned, Base):
    __tablename__ = "batch"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        ForeignKeyConstraint(
            ["campaign_id", "recommendation_id"],
            ["recommendation.campaign_id", "recommendation.id"],
        ),
        CheckConstraint(f"status IN {STATUSES!r}", name="status"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    recommendation_id: Mapped[str] = mapped_column(Identifier)
    round: Mapped[int]
    status: Mapped[str] = mapped_column(String(10), default="accepted")
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class BatchItem(WorkspaceOwned, Base):
    """A block in a batch. At most one pending item per block: the database says so."""

    __tablename__ = "batch_item"
    __audited__ = True
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "batch_id"], ["batch.workspace_id", "batch.id"]),
        *(
            ForeignKeyConstraint(
                ["campaign_id", column],
                ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            )
            for column in ("compound_a_id", "compound_b_id")
        ),
        ForeignKeyConstraint(
            ["campaign_id", "cell_line_id"],
            ["campaign_cell_line.campaign_id", "campaign_cell_line.cell_line_id"],
        ),
        CheckConstraint("compound_a_id < compound_b_id", name="unordered"),
        CheckConstraint(f"status IN {ITEM_STATUSES!r}", name="status"),
        Index(
            "uq_batch_item_pending",
            "campaign_id",
            "compound_a_id",
            "compound_b_id",
            "cell_line_id",
            unique=True,
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    batch_id: Mapped[str] = mapped_column(Identifier, index=True)
    campaign_id: Mapped[str] = mapped_column(Identifier)
    position: Mapped[int]
    rank: Mapped[int]
    compound_a_id: Mapped[str] = mapped_column(Identifier)
    compound_b_id: Mapped[str] = mapped_column(Identifier)
    cell_line_id: Mapped[str] = mapped_column(Identifier)
    doses_a_um: Mapped[list[Any]]
    doses_b_um: Mapped[list[Any]]
    plate: Mapped[int | None]
    predicted: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(10), default="pending")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
