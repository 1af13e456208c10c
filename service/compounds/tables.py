"""Compounds by structure, the forms they were registered in, and every name they go by."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKeyConstraint, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow
from service.kit.etag import Versioned


class Compound(Versioned, WorkspaceOwned, Base):
    """A parent structure, or a compound whose structure is unknown.

    ``fingerprint`` is computed once, from the first registered structure, and stored with the
    version of what computed it: a later spelling of a tautomer must not change the features.
    """

    __tablename__ = "compound"
    __audited__ = True
    __audit_hidden__ = frozenset({"fingerprint"})
    __table_args__ = (
        UniqueConstraint("workspace_id", "inchikey"),
        UniqueConstraint("workspace_id", "id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    inchikey: Mapped[str | None] = mapped_column(String(27))
    smiles: Mapped[str | None] = mapped_column(Text)
    formula: Mapped[str | None] = mapped_column(String(200))
    molecular_weight: Mapped[float | None]
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    feature_version: Mapped[str | None] = mapped_column(String(100))
    targets: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    """Gene symbols, sorted; nothing where they are unknown."""
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class CompoundAlias(WorkspaceOwned, Base):
    """A name, folded; in one workspace it leads to one compound."""

    __tablename__ = "compound_alias"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("workspace_id", "folded"),
        ForeignKeyConstraint(
            ["workspace_id", "compound_id"], ["compound.workspace_id", "compound.id"]
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    compound_id: Mapped[str] = mapped_column(Identifier, index=True)
    text: Mapped[str] = mapped_column(String(200))
    folded: Mapped[str] = mapped_column(String(600))


class Substance(WorkspaceOwned, Base):
    """A registered form of a compound (free base, salt): what stock solutions are weighed from."""

    __tablename__ = "substance"
    __audited__ = True
    __table_args__ = (
        UniqueConstraint("compound_id", "inchikey"),
        ForeignKeyConstraint(
            ["workspace_id", "compound_id"], ["compound.workspace_id", "compound.id"]
        ),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    compound_id: Mapped[str] = mapped_column(Identifier, index=True)
    name: Mapped[str] = mapped_column(String(200))
    smiles: Mapped[str] = mapped_column(Text)
    inchikey: Mapped[str] = mapped_column(String(27))
    molecular_weight: Mapped[float]
    parent_count: Mapped[int]
    """Parents in one formula unit: a hemi-salt's stock holds that many times its molarity."""
    is_salt: Mapped[bool]
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
