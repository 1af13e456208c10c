"""Archives that were made here, and archives that were brought here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow


class Archive(WorkspaceOwned, Base):
    """A campaign as one file: asked for (``export``), or uploaded (``import``)."""

    __tablename__ = "archive"
    __audited__ = True
    __audit_hidden__ = frozenset({"manifest"})
    __table_args__ = (
        CheckConstraint("kind IN ('export', 'import')", name="kind"),
        Index(None, "campaign_id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    campaign_id: Mapped[str | None] = mapped_column(Identifier)
    """What is in it; of an import: what became of it, once that exists."""
    job_id: Mapped[str] = mapped_column(Identifier)
    weights: Mapped[bool]
    artifact: Mapped[str | None] = mapped_column(String(80))
    """The file; its name is its hash."""
    n_bytes: Mapped[int | None]
    manifest: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    history: Mapped[str | None] = mapped_column(String(80))
    """Of an import: the audit trail that the archive brought along. It is not ours to put among
    the events that happened here."""
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
