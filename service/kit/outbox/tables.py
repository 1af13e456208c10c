"""Events that wait to be delivered, and stay for a while to be replayed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow


class OutboxEvent(WorkspaceOwned, Base):
    """Something that happened. It names what changed; whoever may read that reads it there."""

    __tablename__ = "outbox_event"
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        Index(
            "ix_outbox_event_waiting",
            "id",
            sqlite_where=text("dispatched_at IS NULL"),
            postgresql_where=text("dispatched_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    type: Mapped[str] = mapped_column(String(60))
    subject_id: Mapped[str] = mapped_column(String(80))
    campaign_id: Mapped[str | None] = mapped_column(Identifier)
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=utcnow)
    dispatched_at: Mapped[datetime | None]
    """When it was decided who is told; not when they were."""
