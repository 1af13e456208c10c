"""Named maps from the columns of another system to ours. A version never changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow


class FieldMap(WorkspaceOwned, Base):
    """One version of a map. Submissions name the version by which they were read."""

    __tablename__ = "field_map"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("workspace_id", "folded", "version"),
        CheckConstraint("version >= 1", name="version"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    folded: Mapped[str] = mapped_column(String(600))
    version: Mapped[int]
    definition: Mapped[dict[str, Any]]
    created_by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
