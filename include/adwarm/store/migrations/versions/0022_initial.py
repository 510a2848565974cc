"""Creates every table."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "22"  # 1 to 21 were never released
down_revision = None
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Those that others refer to come first."""


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    """Create the tables and their indexes."""
    op.create_table(
        "access_aggregate",
        sa.Column("hour", _TIMESTAMP, nullable=False),
        sa.Column("object_hash", sa.String(length=64), nullable=False),
        sa.Column("opens", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_access_aggregate")),
    )
    op.create_index(op.f("ix_access_aggregate_object_hash"), "access_aggregate", ["object_hash"])
    op.create_table(
        "access_pattern",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("weekday", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("weekday_name", sa.String(length=9), nullable=False),
        sa.Column("opens", sa.BigInteger(), nullable=False),
        sa.Column("observed_hours", sa.Float(), nullable=False),
        sa.Column("opens_per_hour", sa.Float(), nullable=False),
        sa.Column("active_weeks", sa.Integer(), nullable=False),
        sa.Column("is_busy", sa.Boolean(), nullable=False),
        sa.Column("is_peak", sa.Boolean(), nullable=False),
        sa.Column("is_quiet", sa.Boolean(), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("observed_weeks", sa.Float(), nullable=False),
        sa.Column("computed_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "weekday", "hour", name=op.f("pk_access_pattern")),
    )
    op.create_table(
        "access_profile",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("first_opens", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("observed_from", _TIMESTAMP, nullable=False),
        sa.Column("observed_until", _TIMESTAMP, nullable=False),
        sa.Column("observed_weeks", sa.Float(), nullable=False),
        sa.Column("time_zones", sa.JSON(), nullable=False),
        sa.Column("busy_hours", sa.Text(), nullable=False),
        sa.Column("peak_hours", sa.Text(), nullable=False),
        sa.Column("quiet_hours", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("popular_ranges", sa.JSON(), nullable=False),
        sa.Column("computed_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_access_profile")),
    )
    op.create_table(
        "access_token",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("accounts", sa.JSON()),
        sa.Column("actor", sa.String(length=16), nullable=False),
        sa.Column("is_trusted", sa.Boolean(), nullable=False),
        sa.Column("highest_priority", sa.String(length=16), nullable=False),
        sa.Column("daily_new_keys", sa.Integer(), nullable=False),
        sa.Column("daily_refetches", sa.Integer(), server_default="1000", nullable=False),
        sa.Column("rate_per_second", sa.Float()),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("expires_at", _TIMESTAMP),
        sa.Column("revoked_at", _TIMESTAMP),
        sa.Column("last_used_at", _TIMESTAMP),
        sa.Column("counted_day", sa.Date()),
        sa.Column("new_keys", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refetches", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_token")),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("connection", sa.String(length=250), nullable=False),
        sa.Column("data_zone", sa.String(length=64), nullable=False),
        sa.Column("reader_zone", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_reason", sa.Text()),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.Column("name", sa.String(length=255)),
        sa.Column("last_seen_at", _TIMESTAMP),
        sa.Column("user_reader_zone", sa.String(length=64)),
        sa.Column("user_status", sa.String(length=16)),
        sa.Column("user_connection", sa.String(length=250)),
        sa.Column("holiday_country", sa.String(length=2)),
        sa.Column("opens_from", sa.String(length=8)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "account_discovery",
        sa.Column("connection", sa.String(length=250), nullable=False),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("attempted_at", _TIMESTAMP, nullable=False),
        sa.Column("completed_at", _TIMESTAMP),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("is_temporary", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("connection", name=op.f("pk_account_discovery")),
    )
    op.create_table(
        "action_event",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("actor", sa.String(length=250), nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=250)),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_event")),
    )
    op.create_index(op.f("ix_action_event_at"), "action_event", ["at"])
    op.create_table(
        "ad_creative",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("ad_id", sa.String(length=64), nullable=False),
        sa.Column("creative_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=400), nullable=False),
        sa.Column("format", sa.String(length=40), nullable=False),
        sa.Column("object_hash", sa.String(length=64)),
        sa.Column("suffix", sa.String(length=8), nullable=False),
        sa.Column("read_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ad_id", name=op.f("pk_ad_creative")),
    )
    op.create_index(op.f("ix_ad_creative_object_hash"), "ad_creative", ["object_hash"])
    op.create_index(op.f("ix_ad_creative_read_at"), "ad_creative", ["read_at"])
    op.create_table(
        "alert",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("opened_at", _TIMESTAMP, nullable=False),
        sa.Column("last_at", _TIMESTAMP, nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("window_seconds", sa.Float(), nullable=False),
        sa.Column("example", sa.String(length=200)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("next_step", sa.Text(), nullable=False),
        sa.Column("ads", sa.JSON(), nullable=False),
        sa.Column("resolved_at", _TIMESTAMP),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(op.f("ix_alert_opened_at"), "alert", ["opened_at"])
    op.create_index("uq_alert_open", "alert", ["kind", "scope"], unique=True, **_where("resolved_at IS NULL"))
    op.create_table(
        "call_hour",
        sa.Column("hour", _TIMESTAMP, nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("strategy", sa.String(length=80), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "cause", "strategy", name=op.f("pk_call_hour")),
    )
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
    op.create_index(op.f("ix_capacity_grant_expires_at"), "capacity_grant", ["expires_at"])
    op.create_table(
        "capacity_sample",
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("limit", sa.Float(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("usage", sa.Float()),
        sa.Column("is_parked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("at", "scope", name=op.f("pk_capacity_sample")),
    )
    op.create_table(
        "capacity_scope",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("limit", sa.Float(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("refilled_at", sa.Float(), nullable=False),
        sa.Column("usage", sa.Float()),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_capacity_scope")),
    )
    op.create_index("ix_capacity_scope_shared", "capacity_scope", ["scope"], **_where("scope NOT LIKE 'account:%'"))
    op.create_table(
        "compression_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("codec", sa.String(length=16), nullable=False),
        sa.Column("packed", sa.BigInteger(), nullable=False),
        sa.Column("unpacked", sa.BigInteger(), nullable=False),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("pack_seconds", sa.Float(), nullable=False),
        sa.Column("unpack_seconds", sa.Float(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("cache_hits", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("day", "codec", name=op.f("pk_compression_day")),
    )
    op.create_table(
        "data_arrival",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("arrived_at", _TIMESTAMP, nullable=False),
        sa.Column("origin", sa.String(length=80), nullable=False),
        sa.Column("planned_at", _TIMESTAMP),
        sa.Column("planned_run", sa.String(length=250)),
        sa.PrimaryKeyConstraint("account_id", "day", name=op.f("pk_data_arrival")),
    )
    op.create_index(op.f("ix_data_arrival_arrived_at"), "data_arrival", ["arrived_at"])
    op.create_table(
        "error_event",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=40)),
        sa.Column("connection", sa.String(length=80)),
        sa.Column("account_id", sa.String(length=24)),
        sa.Column("subject", sa.String(length=200)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_error_event")),
    )
    op.create_index(op.f("ix_error_event_account_id_at"), "error_event", ["account_id", "at"])
    op.create_index(op.f("ix_error_event_at"), "error_event", ["at"])
    op.create_index(op.f("ix_error_event_source_kind_at"), "error_event", ["source", "kind", "at"])
    op.create_table(
        "fatigue_day",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("input_hash", sa.String(length=16), nullable=False),
        sa.Column("data_hash", sa.String(length=16), nullable=False),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("stored_days", sa.Integer(), nullable=False),
        sa.Column("frequency_source", sa.String(length=16), nullable=False),
        sa.Column("frequency_hash", sa.String(length=16), nullable=False),
        sa.Column("calculator_version", sa.String(length=24), nullable=False),
        sa.Column("calculated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "as_of", name=op.f("pk_fatigue_day")),
    )
    op.create_index(op.f("ix_fatigue_day_as_of"), "fatigue_day", ["as_of"])
    op.create_table(
        "fatigue_prior",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("input_hash", sa.String(length=16), nullable=False),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("stored_days", sa.Integer(), nullable=False),
        sa.Column("calculator_version", sa.String(length=24), nullable=False),
        sa.Column("calculated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "month", "version", name=op.f("pk_fatigue_prior")),
    )
    op.create_index(op.f("ix_fatigue_prior_month"), "fatigue_prior", ["month"])
    op.create_table(
        "fatigue_score",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("ad_id", sa.String(length=64), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("ad_name", sa.String(length=400)),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("total", sa.Float()),
        sa.Column("loss", sa.Float()),
        sa.Column("creative", sa.Float()),
        sa.Column("audience", sa.Float()),
        sa.Column("algorithm", sa.Float()),
        sa.Column("data_quality", sa.Float(), nullable=False),
        sa.Column("driver", sa.String(length=16)),
        sa.Column("trend_per_day", sa.Float()),
        sa.Column("days_to_critical", sa.Float()),
        sa.Column("days_to_critical_low", sa.Float()),
        sa.Column("days_to_critical_high", sa.Float()),
        sa.Column("alarm", sa.String(length=8), server_default="none", nullable=False),
        sa.Column("evidence", sa.Float()),
        sa.Column("alarm_since", sa.Date()),
        sa.Column("onset", sa.Date()),
        sa.Column("cost_ratio", sa.Float()),
        sa.Column("recent_spend", sa.Float()),
        sa.Column("baseline", sa.JSON(), nullable=False),
        sa.Column("calculator_version", sa.String(length=24), nullable=False),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("input_hash", sa.String(length=16), server_default="", nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("calculated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ad_id", "as_of", name=op.f("pk_fatigue_score")),
    )
    op.create_index(op.f("ix_fatigue_score_as_of_status"), "fatigue_score", ["as_of", "status"])
    op.create_index(
        "ix_fatigue_score_newest",
        "fatigue_score",
        ["account_id", "as_of", "ad_id", "status", "total", "alarm", "recent_spend", "days_to_critical"],
    )
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
    op.create_table(
        "gate",
        sa.Column("scope", sa.String(length=250), nullable=False),
        sa.Column("rule", sa.String(length=16), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("closed_until", sa.Float()),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("lifted_by", sa.String(length=16), nullable=False),
        sa.Column("kept_until", sa.Float()),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "rule", name=op.f("pk_gate")),
    )
    op.create_index(op.f("ix_gate_closed_until"), "gate", ["closed_until"], **_where("closed_until IS NOT NULL"))
    op.create_index(op.f("ix_gate_rule_kept_until"), "gate", ["rule", "kept_until"])
    op.create_table(
        "healing_run",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("error_kind", sa.String(length=40), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_healing_run")),
    )
    op.create_index(op.f("ix_healing_run_at"), "healing_run", ["at"])
    op.create_table(
        "integrity_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.Column("damaged", sa.BigInteger(), nullable=False),
        sa.Column("healed", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "kind", name=op.f("pk_integrity_day")),
    )
    op.create_table(
        "latency_count",
        sa.Column("since", _TIMESTAMP, nullable=False),
        sa.Column("operation", sa.String(length=24), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("since", "operation", "bucket", name=op.f("pk_latency_count")),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        sa.Column("report_run_id", sa.String(length=40)),
        sa.Column("report_unit", sa.String(length=16)),
        sa.Column("report_at", _TIMESTAMP),
        sa.Column("report_percent", sa.Float()),
        sa.Column("report_moved_at", _TIMESTAMP),
        sa.Column("report_pages", sa.JSON()),
        sa.Column("learned", sa.JSON()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
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
    op.create_table(
        "machine_load",
        sa.Column("machine", sa.String(length=60), nullable=False),
        sa.Column("read_at", sa.Float(), nullable=False),
        sa.Column("memory_percent", sa.Float(), nullable=False),
        sa.Column("cpu_percent", sa.Float()),
        sa.Column("cpu_busy", sa.Float(), nullable=False),
        sa.Column("cpu_total", sa.Float(), nullable=False),
        sa.Column("is_high", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("limit", sa.Integer()),
        sa.Column("full", sa.Integer()),
        sa.Column("limited_at", sa.Float()),
        sa.PrimaryKeyConstraint("machine", name=op.f("pk_machine_load")),
    )
    op.create_table(
        "maintenance_step",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("cursor", sa.JSON()),
        sa.Column("round_started_at", _TIMESTAMP),
        sa.Column("round_finished_at", _TIMESTAMP),
        sa.Column("started_at", _TIMESTAMP, nullable=False),
        sa.Column("finished_at", _TIMESTAMP),
        sa.Column("seconds", sa.Float()),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("lease_until", _TIMESTAMP),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_maintenance_step")),
    )
    op.create_table(
        "page_session",
        sa.Column("id_hash", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_page_session")),
    )
    op.create_index(op.f("ix_page_session_expires_at"), "page_session", ["expires_at"])
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
        sa.Column("missing", sa.Text()),
        sa.Column("restated_at", _TIMESTAMP),
        sa.PrimaryKeyConstraint("account_id", "day", "spec_hash", name=op.f("pk_partition")),
    )
    op.create_index(op.f("ix_partition_object_hash"), "partition", ["object_hash"])
    op.create_table(
        "payload",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_payload")),
    )
    op.create_table(
        "quarantined_item",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("found_at", _TIMESTAMP, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("account_id", sa.String(length=24)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("copy_name", sa.String(length=80)),
        sa.Column("healed_at", _TIMESTAMP),
        sa.Column("outcome", sa.Text()),
        sa.Column("spec_hash", sa.String(length=12)),
        sa.Column("since", sa.Date()),
        sa.Column("until", sa.Date()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined_item")),
    )
    op.create_index(op.f("ix_quarantined_item_found_at"), "quarantined_item", ["found_at"])
    op.create_index(
        "uq_quarantined_item_open", "quarantined_item", ["kind", "name"], unique=True, **_where("healed_at IS NULL")
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("comparison", sa.String(length=24), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("metric", sa.String(length=100), nullable=False),
        sa.Column("expected", sa.Float(), nullable=False),
        sa.Column("actual", sa.Float(), nullable=False),
        sa.Column("differs", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation")),
    )
    op.create_index(op.f("ix_reconciliation_account_id_at"), "reconciliation", ["account_id", "at"])
    op.create_index(op.f("ix_reconciliation_at"), "reconciliation", ["at"])
    op.create_table(
        "report_version",
        sa.Column("report", sa.String(length=40), nullable=False),
        sa.Column("spec_hash", sa.String(length=12), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("since", _TIMESTAMP, nullable=False),
        sa.Column("seen_at", _TIMESTAMP, nullable=False),
        sa.Column("coverage", sa.Float()),
        sa.PrimaryKeyConstraint("report", "spec_hash", name=op.f("pk_report_version")),
    )
    op.create_index(op.f("ix_report_version_since"), "report_version", ["since"])
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
        sa.Column("owner", sa.String(length=80)),
        sa.Column("lease_until", _TIMESTAMP),
        sa.Column("error", sa.Text()),
        sa.Column("error_kind", sa.String(length=40)),
        sa.Column("finished_at", _TIMESTAMP),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("not_before", _TIMESTAMP),
        sa.Column("result", sa.JSON()),
        sa.Column("token_id", sa.String(length=16)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request")),
    )
    op.create_index(
        op.f("ix_request_account_id_date_range_report_id"), "request", ["account_id", "date_range", "report", "id"]
    )
    op.create_index(op.f("ix_request_finished_at"), "request", ["finished_at"])
    op.create_index(op.f("ix_request_status_priority_enqueued_at"), "request", ["status", "priority", "enqueued_at"])
    op.create_index(
        "uq_request_in_flight",
        "request",
        ["account_id", "date_range", "report"],
        unique=True,
        **_where("status IN ('pending', 'processing')"),
    )
    op.create_table(
        "schema_change",
        sa.Column("revision", sa.String(length=32), nullable=False),
        sa.Column("compatible_from", sa.String(length=32), nullable=False),
        sa.Column("applied_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_schema_change")),
    )
    op.create_table(
        "strategy",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("date_ranges", sa.JSON(), nullable=False),
        sa.Column("report", sa.String(length=40), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("accounts", sa.JSON()),
        sa.Column("excluded_accounts", sa.JSON(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("delay_seconds", sa.Float(), nullable=False),
        sa.Column("max_parallel_batches", sa.Integer(), nullable=False),
        sa.Column("max_calls_per_hour", sa.Integer(), nullable=False),
        sa.Column("cron", sa.String(length=120), server_default="0 */6 * * *", nullable=False),
        sa.Column("time_zone", sa.String(length=64), server_default="UTC", nullable=False),
        sa.Column("retire_unused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("open_hours", sa.Integer(), server_default="6", nullable=False),
        sa.Column("opened_only", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_strategy")),
    )
    op.create_table(
        "strategy_state",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("planned_slot", _TIMESTAMP),
        sa.Column("planned_run", sa.String(length=250)),
        sa.Column("recheck_at", _TIMESTAMP),
        sa.Column("recheck_run", sa.String(length=250)),
        sa.Column("problem", sa.Text()),
        sa.Column("enabled_at", _TIMESTAMP),
        sa.Column("checked_at", _TIMESTAMP),
        sa.Column("retired_at", _TIMESTAMP),
        sa.Column("retired_why", sa.Text()),
        sa.Column("removed_at", _TIMESTAMP),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_strategy_state")),
    )
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
        sa.Column("postponed", sa.Integer(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.Column("first_opens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_hits", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("hour", "account_id", "actor", name=op.f("pk_traffic_hour")),
    )
    op.create_index(op.f("ix_traffic_hour_hour"), "traffic_hour", ["hour"])
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
        sa.Column("predicted_open", _TIMESTAMP),
        sa.Column("warm_at", _TIMESTAMP),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("benefit", sa.Float(), nullable=False),
        sa.Column("price", sa.Float(), nullable=False),
        sa.Column("explanation", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("fetched_at", _TIMESTAMP),
        sa.Column("expires_at", _TIMESTAMP),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("used", sa.Boolean()),
        sa.Column("first_use", _TIMESTAMP),
        sa.Column("strategy", sa.String(length=80)),
        sa.Column("superseded_by", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_warm")),
    )
    op.create_index(
        op.f("ix_warm_account_id_date_range_fetched_at"), "warm", ["account_id", "date_range", "fetched_at"]
    )
    op.create_index(op.f("ix_warm_account_id_decided_at"), "warm", ["account_id", "decided_at"])
    op.create_index(
        op.f("ix_warm_decided_at"),
        "warm",
        ["decided_at"],
        postgresql_include=["mode", "reason", "status", "used", "superseded_by", "fetched_at", "warm_at", "first_use"],
    )
    op.create_index(
        "ix_warm_marked",
        "warm",
        ["decided_at", "reason", "mode", "status", "used", "confidence"],
        **_where("used IS NOT NULL OR superseded_by IS NOT NULL"),
    )
    op.create_index(op.f("ix_warm_run_id_batch"), "warm", ["run_id", "batch"])
    op.create_index(
        "ix_warm_strategy_use",
        "warm",
        ["strategy", "decided_at", "status", "used", "superseded_by", "requests"],
        **_where("strategy IS NOT NULL"),
    )
    op.create_index(op.f("ix_warm_used_status"), "warm", ["used", "status"])
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
        sa.Column("finished_at", _TIMESTAMP),
        sa.Column("errors", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_warming_job")),
    )
    op.create_index(op.f("ix_warming_job_started_at"), "warming_job", ["started_at"])
    op.create_table(
        "watermark",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("until", _TIMESTAMP, nullable=False),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_watermark")),
    )
    op.create_table(
        "alert_delivery",
        sa.Column("alert_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("notice", sa.String(length=40), nullable=False),
        sa.Column("channel", sa.String(length=80), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("claimed_until", _TIMESTAMP),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delivered_at", _TIMESTAMP),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_alert_delivery_alert_id")),
        sa.PrimaryKeyConstraint("alert_id", "notice", "channel", name=op.f("pk_alert_delivery")),
    )
    op.create_index(op.f("ix_alert_delivery_delivered_at"), "alert_delivery", ["delivered_at"])
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
        sa.Column("expires_at", _TIMESTAMP),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("degraded_reason", sa.Text()),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("api_version", sa.String(length=16), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("reads", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_read_at", _TIMESTAMP),
        sa.ForeignKeyConstraint(["payload_hash"], ["payload.hash"], name=op.f("fk_entry_payload_hash")),
        sa.PrimaryKeyConstraint("account_id", "since", "until", "spec_hash", name=op.f("pk_entry")),
    )
    op.create_index("ix_entry_degraded", "entry", ["account_id"], **_where("degraded"))
    op.create_index(op.f("ix_entry_expires_at"), "entry", ["expires_at"])
    op.create_table(
        "entry_version",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("date_range", sa.String(length=40), nullable=False),
        sa.Column("report", sa.String(length=40), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("payload_hash", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("spec_hash", sa.String(length=12), nullable=False),
        sa.Column("raw_bytes", sa.Integer(), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.ForeignKeyConstraint(["payload_hash"], ["payload.hash"], name=op.f("fk_entry_version_payload_hash")),
        sa.PrimaryKeyConstraint("account_id", "date_range", "report", "content_hash", name=op.f("pk_entry_version")),
    )
    op.create_index(op.f("ix_entry_version_created_at"), "entry_version", ["created_at"])
    op.create_index(op.f("ix_entry_version_payload_hash"), "entry_version", ["payload_hash"])
    op.create_table(
        "policy",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("snapshot_id", sa.String(length=64)),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("updated_at", _TIMESTAMP, nullable=False),
        sa.Column("chosen_kind", sa.String(length=40)),
        sa.Column("chosen_by", sa.String(length=250)),
        sa.Column("chosen_at", _TIMESTAMP),
        sa.Column("chosen_why", sa.Text()),
        sa.Column("outlook", sa.JSON()),
        sa.Column("outlook_at", _TIMESTAMP),
        sa.ForeignKeyConstraint(["snapshot_id"], ["forecast_snapshot.id"], name=op.f("fk_policy_snapshot_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_policy")),
    )
    op.create_table(
        "policy_review",
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("verdict", sa.String(length=24), nullable=False),
        sa.Column("live_kind", sa.String(length=40)),
        sa.Column("proposed_kind", sa.String(length=40)),
        sa.Column("proposed_snapshot", sa.String(length=64)),
        sa.Column("report", sa.Text()),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("decided_by", sa.String(length=250)),
        sa.Column("decided_at", _TIMESTAMP),
        sa.ForeignKeyConstraint(
            ["proposed_snapshot"], ["forecast_snapshot.id"], name=op.f("fk_policy_review_proposed_snapshot")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_policy_review")),
    )
    op.create_index(op.f("ix_policy_review_at"), "policy_review", ["at"])
