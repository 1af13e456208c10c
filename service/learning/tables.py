"""What was learned: fitted models, recommendations, predictions. Never changed once written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow

WITHHELD = "withheld"
"""Stands for the weights and the snapshot of a model that came without them."""


def _campaign() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
    )


class FittedModel(WorkspaceOwned, Base):
    """A posterior, what it was learned from, and how well it does on what it did not see."""

    __tablename__ = "fitted_model"
    __audited__ = True
    __table_args__ = (
        _campaign(),
        UniqueConstraint("job_id"),
        UniqueConstraint("campaign_id", "id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    job_id: Mapped[str] = mapped_column(Identifier)
    name: Mapped[str] = mapped_column(String(60))
    score: Mapped[str] = mapped_column(String(40))
    n_wells: Mapped[int]
    n_blocks: Mapped[int]
    snapshot: Mapped[str] = mapped_column(String(80))
    weights: Mapped[str] = mapped_column(String(80))
    metadata_artifact: Mapped[str] = mapped_column(String(80))
    blocks: Mapped[str] = mapped_column(String(80))
    """Artifact with the measured score of every block that the model learned from."""
    evidence: Mapped[dict[str, Any]]
    earlier: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What came from which campaign; nothing where all is the campaign's own."""
    excluded: Mapped[list[Any]]
    seed: Mapped[int]
    device: Mapped[str] = mapped_column(String(40))
    device_reason: Mapped[str] = mapped_column(Text)
    versions: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Prediction(WorkspaceOwned, Base):
    """Answers of one model to questions that somebody asked."""

    __tablename__ = "prediction"
    __audited__ = True
    __audit_hidden__ = frozenset({"items"})
    __table_args__ = (_campaign(), UniqueConstraint("job_id"))

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    job_id: Mapped[str] = mapped_column(Identifier)
    model_id: Mapped[str] = mapped_column(Identifier)
    n_items: Mapped[int]
    items: Mapped[list[Any]] = mapped_column(JSON, deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class ReplayedCampaign(WorkspaceOwned, Base):
    """Strategies compared on what a campaign has measured."""

    __tablename__ = "replayed_campaign"
    __audited__ = True
    __audit_hidden__ = frozenset({"report"})
    __table_args__ = (_campaign(), UniqueConstraint("job_id"))

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    job_id: Mapped[str] = mapped_column(Identifier)
    asked: Mapped[dict[str, Any]]
    n_blocks: Mapped[int]
    snapshot: Mapped[str] = mapped_column(String(80))
    report: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
