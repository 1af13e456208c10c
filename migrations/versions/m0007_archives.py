"""Archives of campaigns."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archive",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=True),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("weights", sa.Boolean(), nullable=False),
        sa.Column("artifact", sa.String(length=80), nullable=True),
        sa.Column("n_bytes", sa.Integer(), nullable=True),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("history", sa.String(length=80), nullable=True),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint("kind IN ('export', 'import')", name=op.f("ck_archive_kind")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_archive_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archive")),
    )
    op.create_index("ix_archive_workspace_id", "archive", ["workspace_id"])
    op.create_index("ix_archive_campaign_id", "archive", ["campaign_id"])


def downgrade() -> None:
    op.drop_table("archive")
