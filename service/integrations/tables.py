"""Subscriptions of other systems, and what became of each delivery."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base, Identifier, utcnow
from service.kit.etag import Versioned

DELIVERY_STATUSES = ("pending", "delivered", "failed")


class Webhook(Versioned, WorkspaceOwned, Base):
    """A URL that wants to be told.

    ``secrets`` are kept as they are, because signing needs them; the audit trail does not see them.
    """

    __tablename__ = "webhook"
    __audited__ = True
    __audit_hidden__ = frozenset({"secrets"})
    __table_args__ = (UniqueConstraint("workspace_id", "id"),)

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    types: Mapped[list[Any]]
    description: Mapped[str | None] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(default=True)
    secrets: Mapped[list[Any]]
    """``{"secret", "until"}``, newest first; ``until`` is null for the present one."""
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class WebhookDelivery(WorkspaceOwned, Base):
    """One event on its way to one webhook. An event is on its way at most once at a time."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "webhook_id"], ["webhook.workspace_id", "webhook.id"]
        ),
        ForeignKeyConstraint(
            ["workspace_id", "event_id"], ["outbox_event.workspace_id", "outbox_event.id"]
        ),
        CheckConstraint(f"status IN {DELIVERY_STATUSES!r}", name="status"),
        Index(
            "uq_webhook_delivery_pending",
            "webhook_id",
            "event_id",
            unique=True,
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_webhook_delivery_due",
            "due_at",
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index(None, "event_id"),
        Index(None, "webhook_id"),
    )

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(Identifier)
    event_id: Mapped[str] = mapped_column(Identifier)
    status: Mapped[str] = mapped_column(String(10), default="pending")
    replayed: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[list[Any]] = mapped_column(default=list)
    """``{"at", "status", "error", "seconds"}`` of each attempt, oldest first."""
    due_at: Mapped[datetime | None] = mapped_column(default=utcnow)
    """When the next attempt is made. Whoever makes it moves this on first, so that nobody else
    does and a crash in between costs a delay."""
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]
