"""Fits of whole dose-response surfaces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "surface_fit",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("served", sa.String(length=40), nullable=False),
        sa.Column("n_blocks", sa.Integer(), nullable=False),
        sa.Column("n_surfaces", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.String(length=80), nullable=False),
        sa.Column("surfaces", sa.String(length=80), nullable=False),
        sa.Column("weights", sa.String(length=80), nullable=False),
        sa.Column("metadata_artifact", sa.String(length=80), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=40), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_surface_fit_workspace_id")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_surface_fit_workspace_id_campaign_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_surface_fit")),
        sa.UniqueConstraint("job_id", name=op.f("uq_surface_fit_job_id")),
    )
    op.create_index("ix_surface_fit_workspace_id", "surface_fit", ["workspace_id"])
    op.create_index("ix_surface_fit_campaign_id", "surface_fit", ["campaign_id"])


def downgrade() -> None:
    op.drop_table("surface_fit")
