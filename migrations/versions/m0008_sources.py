"""Campaigns that learn from earlier ones, and what models and recommendations say of that."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLE = "campaign_source"
_SAYING = ("fitted_model", "recommendation")


def upgrade() -> None:
    op.create_table(
        _TABLE,
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("source_id", Identifier(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint("campaign_id <> source_id", name=op.f("ck_campaign_source_another")),
        *(
            sa.ForeignKeyConstraint(
                ["workspace_id", column],
                ["campaign.workspace_id", "campaign.id"],
                name=op.f(f"fk_campaign_source_workspace_id_{column}"),
            )
            for column in ("campaign_id", "source_id")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_campaign_source_workspace_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "source_id", name=op.f("pk_campaign_source")),
    )
    op.create_index("ix_campaign_source_workspace_id", _TABLE, ["workspace_id"])
    op.add_column(
        "campaign",
        sa.Column("repeat_earlier", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    for table in _SAYING:
        op.add_column(table, sa.Column("earlier", sa.JSON(), nullable=True))


def downgrade() -> None:
    for table in reversed(_SAYING):
        op.drop_column(table, "earlier")
    op.drop_column("campaign", "repeat_earlier")
    op.drop_table(_TABLE)
