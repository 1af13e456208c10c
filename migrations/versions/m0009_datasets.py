"""Data sets of responses and time courses, who learns from them, and what was learned."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _owned(table: str) -> list[Any]:
    return [
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f(f"fk_{table}_workspace_id")
        ),
    ]


def _in_workspace(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{other}.workspace_id", f"{other}.id"],
        name=op.f(f"fk_{table}_workspace_id_{column}"),
    )


def upgrade() -> None:
    _datasets()
    op.create_table(
        "campaign_dataset",
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("dataset_id", Identifier(), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        *_owned("campaign_dataset"),
        _in_workspace("campaign_dataset", "campaign_id", "campaign"),
        _in_workspace("campaign_dataset", "dataset_id", "dataset"),
        sa.PrimaryKeyConstraint("campaign_id", "dataset_id", name=op.f("pk_campaign_dataset")),
    )
    op.create_index("ix_campaign_dataset_workspace_id", "campaign_dataset", ["workspace_id"])
    _fits()


def _datasets() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("holds", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("filename", sa.String(length=200), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("declared", sa.String(length=64), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("original", sa.String(length=80), nullable=False),
        sa.Column("n_bytes", sa.BigInteger(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("content", sa.String(length=80), nullable=True),
        sa.Column("summary", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        *_owned("dataset"),
        sa.CheckConstraint("holds IN ('responses', 'time_courses')", name=op.f("ck_dataset_holds")),
        sa.CheckConstraint(
            "kind IN ('log_ratio', 'counts', 'signal')", name=op.f("ck_dataset_kind")
        ),
        sa.CheckConstraint(
            "(holds = 'time_courses') = (kind = 'signal')", name=op.f("ck_dataset_what_of_which")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'ready', 'refused')", name=op.f("ck_dataset_state")
        ),
        sa.CheckConstraint(
            "(state = 'ready') = (content IS NOT NULL)", name=op.f("ck_dataset_ready")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_dataset_workspace_id_id")),
        sa.UniqueConstraint(
            "workspace_id",
            "sha256",
            "declared",
            name=op.f("uq_dataset_workspace_id_sha256_declared"),
        ),
    )
    op.create_index("ix_dataset_workspace_id", "dataset", ["workspace_id"])


def _fits() -> None:
    op.create_table(
        "dataset_fit",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("dataset_id", Identifier(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("model", sa.String(length=60), nullable=False),
        sa.Column("skill", sa.Double(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("features", sa.String(length=80), nullable=False),
        sa.Column("results", sa.String(length=80), nullable=False),
        sa.Column("weights", sa.String(length=80), nullable=False),
        sa.Column("metadata_artifact", sa.String(length=80), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=40), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        *_owned("dataset_fit"),
        _in_workspace("dataset_fit", "dataset_id", "dataset"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_fit")),
        sa.UniqueConstraint("job_id", name=op.f("uq_dataset_fit_job_id")),
    )
    op.create_index("ix_dataset_fit_workspace_id", "dataset_fit", ["workspace_id"])
    op.create_index("ix_dataset_fit_dataset_id", "dataset_fit", ["dataset_id"])


def downgrade() -> None:
    op.drop_table("dataset_fit")
    op.drop_table("campaign_dataset")
    op.drop_table("dataset")
