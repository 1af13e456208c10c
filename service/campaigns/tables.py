"""A campaign: what may be combined, where, at which doses, to what end, within which limits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow
from service.kit.etag import Versioned

STATUSES = ("draft", "open", "paused", "closed")


class Campaign(Versioned, WorkspaceOwned, Base):
    __tablename__ = "campaign"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        CheckConstraint(f"status IN {STATUSES!r}", name="status"),
        CheckConstraint("batch_size BETWEEN 1 AND 10000", name="batch_size"),
        CheckConstraint("max_per_compound IS NULL OR max_per_compound >= 1", name="cap"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(10), default="open")
    score: Mapped[str] = mapped_column(String(40))
    hit_threshold: Mapped[float]
    goal: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What is sought instead of the score; cell lines by id."""
    model: Mapped[str] = mapped_column(String(60))
    acquisition: Mapped[str] = mapped_column(String(40))
    kappa: Mapped[float]
    batch_size: Mapped[int]
    max_per_compound: Mapped[int | None]
    xi: Mapped[float] = mapped_column(server_default=text("0"))
    top_k: Mapped[int | None]
    rounds_planned: Mapped[int | None]
    lab: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the laboratory can do beside the size of a batch and the cap per compound; ids."""
    all_pairs: Mapped[bool]
    repeat_earlier: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether what an earlier campaign measured may be proposed again."""
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class CampaignCompound(WorkspaceOwned, Base):
    __tablename__ = "campaign_compound"
    __audited__ = True
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        ForeignKeyConstraint(
            ["workspace_id", "compound_id"], ["compound.workspace_id", "compound.id"]
        ),
    )

    campaign_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    compound_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    doses_um: Mapped[list[Any]]


class CampaignCellLine(WorkspaceOwned, Base):
    __tablename__ = "campaign_cell_line"
    __audited__ = True
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        ForeignKeyConstraint(
            ["workspace_id", "cell_line_id"], ["cell_line.workspace_id", "cell_line.id"]
        ),
    )

    campaign_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    cell_line_id: Mapped[str] = mapped_column(Identifier, primary_key=True)


class CampaignSource(WorkspaceOwned, Base):
    """An earlier campaign whose measurements a campaign learns from beside its own."""

    __tablename__ = "campaign_source"
    __audited__ = True
    __table_args__ = (
        *(
            ForeignKeyConstraint(["workspace_id", column], ["campaign.workspace_id", "campaign.id"])
            for column in ("campaign_id", "source_id")
        ),
        CheckConstraint("campaign_id <> source_id", name="another"),
    )

    campaign_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    source_id: Mapped[str] = mapped_column(Identifier, primary_key=True)


def _pair_of_campaign() -> tuple[ForeignKeyConstraint, ...]:
    return tuple(
        ForeignKeyConstraint(
            ["campaign_id", column],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
        )
        for column in ("compound_a_id", "compound_b_id")
    )


class CampaignPair(WorkspaceOwned, Base):
    """A pair that may be proposed, where a campaign does not allow all of them."""

    __tablename__ = "campaign_pair"
    __table_args__ = (
        *_pair_of_campaign(),
        CheckConstraint("compound_a_id < compound_b_id", name="unordered"),
    )

    campaign_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    compound_a_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    compound_b_id: Mapped[str] = mapped_column(Identifier, primary_key=True)


class CandidateMark(WorkspaceOwned, Base):
    """A candidate that people pinned (propose it first) or banned (never propose it)."""

    __tablename__ = "candidate_mark"
    __audited__ = True
    __table_args__ = (
        *_pair_of_campaign(),
        ForeignKeyConstraint(
            ["campaign_id", "cell_line_id"],
            ["campaign_cell_line.campaign_id", "campaign_cell_line.cell_line_id"],
        ),
        CheckConstraint("compound_a_id < compound_b_id", name="unordered"),
        CheckConstraint("mark IN ('pin', 'ban')", name="mark"),
        CheckConstraint("scope = coalesce(cell_line_id, '*')", name="scope"),
        UniqueConstraint("campaign_id", "compound_a_id", "compound_b_id", "scope"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier)
    compound_a_id: Mapped[str] = mapped_column(Identifier)
    compound_b_id: Mapped[str] = mapped_column(Identifier)
    cell_line_id: Mapped[str | None] = mapped_column(Identifier)
    scope: Mapped[str] = mapped_column(Identifier)
    """The cell line, or ``*`` for all: NULLs would not count as equal in a unique constraint."""
    mark: Mapped[str] = mapped_column(String(3))
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
