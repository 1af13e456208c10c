"""Scorecards: made from what was measured, never changed once written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow


class TriageCard(WorkspaceOwned, Base):
    """A scorecard, how well it did on compounds that it had not seen, and what it says of pairs."""

    __tablename__ = "triage_card"
    __audited__ = True
    __audit_hidden__ = frozenset({"report"})
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        UniqueConstraint("job_id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Identifier, index=True)
    job_id: Mapped[str] = mapped_column(Identifier)
    score: Mapped[str] = mapped_column(String(40))
    hit_threshold: Mapped[float]
    n_blocks: Mapped[int]
    n_hits: Mapped[int]
    n_scored: Mapped[int]
    """Candidates that have points; the best of them are in ``scores``."""
    snapshot: Mapped[str] = mapped_column(String(80))
    card: Mapped[str] = mapped_column(String(80))
    """Artifact: base, sections and points."""
    scores: Mapped[str] = mapped_column(String(80))
    """Artifact: the best candidates with points, intervals and reasons."""
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    seed: Mapped[int]
    versions: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
