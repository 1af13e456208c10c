"""Submissions name the fit of time courses that their values were derived from."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in a batch: the table would be made anew, without the triggers that keep it append-only.
    op.add_column("submission", sa.Column("dataset_fit_id", Identifier(), nullable=True))


def downgrade() -> None:
    op.drop_column("submission", "dataset_fit_id")
