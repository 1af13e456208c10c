"""Submissions and the wells in them. Both are append-only; a correction is a new version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.audit.tables import make_append_only
from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow

_FINITE = "{0} > -1e300 AND {0} < 1e300"


class Submission(WorkspaceOwned, Base):
    """One upload: the original, byte for byte, and what was declared about it."""

    __tablename__ = "submission"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("campaign_id", "sha256"),
        UniqueConstraint("campaign_id", "id"),
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    media_type: Mapped[str] = mapped_column(String(100))
    original: Mapped[str] = mapped_column(String(80))
    sha256: Mapped[str] = mapped_column(String(64))
    n_bytes: Mapped[int]
    n_measurements: Mapped[int]
    quantity: Mapped[str] = mapped_column(String(20))
    unit: Mapped[str] = mapped_column(String(20))
    ignored_columns: Mapped[list[Any]]
    field_map_id: Mapped[str | None] = mapped_column(Identifier)
    """By which version of which map the columns were read; it never changes."""
    dataset_fit_id: Mapped[str | None] = mapped_column(Identifier)
    """The fit of time courses that its values were derived from."""
    note: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


def _component(letter: str) -> CheckConstraint:
    compound, dose = f"compound_{letter}_id", f"dose_{letter}_um"
    return CheckConstraint(
        f"({compound} IS NULL AND {dose} IS NULL) OR "
        f"({compound} IS NOT NULL AND {dose} IS NOT NULL AND {dose} > 0 AND {dose} < 1e300)",
        name=f"dose_{letter}",
    )


def _member(letter: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["campaign_id", f"compound_{letter}_id"],
        ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
    )


class Measurement(WorkspaceOwned, Base):
    """One well, in one version.

    The compounds are in ascending order of id, first ones first, so that a treatment has one
    spelling; the database refuses any other. ``viability`` is the fraction of the vehicle
    control; ``raw_value`` is the number that was submitted.
    """

    __tablename__ = "measurement"
    __table_args__ = (
        ForeignKeyConstraint(
            ["campaign_id", "submission_id"], ["submission.campaign_id", "submission.id"]
        ),
        ForeignKeyConstraint(
            ["campaign_id", "cell_line_id"],
            ["campaign_cell_line.campaign_id", "campaign_cell_line.cell_line_id"],
        ),
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        ForeignKeyConstraint(["corrects_id"], ["measurement.id"]),
        *(_member(letter) for letter in "abc"),
        *(_component(letter) for letter in "abc"),
        CheckConstraint(
            # Also true where both are NULL; a NULL before a compound makes the comparison NULL,
            # which a CHECK lets pass, so the order of presence is asked for by itself.
            "(compound_b_id IS NULL OR compound_a_id IS NOT NULL)"
            " AND (compound_c_id IS NULL OR compound_b_id IS NOT NULL)"
            " AND (compound_b_id IS NULL OR compound_a_id < compound_b_id)"
            " AND (compound_c_id IS NULL OR compound_b_id < compound_c_id)",
            name="unordered",
        ),
        CheckConstraint(_FINITE.format("viability"), name="viability"),
        CheckConstraint(_FINITE.format("raw_value"), name="raw_value"),
        CheckConstraint("(corrects_id IS NULL) = (version = 1)", name="version"),
        UniqueConstraint("corrects_id"),
        Index("ix_measurement_campaign_id_id", "campaign_id", "id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier)
    submission_id: Mapped[str] = mapped_column(Identifier, index=True)
    row: Mapped[int]
    cell_line_id: Mapped[str] = mapped_column(Identifier)
    compound_a_id: Mapped[str | None] = mapped_column(Identifier)
    dose_a_um: Mapped[float | None]
    compound_b_id: Mapped[str | None] = mapped_column(Identifier)
    dose_b_um: Mapped[float | None]
    compound_c_id: Mapped[str | None] = mapped_column(Identifier)
    dose_c_um: Mapped[float | None]
    raw_value: Mapped[float]
    viability: Mapped[float]
    plate: Mapped[str | None] = mapped_column(String(200))
    well: Mapped[str | None] = mapped_column(String(200))
    replicate: Mapped[str | None] = mapped_column(String(200))
    block: Mapped[str | None] = mapped_column(String(200))
    version: Mapped[int] = mapped_column(default=1)
    corrects_id: Mapped[str | None] = mapped_column(Identifier)
    withdrawn: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


make_append_only(Submission.__table__)
make_append_only(Measurement.__table__)
