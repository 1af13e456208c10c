"""Rules of the laboratory, what a recommendation says of itself, and replayed campaigns."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _added() -> dict[str, tuple[sa.Column, ...]]:
    """Added one by one, not by a copy of the table: rows of other tables refer to these."""
    return {
        "campaign": (
            sa.Column("xi", sa.Double(), nullable=False, server_default=sa.text("0")),
            sa.Column("top_k", sa.Integer(), nullable=True),
            sa.Column("rounds_planned", sa.Integer(), nullable=True),
            sa.Column("lab", sa.JSON(), nullable=True),
        ),
        "recommendation": (
            sa.Column("step", sa.JSON(), nullable=True),
            sa.Column("calibration", sa.JSON(), nullable=True),
            sa.Column("outlook", sa.JSON(), nullable=True),
            sa.Column("shortfall", sa.Text(), nullable=True),
            sa.Column("solution", sa.JSON(), nullable=True),
            sa.Column("limits", sa.JSON(), nullable=True),
            sa.Column("curve", sa.JSON(), nullable=True),
            sa.Column("worlds", sa.LargeBinary(), nullable=True),
        ),
        "batch_item": (sa.Column("plate", sa.Integer(), nullable=True),),
    }


def upgrade() -> None:
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "replayed_campaign",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("n_blocks", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.String(length=80), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_replayed_campaign_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_replayed_campaign_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replayed_campaign")),
        sa.UniqueConstraint("job_id", name=op.f("uq_replayed_campaign_job_id")),
    )
    for column in ("campaign_id", "workspace_id"):
        op.create_index(f"ix_replayed_campaign_{column}", "replayed_campaign", [column])


def downgrade() -> None:
    op.drop_table("replayed_campaign")
    for table, columns in reversed(_added().items()):
        for column in columns:
            op.drop_column(table, column.name)
