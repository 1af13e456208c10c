"""Fits of whole dose-response surfaces: never changed once written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow


class SurfaceFit(WorkspaceOwned, Base):
    """What was learned from all blocks of a campaign, and the surfaces of its pairs."""

    __tablename__ = "surface_fit"
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
    served: Mapped[str] = mapped_column(String(40))
    """The model whose surfaces are stored: the best-judged one."""
    n_blocks: Mapped[int]
    n_surfaces: Mapped[int]
    snapshot: Mapped[str] = mapped_column(String(80))
    surfaces: Mapped[str] = mapped_column(String(80))
    """Artifact: by cell line, the artifact with its surfaces."""
    weights: Mapped[str] = mapped_column(String(80))
    """Artifact: the operator, served or not."""
    metadata_artifact: Mapped[str] = mapped_column(String(80))
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    seed: Mapped[int]
    device: Mapped[str] = mapped_column(String(40))
    versions: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
