"""Events, webhooks and their deliveries; field maps, and which one read a submission."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WAITING = sa.text("dispatched_at IS NULL")
_PENDING = sa.text("status = 'pending'")


def _owned(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    """What every table of a workspace has."""
    return (
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f(f"fk_{table}_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )


def upgrade() -> None:
    op.create_table(
        "field_map",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("folded", sa.String(length=600), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        *_owned("field_map"),
        sa.UniqueConstraint(
            "workspace_id",
            "folded",
            "version",
            name=op.f("uq_field_map_workspace_id_folded_version"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_field_map_version")),
    )
    op.create_index("ix_field_map_workspace_id", "field_map", ["workspace_id"])
    # Added in place: triggers guard the table, and rows of others refer to it.
    op.add_column("submission", sa.Column("field_map_id", Identifier(), nullable=True))
    _create_outbox()
    _create_webhook()
    _create_delivery()


def _create_outbox() -> None:
    op.create_table(
        "outbox_event",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("subject_id", sa.String(length=80), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("dispatched_at", UTCDateTime(), nullable=True),
        *_owned("outbox_event"),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_outbox_event_workspace_id_id")),
    )
    op.create_index("ix_outbox_event_workspace_id", "outbox_event", ["workspace_id"])
    op.create_index(
        "ix_outbox_event_waiting",
        "outbox_event",
        ["id"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )


def _create_webhook() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.JSON(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("disabled_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *_owned("webhook"),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_webhook_workspace_id_id")),
    )
    op.create_index("ix_webhook_workspace_id", "webhook", ["workspace_id"])


def _create_delivery() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("webhook_id", Identifier(), nullable=False),
        sa.Column("event_id", Identifier(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("replayed", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.JSON(), nullable=False),
        sa.Column("due_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        *_owned("webhook_delivery"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "webhook_id"],
            ["webhook.workspace_id", "webhook.id"],
            name=op.f("fk_webhook_delivery_workspace_id_webhook_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "event_id"],
            ["outbox_event.workspace_id", "outbox_event.id"],
            name=op.f("fk_webhook_delivery_workspace_id_event_id"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_delivery_status")
        ),
    )
    for column in ("workspace_id", "webhook_id", "event_id"):
        op.create_index(f"ix_webhook_delivery_{column}", "webhook_delivery", [column])
    for name, columns, unique in (
        ("uq_webhook_delivery_pending", ["webhook_id", "event_id"], True),
        ("ix_webhook_delivery_due", ["due_at"], False),
    ):
        op.create_index(
            name,
            "webhook_delivery",
            columns,
            unique=unique,
            sqlite_where=_PENDING,
            postgresql_where=_PENDING,
        )


def downgrade() -> None:
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")
    op.drop_table("outbox_event")
    op.drop_column("submission", "field_map_id")
    op.drop_table("field_map")
