"""Data sets may hold counts of cells."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_BEFORE = "holds IN ('responses', 'time_courses')"
_AFTER = "holds IN ('responses', 'time_courses', 'cell_counts')"


def upgrade() -> None:
    _allow(_AFTER)


def downgrade() -> None:
    _allow(_BEFORE)


def _allow(condition: str) -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_dataset_holds"), "dataset", type_="check")
        op.create_check_constraint(op.f("ck_dataset_holds"), "dataset", condition)
        return
    # SQLite makes the table anew. Its rows stand aside meanwhile: dropping a table deletes them,
    # and only their return pays what fits and campaigns that point at them are owed by the commit.
    op.execute("CREATE TEMPORARY TABLE kept_dataset AS SELECT * FROM dataset")
    op.execute("DELETE FROM dataset")
    with op.batch_alter_table("dataset") as table:
        table.drop_constraint(op.f("ck_dataset_holds"), type_="check")
        table.create_check_constraint(op.f("ck_dataset_holds"), condition)
    op.execute("INSERT INTO dataset SELECT * FROM kept_dataset")
    op.execute("DROP TABLE kept_dataset")
