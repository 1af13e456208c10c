"""Uploaded files, readings of plates, their quality, flags of wells, limits of quality."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = ("upload", "plate_reading", "plate_result", "well_flag", "quality_limits")


def _owned(table: str, *key: str) -> tuple[sa.schema.SchemaItem, ...]:
    """What every table of a workspace has."""
    return (
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f(f"fk_{table}_workspace_id")
        ),
        sa.PrimaryKeyConstraint(*(key or ("id",)), name=op.f(f"pk_{table}")),
    )


def _belongs(table: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", f"{other}_id"],
        [f"{other}.workspace_id", f"{other}.id"],
        name=op.f(f"fk_{table}_workspace_id_{other}_id"),
    )


def _index(table: str, *columns: str) -> None:
    for column in ("workspace_id", *columns):
        op.create_index(f"ix_{table}_{column}", table, [column])


def upgrade() -> None:
    _create_upload()
    _create_reading()
    _create_result()
    _create_flag()
    table = "quality_limits"
    op.create_table(
        table,
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("changed_by", sa.String(length=80), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *_owned(table),
        sa.UniqueConstraint("workspace_id", name=op.f(f"uq_{table}_workspace_id")),
    )
    _index(table)
    for table in ("plate_reading", "plate_result"):
        _make_append_only(table)


def _create_upload() -> None:
    table = "upload"
    op.create_table(
        table,
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("file_name", sa.String(length=200), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("original", sa.String(length=80), nullable=False),
        sa.Column("n_bytes", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("format", sa.String(length=40), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("preview", sa.JSON(), nullable=False),
        sa.Column("parsed", sa.String(length=80), nullable=True),
        sa.Column("job_id", Identifier(), nullable=True),
        sa.Column("submission_id", Identifier(), nullable=True),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("committed_by", sa.String(length=80), nullable=True),
        sa.Column("committed_at", UTCDateTime(), nullable=True),
        *_owned(table),
        _belongs(table, "campaign"),
        sa.ForeignKeyConstraint(
            ["campaign_id", "submission_id"],
            ["submission.campaign_id", "submission.id"],
            name=op.f("fk_upload_campaign_id_submission_id"),
        ),
        sa.UniqueConstraint("campaign_id", "sha256", name=op.f("uq_upload_campaign_id_sha256")),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_upload_workspace_id_id")),
        sa.CheckConstraint(
            "state IN ('queued', 'parsed', 'committed', 'refused')", name=op.f("ck_upload_state")
        ),
        sa.CheckConstraint(
            "state = 'committed' OR submission_id IS NULL", name=op.f("ck_upload_submission")
        ),
    )
    _index(table)


def _create_reading() -> None:
    table = "plate_reading"
    op.create_table(
        table,
        sa.Column("upload_id", Identifier(), nullable=False),
        sa.Column("plate_id", Identifier(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("column", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("flag", sa.String(length=200), nullable=True),
        sa.Column("unit", sa.String(length=40), nullable=True),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("field", sa.Integer(), nullable=False),
        *_owned(table, "upload_id", "plate_id", "label", "row", "column"),
        _belongs(table, "plate"),
        _belongs(table, "upload"),
        sa.CheckConstraint(
            "(value IS NULL) = (flag IS NOT NULL)", name=op.f("ck_plate_reading_value")
        ),
        sa.CheckConstraint(
            "value > -1e300 AND value < 1e300", name=op.f("ck_plate_reading_finite")
        ),
    )
    _index(table, "plate_id")


def _create_result() -> None:
    table = "plate_result"
    op.create_table(
        table,
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("plate_id", Identifier(), nullable=False),
        sa.Column("upload_id", Identifier(), nullable=False),
        sa.Column("submission_id", Identifier(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=False),
        sa.Column("scale", sa.String(length=20), nullable=False),
        sa.Column("time_zero", sa.JSON(), nullable=True),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("reference", sa.JSON(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("n_counted", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        *_owned(table),
        _belongs(table, "plate"),
        _belongs(table, "upload"),
        sa.CheckConstraint(
            "verdict IN ('pass', 'warn', 'fail')", name=op.f("ck_plate_result_verdict")
        ),
    )
    _index(table, "plate_id")


def _create_flag() -> None:
    table = "well_flag"
    op.create_table(
        table,
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("plate_id", Identifier(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=True),
        sa.Column("column", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=True),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("lifted_by", sa.String(length=80), nullable=True),
        sa.Column("lifted_at", UTCDateTime(), nullable=True),
        sa.Column("lift_reason", sa.Text(), nullable=True),
        *_owned(table),
        _belongs(table, "plate"),
        sa.CheckConstraint('("row" IS NULL) = ("column" IS NULL)', name=op.f("ck_well_flag_well")),
        sa.CheckConstraint(
            "(lifted_at IS NULL) = (lifted_by IS NULL)", name=op.f("ck_well_flag_lifted")
        ),
    )
    _index(table, "plate_id")


def _make_append_only(table: str) -> None:
    # Spelled out, not imported: a migration is history and must not change with the code.
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()"
    )


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        for table in ("plate_reading", "plate_result"):
            op.execute(f"DROP FUNCTION IF EXISTS {table}_append_only()")
