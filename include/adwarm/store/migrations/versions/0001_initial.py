"""Creates every table."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables, those that others refer to first."""
    _access_aggregate()
    _account()
    _breaker()
    _capacity_grant()
    _capacity_scope()
    _error_event()
    _fatigue_score()
    _forecast_snapshot()
    _healing_action()
    _isolation()
    _lease()
    _log_file()
    _partition()
    _payload()
    _request()
    _strategy()
    _traffic_hour()
    _warm()
    _warming_job()
    _watermark()
    _entry()
    _policy()
    _policy_review()


def downgrade() -> None:
    """Drop the tables, those that refer to others first."""
    for table in (
        "policy_review",
        "policy",
        "entry",
        "watermark",
        "warming_job",
        "warm",
        "traffic_hour",
        "strategy",
        "request",
        "payload",
        "partition",
        "log_file",
        "lease",
        "isolation",
        "healing_action",
        "forecast_snapshot",
        "fatigue_score",
        "error_event",
        "capacity_scope",
        "capacity_grant",
        "breaker",
        "account",
        "access_aggregate",
    ):
        op.drop_table(table)


def _access_aggregate() -> None:
    op.create_table(
        "access_aggregate",
        sa.Column("hour", _TIMESTAMP, nullable=False),
        sa.Column("object_hash", sa.String(length=64), nullable=False),
        sa.Column("opens", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_access_aggregate")),
    )
    op.create_index(op.f("ix_access_aggregate_object_hash"), "access_aggregate", ["object_hash"], unique=False)


def _account() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("connection", sa.String(length=250), nullable=False),
        sa.Column("data_zone", sa.String(length=64), nullable=False),
        sa.Column("reader_zone", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.Column("denials", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )


def _breaker() -> None:
    op.create_table(
        "breaker",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("probe_at", sa.Float(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_breaker")),
    )


def _capacity_grant() -> None:
    op.create_table(
        "capacity_grant",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("probe", sa.Boolean(), nullable=False),
        sa.Column("permits", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("granted_at", sa.Float(), nullable=False),
        sa.Column("spend_until", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capacity_grant")),
    )
    op.create_index(op.f("ix_capacity_grant_expires_at"), "capacity_grant", ["expires_at"], unique=False)


def _capacity_scope() -> None:
    op.create_table(
        "capacity_scope",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("limit", sa.Float(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("refilled_at", sa.Float(), nullable=False),
        sa.Column("parked_until", sa.Float(), nullable=True),
        sa.Column("parked_why", sa.Text(), nullable=True),
        sa.Column("usage", sa.Float(), nullable=True),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_capacity_scope")),
    )


def _error_event() -> None:
    op.create_table(
        "error_event",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("subject", sa.String(length=200), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_error_event")),
    )
    op.create_index(op.f("ix_error_event_source_at"), "error_event", ["source", "at"], unique=False)


def _fatigue_score() -> None:
    op.create_table(
        "fatigue_score",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("ad_id", sa.String(length=24), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("ad_name", sa.String(length=400), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("total", sa.Float(), nullable=True),
        sa.Column("creative", sa.Float(), nullable=True),
        sa.Column("audience", sa.Float(), nullable=True),
        sa.Column("algorithm", sa.Float(), nullable=True),
        sa.Column("data_quality", sa.Float(), nullable=False),
        sa.Column("trend_per_day", sa.Float(), nullable=True),
        sa.Column("baseline", sa.JSON(), nullable=False),
        sa.Column("calculator_version", sa.String(length=24), nullable=False),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("calculated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ad_id", "as_of", name=op.f("pk_fatigue_score")),
    )
    op.create_index(op.f("ix_fatigue_score_as_of_status"), "fatigue_score", ["as_of", "status"], unique=False)


def _forecast_snapshot() -> None:
    op.create_table(
        "forecast_snapshot",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=24), nullable=False),
        sa.Column("object_hash", sa.String(length=64), nullable=False),
        sa.Column("trained_from", _TIMESTAMP, nullable=False),
        sa.Column("trained_until", _TIMESTAMP, nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecast_snapshot")),
    )


def _healing_action() -> None:
    op.create_table(
        "healing_action",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("last_run", _TIMESTAMP, nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_healing_action")),
    )


def _isolation() -> None:
    op.create_table(
        "isolation",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_isolation")),
    )


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        sa.Column("report_run_id", sa.String(length=40), nullable=True),
        sa.Column("report_unit", sa.String(length=16), nullable=True),
        sa.Column("report_at", _TIMESTAMP, nullable=True),
        sa.Column("report_percent", sa.Float(), nullable=True),
        sa.Column("report_moved_at", _TIMESTAMP, nullable=True),
        sa.Column("report_pages", sa.JSON(), nullable=True),
        sa.Column("learned", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )


def _log_file() -> None:
    op.create_table(
        "log_file",
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime", sa.Float(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("checkpoints", sa.JSON(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("read_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_log_file")),
    )


def _partition() -> None:
    op.create_table(
        "partition",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spec_hash", sa.String(length=12), nullable=False),
        sa.Column("object_hash", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("fetched_at", _TIMESTAMP, nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("api_version", sa.String(length=16), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "day", "spec_hash", name=op.f("pk_partition")),
    )
    op.create_index(op.f("ix_partition_object_hash"), "partition", ["object_hash"], unique=False)


def _payload() -> None:
    op.create_table(
        "payload",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_payload")),
    )


def _request() -> None:
    op.create_table(
        "request",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("date_range", sa.String(length=40), nullable=False),
        sa.Column("report", sa.String(length=40), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("enqueued_at", _TIMESTAMP, nullable=False),
        sa.Column("deadline", _TIMESTAMP, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=True),
        sa.Column("lease_until", _TIMESTAMP, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("finished_at", _TIMESTAMP, nullable=True),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("not_before", _TIMESTAMP, nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request")),
    )
    op.create_index(op.f("ix_request_finished_at"), "request", ["finished_at"], unique=False)
    op.create_index(
        op.f("ix_request_status_priority_enqueued_at"), "request", ["status", "priority", "enqueued_at"], unique=False
    )
    op.create_index(
        "uq_request_in_flight",
        "request",
        ["account_id", "date_range", "report"],
        unique=True,
        sqlite_where=sa.text("status IN ('pending', 'processing')"),
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )


def _strategy() -> None:
    op.create_table(
        "strategy",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("date_ranges", sa.JSON(), nullable=False),
        sa.Column("report", sa.String(length=40), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("accounts", sa.JSON(), nullable=True),
        sa.Column("excluded_accounts", sa.JSON(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("delay_seconds", sa.Float(), nullable=False),
        sa.Column("max_parallel_batches", sa.Integer(), nullable=False),
        sa.Column("max_calls_per_hour", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_strategy")),
    )


def _traffic_hour() -> None:
    op.create_table(
        "traffic_hour",
        sa.Column("hour", _TIMESTAMP, nullable=False),
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("actor", sa.String(length=16), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("stale", sa.Integer(), nullable=False),
        sa.Column("misses", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("upstream_calls", sa.Integer(), nullable=False),
        sa.Column("throttles", sa.Integer(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "account_id", "actor", name=op.f("pk_traffic_hour")),
    )


def _warm() -> None:
    op.create_table(
        "warm",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("date_range", sa.String(length=40), nullable=False),
        sa.Column("report", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("decided_at", _TIMESTAMP, nullable=False),
        sa.Column("predicted_open", _TIMESTAMP, nullable=True),
        sa.Column("warm_at", _TIMESTAMP, nullable=True),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("benefit", sa.Float(), nullable=False),
        sa.Column("price", sa.Float(), nullable=False),
        sa.Column("explanation", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fetched_at", _TIMESTAMP, nullable=True),
        sa.Column("expires_at", _TIMESTAMP, nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("used", sa.Boolean(), nullable=True),
        sa.Column("first_use", _TIMESTAMP, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_warm")),
    )
    op.create_index(
        op.f("ix_warm_account_id_date_range_fetched_at"),
        "warm",
        ["account_id", "date_range", "fetched_at"],
        unique=False,
    )
    op.create_index(op.f("ix_warm_decided_at"), "warm", ["decided_at"], unique=False)
    op.create_index(op.f("ix_warm_run_id_batch"), "warm", ["run_id", "batch"], unique=False)
    op.create_index(op.f("ix_warm_used_status"), "warm", ["used", "status"], unique=False)


def _warming_job() -> None:
    op.create_table(
        "warming_job",
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("started_at", _TIMESTAMP, nullable=False),
        sa.Column("finished_at", _TIMESTAMP, nullable=True),
        sa.Column("errors", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_warming_job")),
    )
    op.create_index(op.f("ix_warming_job_started_at"), "warming_job", ["started_at"], unique=False)


def _watermark() -> None:
    op.create_table(
        "watermark",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("until", _TIMESTAMP, nullable=False),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_watermark")),
    )


def _entry() -> None:
    op.create_table(
        "entry",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("spec_hash", sa.String(length=12), nullable=False),
        sa.Column("date_range", sa.String(length=40), nullable=False),
        sa.Column("report", sa.String(length=40), nullable=False),
        sa.Column("payload_hash", sa.String(length=64), nullable=False),
        sa.Column("codec", sa.String(length=16), nullable=False),
        sa.Column("raw_bytes", sa.Integer(), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.Column("fetched_at", _TIMESTAMP, nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=True),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("degraded_reason", sa.Text(), nullable=True),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("api_version", sa.String(length=16), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["payload_hash"], ["payload.hash"], name=op.f("fk_entry_payload_hash")),
        sa.PrimaryKeyConstraint("account_id", "since", "until", "spec_hash", name=op.f("pk_entry")),
    )
    op.create_index(op.f("ix_entry_expires_at"), "entry", ["expires_at"], unique=False)


def _policy() -> None:
    op.create_table(
        "policy",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("snapshot_id", sa.String(length=64), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.Column("chosen_kind", sa.String(length=40), nullable=True),
        sa.Column("chosen_by", sa.String(length=250), nullable=True),
        sa.Column("chosen_at", _TIMESTAMP, nullable=True),
        sa.Column("chosen_why", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["snapshot_id"], ["forecast_snapshot.id"], name=op.f("fk_policy_snapshot_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_policy")),
    )


def _policy_review() -> None:
    op.create_table(
        "policy_review",
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("verdict", sa.String(length=24), nullable=False),
        sa.Column("live_kind", sa.String(length=40), nullable=True),
        sa.Column("proposed_kind", sa.String(length=40), nullable=True),
        sa.Column("proposed_snapshot", sa.String(length=64), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("decided_by", sa.String(length=250), nullable=True),
        sa.Column("decided_at", _TIMESTAMP, nullable=True),
        sa.ForeignKeyConstraint(
            ["proposed_snapshot"], ["forecast_snapshot.id"], name=op.f("fk_policy_review_proposed_snapshot")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_policy_review")),
    )
    op.create_index(op.f("ix_policy_review_at"), "policy_review", ["at"], unique=False)
