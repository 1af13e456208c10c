"""Plates, how a batch was laid out on them, what dispensers reported, what a lab has to do it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.audit.tables import make_append_only
from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow
from service.kit.etag import Versioned

ORIGINS = ("issued", "submitted")
STATUSES = ("issued", "measured", "cancelled")
LAYOUT_STATUSES = ("issued", "cancelled")


class PlateLayout(WorkspaceOwned, Base):
    """A batch laid out at one go: the rules, and the plates and transfers that followed.

    A batch has at most one that is not cancelled: the database says so.
    """

    __tablename__ = "plate_layout"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        ForeignKeyConstraint(["workspace_id", "batch_id"], ["batch.workspace_id", "batch.id"]),
        CheckConstraint(f"status IN {LAYOUT_STATUSES!r}", name="status"),
        Index(
            "uq_plate_layout_issued",
            "batch_id",
            unique=True,
            sqlite_where=text("status = 'issued'"),
            postgresql_where=text("status = 'issued'"),
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier)
    batch_id: Mapped[str] = mapped_column(Identifier, index=True)
    status: Mapped[str] = mapped_column(String(10), default="issued")
    prefix: Mapped[str] = mapped_column(String(40))
    seed: Mapped[int]
    settings: Mapped[dict[str, Any]]
    """Rules, dispenser, destination, controls and the labware table as they were; see
    :mod:`service.batches.plates_out`."""
    plan: Mapped[str] = mapped_column(String(80))
    """The issued plan, plates and transfers, as an artifact: reports are applied to this."""
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Plate(Versioned, WorkspaceOwned, Base):
    """A plate that we issued or that a lab told us about. No barcode is ever used twice."""

    __tablename__ = "plate"
    __audited__ = True
    __audit_hidden__ = frozenset({"map"})
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("workspace_id", "barcode"),
        UniqueConstraint("campaign_id", "id"),
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        ForeignKeyConstraint(["workspace_id", "batch_id"], ["batch.workspace_id", "batch.id"]),
        ForeignKeyConstraint(
            ["workspace_id", "layout_id"], ["plate_layout.workspace_id", "plate_layout.id"]
        ),
        CheckConstraint(f"origin IN {ORIGINS!r}", name="origin"),
        CheckConstraint(f"status IN {STATUSES!r}", name="status"),
        CheckConstraint("wells IN (96, 384, 1536)", name="wells"),
        CheckConstraint("(origin = 'issued') = (layout_id IS NOT NULL)", name="layout"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    batch_id: Mapped[str | None] = mapped_column(Identifier, index=True)
    layout_id: Mapped[str | None] = mapped_column(Identifier, index=True)
    number: Mapped[int]
    replicate: Mapped[int | None]
    """The replicate that a plate is the copy for; null where a plate holds several or none."""
    barcode: Mapped[str] = mapped_column(String(200))
    wells: Mapped[int]
    origin: Mapped[str] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(10), default="issued")
    cell_line_ids: Mapped[list[Any]]
    n_wells: Mapped[int]
    """Wells that are not empty."""
    n_excluded: Mapped[int] = mapped_column(default=0)
    map: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    """A :class:`service.plates.plate_map.PlateMap` with compounds, cell lines and batch items by
    id; the present one, with what dispensers reported."""
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)


class TransferReport(WorkspaceOwned, Base):
    """A dispenser's report, byte for byte, and what it changed."""

    __tablename__ = "transfer_report"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("layout_id", "sha256"),
        ForeignKeyConstraint(
            ["workspace_id", "layout_id"], ["plate_layout.workspace_id", "plate_layout.id"]
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    layout_id: Mapped[str] = mapped_column(Identifier)
    file_name: Mapped[str | None] = mapped_column(String(200))
    original: Mapped[str] = mapped_column(String(80))
    sha256: Mapped[str] = mapped_column(String(64))
    n_bytes: Mapped[int]
    run: Mapped[str] = mapped_column(String(200))
    """The dispenser's own name of the run; empty where the report has none."""
    n_transfers: Mapped[int]
    n_failed: Mapped[int]
    changes: Mapped[list[Any]]
    """``{"plate", "barcode", "well", "excluded", "text"}`` of each well that it changed."""
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class CampaignDispensing(WorkspaceOwned, Base):
    """By what the doses of a campaign were snapped, and what they were before."""

    __tablename__ = "campaign_dispensing"
    __audited__ = True
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
    )

    campaign_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    settings: Mapped[dict[str, Any]]
    """A :class:`service.plates.schemas.DispensingIn`, compounds by id."""
    doses: Mapped[dict[str, Any]]
    """Compound id to its doses, ``{"nominal_um", "real_um", "stock_mm", "volume_nl"}`` each."""
    changed_by: Mapped[str] = mapped_column(String(80))
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)


class LabwareTable(Versioned, WorkspaceOwned, Base):
    """The labware table of a workspace, once somebody has edited it."""

    __tablename__ = "labware_table"
    __audited__ = True
    __table_args__ = (UniqueConstraint("workspace_id"),)

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    definition: Mapped[dict[str, Any]]
    """A :class:`service.plates.labware.Labware`."""
    changed_by: Mapped[str] = mapped_column(String(80))
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)


class StockTable(Versioned, WorkspaceOwned, Base):
    """Everything that lies ready for the dispensers of a workspace."""

    __tablename__ = "stock_table"
    __audited__ = True
    __table_args__ = (UniqueConstraint("workspace_id"),)

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    stocks: Mapped[list[Any]]
    """:func:`service.plates.labware.stock_to_dict` of each; compounds by id, vehicle by name."""
    changed_by: Mapped[str] = mapped_column(String(80))
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)


make_append_only(TransferReport.__table__)
