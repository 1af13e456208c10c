"""A workspace is a lab; a key belongs to one workspace."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from service.kit.database import Base, Identifier, utcnow


class Workspace(Base):
    __tablename__ = "workspace"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class WorkspaceOwned:
    """Mix-in: the row belongs to one workspace and is invisible to all others."""

    @declared_attr
    def workspace_id(cls) -> Mapped[str]:
        return mapped_column(Identifier, ForeignKey("workspace.id"), index=True)


class ApiKey(WorkspaceOwned, Base):
    """Only the SHA-256 of the 256-bit secret is kept; a slow hash would add nothing to that."""

    __tablename__ = "api_key"
    __audited__ = True
    __audit_hidden__ = frozenset({"secret_sha256", "last_used_at"})

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
