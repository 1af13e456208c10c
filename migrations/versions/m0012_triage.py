"""Scorecards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "triage_card",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("score", sa.String(length=40), nullable=False),
        sa.Column("hit_threshold", sa.Double(), nullable=False),
        sa.Column("n_blocks", sa.Integer(), nullable=False),
        sa.Column("n_hits", sa.Integer(), nullable=False),
        sa.Column("n_scored", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.String(length=80), nullable=False),
        sa.Column("card", sa.String(length=80), nullable=False),
        sa.Column("scores", sa.String(length=80), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_triage_card_workspace_id")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_triage_card_workspace_id_campaign_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triage_card")),
        sa.UniqueConstraint("job_id", name=op.f("uq_triage_card_job_id")),
    )
    op.create_index("ix_triage_card_workspace_id", "triage_card", ["workspace_id"])
    op.create_index("ix_triage_card_campaign_id", "triage_card", ["campaign_id"])


def downgrade() -> None:
    op.drop_table("triage_card")
