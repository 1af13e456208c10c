"""Cell lines and, apart from them because they are long, their features."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow
from service.kit.etag import Versioned


class CellLine(Versioned, WorkspaceOwned, Base):
    __tablename__ = "cell_line"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("workspace_id", "folded"),
        UniqueConstraint("workspace_id", "id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    folded: Mapped[str] = mapped_column(String(600))
    cellosaurus_id: Mapped[str | None] = mapped_column(String(20))
    tissue: Mapped[str | None] = mapped_column(String(200))
    n_features: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class CellLineFeatures(WorkspaceOwned, Base):
    """Named numbers that describe a cell line: expression, mutations, copy numbers."""

    __tablename__ = "cell_line_features"
    __audited__ = True
    __audit_hidden__ = frozenset({"values"})
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "cell_line_id"], ["cell_line.workspace_id", "cell_line.id"]
        ),
    )

    cell_line_id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    values: Mapped[dict[str, Any]]
