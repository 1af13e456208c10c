"""Every table of the first version, and the triggers that keep records append-only."""

import sqlalchemy as sa
from alembic import op

from service.kit.database import Identifier, UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY = ("audit_event", "submission", "measurement")


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


def upgrade() -> None:
    op.create_table(
        "worker_lease",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("device", sa.String(length=20), nullable=False),
        sa.Column("device_key", sa.String(length=80), nullable=True),
        sa.Column("device_reason", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("reaping", sa.Boolean(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("current_job", Identifier(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_lease")),
        sa.UniqueConstraint("host", "device_key", name=op.f("uq_worker_lease_host_device_key")),
    )
    op.create_table(
        "workspace",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.Column("last_used_at", UTCDateTime(), nullable=True),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_api_key_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_workspace_id"), ["workspace_id"], unique=False)

    op.create_table(
        "audit_event",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject_type", sa.String(length=60), nullable=False),
        sa.Column("subject_id", sa.String(length=80), nullable=False),
        sa.Column("old", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("new", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.String(length=80), nullable=True),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_audit_event_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_event_subject_id"), ["subject_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_audit_event_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "campaign",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("score", sa.String(length=40), nullable=False),
        sa.Column("hit_threshold", sa.Double(), nullable=False),
        sa.Column("model", sa.String(length=60), nullable=False),
        sa.Column("acquisition", sa.String(length=40), nullable=False),
        sa.Column("kappa", sa.Double(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("max_per_compound", sa.Integer(), nullable=True),
        sa.Column("all_pairs", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint(
            "status IN ('draft', 'open', 'paused', 'closed')", name=op.f("ck_campaign_status")
        ),
        sa.CheckConstraint("batch_size BETWEEN 1 AND 10000", name=op.f("ck_campaign_batch_size")),
        sa.CheckConstraint(
            "max_per_compound IS NULL OR max_per_compound >= 1", name=op.f("ck_campaign_cap")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_campaign_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_campaign_workspace_id_id")),
    )
    with op.batch_alter_table("campaign", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_campaign_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "cell_line",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("folded", sa.String(length=600), nullable=False),
        sa.Column("cellosaurus_id", sa.String(length=20), nullable=True),
        sa.Column("tissue", sa.String(length=200), nullable=True),
        sa.Column("n_features", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_cell_line_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cell_line")),
        sa.UniqueConstraint(
            "workspace_id", "folded", name=op.f("uq_cell_line_workspace_id_folded")
        ),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_cell_line_workspace_id_id")),
    )
    with op.batch_alter_table("cell_line", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_cell_line_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "compound",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("inchikey", sa.String(length=27), nullable=True),
        sa.Column("smiles", sa.Text(), nullable=True),
        sa.Column("formula", sa.String(length=200), nullable=True),
        sa.Column("molecular_weight", sa.Double(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("feature_version", sa.String(length=100), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_compound_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compound")),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_compound_workspace_id_id")),
        sa.UniqueConstraint(
            "workspace_id", "inchikey", name=op.f("uq_compound_workspace_id_inchikey")
        ),
    )
    with op.batch_alter_table("compound", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_compound_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "job",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=True),
        sa.Column("kind", sa.String(length=80), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=200), nullable=True),
        sa.Column("done", sa.Integer(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("eta_s", sa.Double(), nullable=True),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("problem", sa.JSON(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("ticket", sa.String(length=80), nullable=False),
        sa.Column("cancel_requested_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.Column("created_by", Identifier(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_job_status"),
        ),
        sa.CheckConstraint("attempt >= 0 AND attempt <= max_attempts", name=op.f("ck_job_attempt")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_job_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_campaign_id"), ["campaign_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_job_status_created_at"), ["status", "created_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_job_workspace_id"), ["workspace_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_job_workspace_id_created_at_id"),
            ["workspace_id", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(
            "uq_job_unfinished_dedupe_key",
            ["workspace_id", "dedupe_key"],
            unique=True,
            sqlite_where=sa.text("status IN ('queued', 'running')"),
            postgresql_where=sa.text("status IN ('queued', 'running')"),
        )

    op.create_table(
        "campaign_cell_line",
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("cell_line_id", Identifier(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_campaign_cell_line_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "cell_line_id"],
            ["cell_line.workspace_id", "cell_line.id"],
            name=op.f("fk_campaign_cell_line_workspace_id_cell_line_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_campaign_cell_line_workspace_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "cell_line_id", name=op.f("pk_campaign_cell_line")),
    )
    with op.batch_alter_table("campaign_cell_line", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_campaign_cell_line_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "campaign_compound",
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("compound_id", Identifier(), nullable=False),
        sa.Column("doses_um", sa.JSON(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_campaign_compound_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "compound_id"],
            ["compound.workspace_id", "compound.id"],
            name=op.f("fk_campaign_compound_workspace_id_compound_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_campaign_compound_workspace_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "compound_id", name=op.f("pk_campaign_compound")),
    )
    with op.batch_alter_table("campaign_compound", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_campaign_compound_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "cell_line_features",
        sa.Column("cell_line_id", Identifier(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "cell_line_id"],
            ["cell_line.workspace_id", "cell_line.id"],
            name=op.f("fk_cell_line_features_workspace_id_cell_line_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_cell_line_features_workspace_id")
        ),
        sa.PrimaryKeyConstraint("cell_line_id", name=op.f("pk_cell_line_features")),
    )
    with op.batch_alter_table("cell_line_features", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_cell_line_features_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "compound_alias",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("compound_id", Identifier(), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.Column("folded", sa.String(length=600), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "compound_id"],
            ["compound.workspace_id", "compound.id"],
            name=op.f("fk_compound_alias_workspace_id_compound_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_compound_alias_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compound_alias")),
        sa.UniqueConstraint(
            "workspace_id", "folded", name=op.f("uq_compound_alias_workspace_id_folded")
        ),
    )
    with op.batch_alter_table("compound_alias", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_compound_alias_compound_id"), ["compound_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_compound_alias_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "fitted_model",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("score", sa.String(length=40), nullable=False),
        sa.Column("n_wells", sa.Integer(), nullable=False),
        sa.Column("n_blocks", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.String(length=80), nullable=False),
        sa.Column("weights", sa.String(length=80), nullable=False),
        sa.Column("metadata_artifact", sa.String(length=80), nullable=False),
        sa.Column("blocks", sa.String(length=80), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("excluded", sa.JSON(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=40), nullable=False),
        sa.Column("device_reason", sa.Text(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_fitted_model_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_fitted_model_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fitted_model")),
        sa.UniqueConstraint("campaign_id", "id", name=op.f("uq_fitted_model_campaign_id_id")),
        sa.UniqueConstraint("job_id", name=op.f("uq_fitted_model_job_id")),
    )
    with op.batch_alter_table("fitted_model", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fitted_model_campaign_id"), ["campaign_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_fitted_model_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "idempotent_answer",
        sa.Column("api_key_id", Identifier(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_key.id"], name=op.f("fk_idempotent_answer_api_key_id")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_idempotent_answer_workspace_id")
        ),
        sa.PrimaryKeyConstraint("api_key_id", "key", name=op.f("pk_idempotent_answer")),
    )
    with op.batch_alter_table("idempotent_answer", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_idempotent_answer_created_at"), ["created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_idempotent_answer_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "job_event",
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.CheckConstraint("kind IN ('status', 'progress')", name=op.f("ck_job_event_kind")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job.id"], name=op.f("fk_job_event_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_job_event")),
    )
    op.create_table(
        "job_step",
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job.id"], name=op.f("fk_job_step_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_job_step")),
    )
    op.create_table(
        "prediction",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("model_id", Identifier(), nullable=False),
        sa.Column("n_items", sa.Integer(), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_prediction_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_prediction_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction")),
        sa.UniqueConstraint("job_id", name=op.f("uq_prediction_job_id")),
    )
    with op.batch_alter_table("prediction", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_prediction_campaign_id"), ["campaign_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_prediction_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "submission",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("original", sa.String(length=80), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("n_bytes", sa.Integer(), nullable=False),
        sa.Column("n_measurements", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.String(length=20), nullable=False),
        sa.Column("unit", sa.String(length=20), nullable=False),
        sa.Column("ignored_columns", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_submission_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_submission_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
        sa.UniqueConstraint("campaign_id", "id", name=op.f("uq_submission_campaign_id_id")),
        sa.UniqueConstraint("campaign_id", "sha256", name=op.f("uq_submission_campaign_id_sha256")),
    )
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_submission_campaign_id"), ["campaign_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_submission_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "substance",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("compound_id", Identifier(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("smiles", sa.Text(), nullable=False),
        sa.Column("inchikey", sa.String(length=27), nullable=False),
        sa.Column("molecular_weight", sa.Double(), nullable=False),
        sa.Column("parent_count", sa.Integer(), nullable=False),
        sa.Column("is_salt", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "compound_id"],
            ["compound.workspace_id", "compound.id"],
            name=op.f("fk_substance_workspace_id_compound_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_substance_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_substance")),
        sa.UniqueConstraint(
            "compound_id", "inchikey", name=op.f("uq_substance_compound_id_inchikey")
        ),
    )
    with op.batch_alter_table("substance", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_substance_compound_id"), ["compound_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_substance_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "campaign_pair",
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("compound_a_id", Identifier(), nullable=False),
        sa.Column("compound_b_id", Identifier(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint(
            "compound_a_id < compound_b_id", name=op.f("ck_campaign_pair_unordered")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_a_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_campaign_pair_campaign_id_compound_a_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_b_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_campaign_pair_campaign_id_compound_b_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_campaign_pair_workspace_id")
        ),
        sa.PrimaryKeyConstraint(
            "campaign_id", "compound_a_id", "compound_b_id", name=op.f("pk_campaign_pair")
        ),
    )
    with op.batch_alter_table("campaign_pair", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_campaign_pair_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "candidate_mark",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("compound_a_id", Identifier(), nullable=False),
        sa.Column("compound_b_id", Identifier(), nullable=False),
        sa.Column("cell_line_id", Identifier(), nullable=True),
        sa.Column("scope", Identifier(), nullable=False),
        sa.Column("mark", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint("mark IN ('pin', 'ban')", name=op.f("ck_candidate_mark_mark")),
        sa.CheckConstraint(
            "scope = coalesce(cell_line_id, '*')", name=op.f("ck_candidate_mark_scope")
        ),
        sa.CheckConstraint(
            "compound_a_id < compound_b_id", name=op.f("ck_candidate_mark_unordered")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "cell_line_id"],
            ["campaign_cell_line.campaign_id", "campaign_cell_line.cell_line_id"],
            name=op.f("fk_candidate_mark_campaign_id_cell_line_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_a_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_candidate_mark_campaign_id_compound_a_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_b_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_candidate_mark_campaign_id_compound_b_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_candidate_mark_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate_mark")),
        sa.UniqueConstraint(
            "campaign_id",
            "compound_a_id",
            "compound_b_id",
            "scope",
            name=op.f("uq_candidate_mark_campaign_id_compound_a_id_compound_b_id_scope"),
        ),
    )
    with op.batch_alter_table("candidate_mark", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_candidate_mark_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "measurement",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("submission_id", Identifier(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("cell_line_id", Identifier(), nullable=False),
        sa.Column("compound_a_id", Identifier(), nullable=True),
        sa.Column("dose_a_um", sa.Double(), nullable=True),
        sa.Column("compound_b_id", Identifier(), nullable=True),
        sa.Column("dose_b_um", sa.Double(), nullable=True),
        sa.Column("compound_c_id", Identifier(), nullable=True),
        sa.Column("dose_c_um", sa.Double(), nullable=True),
        sa.Column("raw_value", sa.Double(), nullable=False),
        sa.Column("viability", sa.Double(), nullable=False),
        sa.Column("plate", sa.String(length=200), nullable=True),
        sa.Column("well", sa.String(length=200), nullable=True),
        sa.Column("replicate", sa.String(length=200), nullable=True),
        sa.Column("block", sa.String(length=200), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("corrects_id", Identifier(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint(
            "(compound_a_id IS NULL AND dose_a_um IS NULL) OR (compound_a_id IS NOT NULL AND dose_a_um IS NOT NULL AND dose_a_um > 0 AND dose_a_um < 1e300)",
            name=op.f("ck_measurement_dose_a"),
        ),
        sa.CheckConstraint(
            "(compound_b_id IS NULL AND dose_b_um IS NULL) OR (compound_b_id IS NOT NULL AND dose_b_um IS NOT NULL AND dose_b_um > 0 AND dose_b_um < 1e300)",
            name=op.f("ck_measurement_dose_b"),
        ),
        sa.CheckConstraint(
            "(compound_b_id IS NULL OR compound_a_id IS NOT NULL) AND (compound_c_id IS NULL OR compound_b_id IS NOT NULL) AND (compound_b_id IS NULL OR compound_a_id < compound_b_id) AND (compound_c_id IS NULL OR compound_b_id < compound_c_id)",
            name=op.f("ck_measurement_unordered"),
        ),
        sa.CheckConstraint(
            "(compound_c_id IS NULL AND dose_c_um IS NULL) OR (compound_c_id IS NOT NULL AND dose_c_um IS NOT NULL AND dose_c_um > 0 AND dose_c_um < 1e300)",
            name=op.f("ck_measurement_dose_c"),
        ),
        sa.CheckConstraint(
            "(corrects_id IS NULL) = (version = 1)", name=op.f("ck_measurement_version")
        ),
        sa.CheckConstraint(
            "raw_value > -1e300 AND raw_value < 1e300", name=op.f("ck_measurement_raw_value")
        ),
        sa.CheckConstraint(
            "viability > -1e300 AND viability < 1e300", name=op.f("ck_measurement_viability")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "cell_line_id"],
            ["campaign_cell_line.campaign_id", "campaign_cell_line.cell_line_id"],
            name=op.f("fk_measurement_campaign_id_cell_line_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_a_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_measurement_campaign_id_compound_a_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_b_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_measurement_campaign_id_compound_b_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_c_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_measurement_campaign_id_compound_c_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "submission_id"],
            ["submission.campaign_id", "submission.id"],
            name=op.f("fk_measurement_campaign_id_submission_id"),
        ),
        sa.ForeignKeyConstraint(
            ["corrects_id"], ["measurement.id"], name=op.f("fk_measurement_corrects_id")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_measurement_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_measurement_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurement")),
        sa.UniqueConstraint("corrects_id", name=op.f("uq_measurement_corrects_id")),
    )
    with op.batch_alter_table("measurement", schema=None) as batch_op:
        batch_op.create_index("ix_measurement_campaign_id_id", ["campaign_id", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_measurement_submission_id"), ["submission_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_measurement_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "recommendation",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("job_id", Identifier(), nullable=False),
        sa.Column("model_id", Identifier(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("n_pool", sa.Integer(), nullable=False),
        sa.Column("n_ranked", sa.Integer(), nullable=False),
        sa.Column("n_batch", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("timings", sa.JSON(), nullable=False),
        sa.Column("candidates", sa.String(length=80), nullable=False),
        sa.Column("table_artifact", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "model_id"],
            ["fitted_model.campaign_id", "fitted_model.id"],
            name=op.f("fk_recommendation_campaign_id_model_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_recommendation_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_recommendation_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendation")),
        sa.UniqueConstraint("campaign_id", "id", name=op.f("uq_recommendation_campaign_id_id")),
        sa.UniqueConstraint("job_id", name=op.f("uq_recommendation_job_id")),
    )
    with op.batch_alter_table("recommendation", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_recommendation_campaign_id"), ["campaign_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_recommendation_workspace_id"), ["workspace_id"], unique=False
        )

    op.create_table(
        "batch",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("recommendation_id", Identifier(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint(
            "status IN ('accepted', 'running', 'done', 'cancelled')", name=op.f("ck_batch_status")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "recommendation_id"],
            ["recommendation.campaign_id", "recommendation.id"],
            name=op.f("fk_batch_campaign_id_recommendation_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaign.workspace_id", "campaign.id"],
            name=op.f("fk_batch_workspace_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_batch_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("workspace_id", "id", name=op.f("uq_batch_workspace_id_id")),
    )
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_batch_campaign_id"), ["campaign_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_batch_workspace_id"), ["workspace_id"], unique=False)

    op.create_table(
        "batch_item",
        sa.Column("id", Identifier(), nullable=False),
        sa.Column("batch_id", Identifier(), nullable=False),
        sa.Column("campaign_id", Identifier(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("compound_a_id", Identifier(), nullable=False),
        sa.Column("compound_b_id", Identifier(), nullable=False),
        sa.Column("cell_line_id", Identifier(), nullable=False),
        sa.Column("doses_a_um", sa.JSON(), nullable=False),
        sa.Column("doses_b_um", sa.JSON(), nullable=False),
        sa.Column("predicted", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("workspace_id", Identifier(), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'measured', 'missing', 'replaced', 'released')",
            name=op.f("ck_batch_item_status"),
        ),
        sa.CheckConstraint("compound_a_id < compound_b_id", name=op.f("ck_batch_item_unordered")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "cell_line_id"],
            ["campaign_cell_line.campaign_id", "campaign_cell_line.cell_line_id"],
            name=op.f("fk_batch_item_campaign_id_cell_line_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_a_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_batch_item_campaign_id_compound_a_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "compound_b_id"],
            ["campaign_compound.campaign_id", "campaign_compound.compound_id"],
            name=op.f("fk_batch_item_campaign_id_compound_b_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "batch_id"],
            ["batch.workspace_id", "batch.id"],
            name=op.f("fk_batch_item_workspace_id_batch_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_batch_item_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_item")),
    )
    with op.batch_alter_table("batch_item", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_batch_item_batch_id"), ["batch_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_batch_item_workspace_id"), ["workspace_id"], unique=False
        )
        batch_op.create_index(
            "uq_batch_item_pending",
            ["campaign_id", "compound_a_id", "compound_b_id", "cell_line_id"],
            unique=True,
            sqlite_where=sa.text("status = 'pending'"),
            postgresql_where=sa.text("status = 'pending'"),
        )

    for table in APPEND_ONLY:
        _make_append_only(table)


def downgrade() -> None:
    with op.batch_alter_table("batch_item", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_batch_item_pending",
            sqlite_where=sa.text("status = 'pending'"),
            postgresql_where=sa.text("status = 'pending'"),
        )
        batch_op.drop_index(batch_op.f("ix_batch_item_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_batch_item_batch_id"))

    op.drop_table("batch_item")
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_batch_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_batch_campaign_id"))

    op.drop_table("batch")
    with op.batch_alter_table("recommendation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recommendation_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_recommendation_campaign_id"))

    op.drop_table("recommendation")
    with op.batch_alter_table("measurement", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_measurement_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_measurement_submission_id"))
        batch_op.drop_index("ix_measurement_campaign_id_id")

    op.drop_table("measurement")
    with op.batch_alter_table("candidate_mark", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_candidate_mark_workspace_id"))

    op.drop_table("candidate_mark")
    with op.batch_alter_table("campaign_pair", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_campaign_pair_workspace_id"))

    op.drop_table("campaign_pair")
    with op.batch_alter_table("substance", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_substance_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_substance_compound_id"))

    op.drop_table("substance")
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_submission_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_submission_campaign_id"))

    op.drop_table("submission")
    with op.batch_alter_table("prediction", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_prediction_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_prediction_campaign_id"))

    op.drop_table("prediction")
    op.drop_table("job_step")
    op.drop_table("job_event")
    with op.batch_alter_table("idempotent_answer", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotent_answer_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_idempotent_answer_created_at"))

    op.drop_table("idempotent_answer")
    with op.batch_alter_table("fitted_model", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_fitted_model_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_fitted_model_campaign_id"))

    op.drop_table("fitted_model")
    with op.batch_alter_table("compound_alias", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_compound_alias_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_compound_alias_compound_id"))

    op.drop_table("compound_alias")
    with op.batch_alter_table("cell_line_features", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cell_line_features_workspace_id"))

    op.drop_table("cell_line_features")
    with op.batch_alter_table("campaign_compound", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_campaign_compound_workspace_id"))

    op.drop_table("campaign_compound")
    with op.batch_alter_table("campaign_cell_line", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_campaign_cell_line_workspace_id"))

    op.drop_table("campaign_cell_line")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_job_unfinished_dedupe_key",
            sqlite_where=sa.text("status IN ('queued', 'running')"),
            postgresql_where=sa.text("status IN ('queued', 'running')"),
        )
        batch_op.drop_index(batch_op.f("ix_job_workspace_id_created_at_id"))
        batch_op.drop_index(batch_op.f("ix_job_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_job_status_created_at"))
        batch_op.drop_index(batch_op.f("ix_job_campaign_id"))

    op.drop_table("job")
    with op.batch_alter_table("compound", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_compound_workspace_id"))

    op.drop_table("compound")
    with op.batch_alter_table("cell_line", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cell_line_workspace_id"))

    op.drop_table("cell_line")
    with op.batch_alter_table("campaign", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_campaign_workspace_id"))

    op.drop_table("campaign")
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_event_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_audit_event_subject_id"))

    op.drop_table("audit_event")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_key_workspace_id"))

    op.drop_table("api_key")
    op.drop_table("workspace")
    op.drop_table("worker_lease")
    if op.get_bind().dialect.name == "postgresql":
        for table in APPEND_ONLY:
            op.execute(f"DROP FUNCTION IF EXISTS {table}_append_only()")
