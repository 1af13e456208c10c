"""Compounds name the genes that they act on."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("compound") as table:
        table.add_column(sa.Column("targets", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("compound") as table:
        table.drop_column("targets")
