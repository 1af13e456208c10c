"""Goals of campaigns beside the score, and what a recommendation says of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = {"campaign": "goal", "recommendation": "objective"}


def upgrade() -> None:
    for table, column in _TABLES.items():
        op.add_column(table, sa.Column(column, sa.JSON(), nullable=True))


def downgrade() -> None:
    for table, column in reversed(_TABLES.items()):
        op.drop_column(table, column)
