"""Data beside the screen: responses to perturbations, time courses; what was learned of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow

HOLDS = ("responses", "time_courses", "cell_counts")
KINDS = ("log_ratio", "counts", "signal")
STATES = ("queued", "ready", "refused")


class Dataset(WorkspaceOwned, Base):
    """A file of responses or time courses, as it came, and what was found in it."""

    __tablename__ = "dataset"
    __audited__ = True
    __audit_hidden__ = frozenset({"summary"})
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("workspace_id", "sha256", "declared"),
        CheckConstraint(f"holds IN {HOLDS!r}", name="holds"),
        CheckConstraint(f"kind IN {KINDS!r}", name="kind"),
        CheckConstraint("(holds = 'time_courses') = (kind = 'signal')", name="what_of_which"),
        CheckConstraint(f"state IN {STATES!r}", name="state"),
        CheckConstraint("(state = 'ready') = (content IS NOT NULL)", name="ready"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    holds: Mapped[str] = mapped_column(String(20))
    kind: Mapped[str] = mapped_column(String(20))
    filename: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64))
    declared: Mapped[str] = mapped_column(String(64))
    """Digest of what was declared with the file: the same file declared otherwise is another."""
    asked: Mapped[dict[str, Any]]
    original: Mapped[str] = mapped_column(String(80))
    n_bytes: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[str] = mapped_column(Identifier)
    state: Mapped[str] = mapped_column(String(10), default="queued")
    content: Mapped[str | None] = mapped_column(String(80))
    """Artifact that describes the table and names its arrays, once it was read."""
    summary: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    problem: Mapped[str | None] = mapped_column(Text)
    """Why it was refused: where, what and the fix."""
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


def _dataset() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["workspace_id", "dataset_id"], ["dataset.workspace_id", "dataset.id"]
    )


class CampaignDataset(WorkspaceOwned, Base):
    """A campaign learns from a data set, too."""

    __tablename__ = "campaign_dataset"
    __audited__ = True
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"]
        ),
        _dataset(),
    )

    campaign_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class DatasetFit(WorkspaceOwned, Base):
    """What was learned from a data set: models beside baselines. Never changed once written."""

    __tablename__ = "dataset_fit"
    __audited__ = True
    __audit_hidden__ = frozenset({"report"})
    __table_args__ = (_dataset(), UniqueConstraint("job_id"), Index(None, "dataset_id"))

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(Identifier)
    job_id: Mapped[str] = mapped_column(Identifier)
    model: Mapped[str] = mapped_column(String(60))
    skill: Mapped[float]
    """Held-out share of what the best baseline leaves unexplained; 0 where it adds nothing."""
    report: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    features: Mapped[str] = mapped_column(String(80))
    """Artifact: what the fit says of each perturbation and pair, for the models of synergy."""
    results: Mapped[str] = mapped_column(String(80))
    """Artifact: tables and curves to read and to plot."""
    weights: Mapped[str] = mapped_column(String(80))
    metadata_artifact: Mapped[str] = mapped_column(String(80))
    seed: Mapped[int]
    device: Mapped[str] = mapped_column(String(40))
    versions: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
