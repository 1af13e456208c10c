"""Plates and their layouts, transfer reports, snapped doses, labware and stocks."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ISSUED = sa.text("status = 'issued'")
_TABLES = (
    "plate_layout",
    "plate",
    "transfer_report",
    "campaign_dispensing",
    "labware_table",
    "stock_table",
)


def _owned(table: str, key: str = "id") -> tuple[sa.schema.SchemaItem, ...]:
    """What every table of a workspace has."""
    return (
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f(f"fk_{table}_workspace_id")
        ),
        sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
    )


def _belongs(table: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", f"{other.removeprefix('plate_')}_id"],
        [f"{other}.workspace_id", f"{other}.id"],
        name=op.f(f"fk_{table}_workspace_id_{other.removeprefix('plate_')}_id"),
    )


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _index(table: str, *columns: str) -> None:
    for column in ("workspace_id", *columns):
        op.create_index(f"ix_{table}_{column}", table, [column])


def upgrade() -> None:
    _create_layout()
    _create_plate()
    _create_report()
    for table, content in (("labware_table", "definition"), ("stock_table", "stocks")):
        op.create_table(
            table,
            sa.Column("id", Identifier(), nullable=False),
            sa.Column(content, sa.JSON(), nullable=False),
            sa.Column("changed_by", sa.String(length=80), nullable=False),
            sa.Column("changed_at", UTCDateTime(), nullable=False),
            sa.Column("version", sa.Integer(), nullable=False),
            *_owned(table),
            _unique(table, "workspace_id"),
        )
        _index(table)
    _create_dispensing()
    _make_append_only("transfer_report")


def _create_dispensing() -> None:
    table = "campaign_dispensing"
    op.create_table(
        table,
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("doses", sa.JSON(), nullable=False),
        sa.Column("changed_by", sa.String(length=80), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        *_owned(table, "campaign_id"),
        _belongs(table, "campaign"),
    )
    _index(table)


def _create_layout() -> None:
    op.create_table(
        "plate_layout",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("batch_id", Identifier(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("prefix", sa.String(length=40), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("plan", sa.String(length=80), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        *_owned("plate_layout"),
        _belongs("plate_layout", "campaign"),
        _belongs("plate_layout", "batch"),
        _unique("plate_layout", "workspace_id", "id"),
        sa.CheckConstraint(
            "status IN ('issued', 'cancelled')", name=op.f("ck_plate_layout_status")
        ),
    )
    _index("plate_layout", "batch_id")
    op.create_index(
        "uq_plate_layout_issued",
        "plate_layout",
        ["batch_id"],
        unique=True,
        sqlite_where=_ISSUED,
        postgresql_where=_ISSUED,
    )


def _create_plate() -> None:
    op.create_table(
        "plate",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("batch_id", Identifier(), nullable=True),
        sa.Column("layout_id", Identifier(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("replicate", sa.Integer(), nullable=True),
        sa.Column("barcode", sa.String(length=200), nullable=False),
        sa.Column("wells", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("cell_line_ids", sa.JSON(), nullable=False),
        sa.Column("n_wells", sa.Integer(), nullable=False),
        sa.Column("n_excluded", sa.Integer(), nullable=False),
        sa.Column("map", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *_owned("plate"),
        *(_belongs("plate", other) for other in ("campaign", "batch", "plate_layout")),
        _unique("plate", "workspace_id", "id"),
        _unique("plate", "workspace_id", "barcode"),
        _unique("plate", "campaign_id", "id"),
        sa.CheckConstraint("origin IN ('issued', 'submitted')", name=op.f("ck_plate_origin")),
        sa.CheckConstraint(
            "status IN ('issued', 'measured', 'cancelled')", name=op.f("ck_plate_status")
        ),
        sa.CheckConstraint("wells IN (96, 384, 1536)", name=op.f("ck_plate_wells")),
        sa.CheckConstraint(
            "(origin = 'issued') = (layout_id IS NOT NULL)", name=op.f("ck_plate_layout")
        ),
    )
    _index("plate", "campaign_id", "batch_id", "layout_id")


def _create_report() -> None:
    op.create_table(
        "transfer_report",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("layout_id", Identifier(), nullable=False),
        sa.Column("file_name", sa.String(length=200), nullable=True),
        sa.Column("original", sa.String(length=80), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("n_bytes", sa.Integer(), nullable=False),
        sa.Column("run", sa.String(length=200), nullable=False),
        sa.Column("n_transfers", sa.Integer(), nullable=False),
        sa.Column("n_failed", sa.Integer(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        *_owned("transfer_report"),
        _belongs("transfer_report", "plate_layout"),
        _unique("transfer_report", "layout_id", "sha256"),
    )
    _index("transfer_report")


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
        op.execute("DROP FUNCTION IF EXISTS transfer_report_append_only()")
