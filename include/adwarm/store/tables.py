"""Every table, as SQLAlchemy Core. A test compares the migrations with this module.

The comment above a table says whether it grows and what bounds it; docs/reference/tables.md describes the columns.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    text,
)

from adwarm.store.capacity_tables import breaker, capacity_grant, capacity_scope, isolation, machine_load
from adwarm.store.columns import ROW_ID, UtcDateTime, key_column, metadata, value_column
from adwarm.store.fatigue_tables import fatigue_alert, fatigue_day, fatigue_prior, fatigue_score
from adwarm.store.impact_tables import impact_design, impact_estimate, impact_unit
from adwarm.store.page_tables import (
    action_event,
    capacity_sample,
    control_switch,
    data_arrival,
    page_session,
    plan_hour,
    report_version,
)
from adwarm.store.pattern_tables import access_pattern, access_profile, popular_range
from adwarm.store.recovery_tables import (
    alert,
    alert_delivery,
    error_event,
    healing_action,
    healing_run,
    integrity_day,
    maintenance_step,
    quarantined_item,
    reconciliation,
)
from adwarm.store.schema_tables import schema_change
from adwarm.store.serving_tables import access_token, compression_day, entry_version, latency_count, token_day

__all__ = [
    "access_aggregate",
    "access_pattern",
    "access_profile",
    "access_token",
    "account",
    "account_discovery",
    "action_event",
    "alert",
    "alert_delivery",
    "breaker",
    "capacity_grant",
    "capacity_sample",
    "capacity_scope",
    "compression_day",
    "control_switch",
    "data_arrival",
    "entry",
    "entry_version",
    "error_event",
    "fatigue_alert",
    "fatigue_day",
    "fatigue_prior",
    "fatigue_score",
    "forecast_snapshot",
    "healing_action",
    "healing_run",
    "impact_design",
    "impact_estimate",
    "impact_unit",
    "integrity_day",
    "isolation",
    "latency_count",
    "lease",
    "log_file",
    "machine_load",
    "maintenance_step",
    "metadata",
    "page_session",
    "partition",
    "payload",
    "plan_hour",
    "policy",
    "policy_review",
    "popular_range",
    "quarantined_item",
    "reconciliation",
    "report_version",
    "request",
    "schema_change",
    "strategy",
    "strategy_state",
    "token_day",
    "traffic_hour",
    "warm",
    "warming_job",
    "watermark",
]

# One row per ad account.
account = Table(
    "account",
    metadata,
    key_column("id", String(24)),
    value_column("connection", String(250), "default"),
    value_column("data_zone", String(64)),
    value_column("reader_zone", String(64)),
    value_column("currency", String(8), "USD"),
    value_column("status", String(16), "active"),
    Column("status_reason", Text),
    value_column("updated_at", UtcDateTime()),
    Column("denials", JSON),
    Column("name", String(255)),
    Column("last_seen_at", UtcDateTime()),
    Column("user_reader_zone", String(64)),
    Column("user_status", String(16)),
    Column("user_connection", String(250)),
    Column("holiday_country", String(2)),
    Column("opens_from", String(8)),
)

# One row per connection: when its accounts were last listed, and why that failed.
account_discovery = Table(
    "account_discovery",
    metadata,
    key_column("connection", String(250)),
    value_column("credential", String(64), ""),
    value_column("attempted_at", UtcDateTime()),
    Column("completed_at", UtcDateTime()),
    value_column("listed", Integer, 0),
    Column("error", Text),
    value_column("is_temporary", Boolean, False),
)

# One row per strategy; users edit it.
strategy = Table(
    "strategy",
    metadata,
    key_column("name", String(80)),
    value_column("enabled", Boolean, True),
    value_column("date_ranges", JSON),
    value_column("report", String(40), "default"),
    value_column("priority", String(16), "low"),
    Column("accounts", JSON),
    value_column("excluded_accounts", JSON, list),
    value_column("batch_size", Integer, 5),
    value_column("delay_seconds", Float, 5.0),
    value_column("max_parallel_batches", Integer, 2),
    value_column("max_calls_per_hour", Integer, 100),
    Column("cron", String(120), nullable=False, default="0 */6 * * *", server_default="0 */6 * * *"),
    Column("time_zone", String(64), nullable=False, default="UTC", server_default="UTC"),
    Column("retire_unused", Boolean, nullable=False, default=False, server_default=false()),
    Column("open_hours", Integer, nullable=False, default=6, server_default="6"),
    Column("opened_only", Boolean),
)

# One row per strategy, kept when it is removed; apart from the definition, which users edit.
strategy_state = Table(
    "strategy_state",
    metadata,
    key_column("name", String(80)),
    Column("planned_slot", UtcDateTime()),
    Column("planned_run", String(250)),
    Column("recheck_at", UtcDateTime()),
    Column("recheck_run", String(250)),
    Column("problem", Text),
    Column("enabled_at", UtcDateTime()),
    Column("checked_at", UtcDateTime()),
    Column("retired_at", UtcDateTime()),
    Column("retired_why", Text),
    Column("removed_at", UtcDateTime()),
)

# Grows with the entries. Garbage collection deletes a payload 24 hours after its last entry is gone.
payload = Table(
    "payload",
    metadata,
    key_column("hash", String(64)),
    value_column("body", LargeBinary),
    value_column("created_at", UtcDateTime()),
)

# Grows with the windows fetched; a rolling range adds one a day for each key. Eviction deletes past ones.
entry = Table(
    "entry",
    metadata,
    key_column("account_id", String(24)),
    key_column("since", Date),
    key_column("until", Date),
    key_column("spec_hash", String(12)),
    value_column("date_range", String(40)),
    value_column("report", String(40)),
    Column("payload_hash", String(64), ForeignKey("payload.hash"), nullable=False),
    value_column("codec", String(16)),
    value_column("raw_bytes", Integer),
    value_column("stored_bytes", Integer),
    value_column("fetched_at", UtcDateTime()),
    Column("expires_at", UtcDateTime()),
    value_column("source", String(40)),
    value_column("complete", Boolean, True),
    value_column("settled", Boolean, False),
    value_column("degraded", Boolean, False),
    Column("degraded_reason", Text),
    value_column("data_version", Integer, 1),
    value_column("api_version", String(16), ""),
    value_column("token", BigInteger, 0),
    Column("content_hash", String(64)),
    Column("content_type", String(255)),
    Column("reads", BigInteger, nullable=False, default=0, server_default="0"),
    Column("last_read_at", UtcDateTime()),
    Index(None, "expires_at"),
    Index("ix_entry_degraded", "account_id", sqlite_where=text("degraded"), postgresql_where=text("degraded")),
)

# Grows with accounts times days fetched. Maintenance deletes old days; final months share one object.
partition = Table(
    "partition",
    metadata,
    key_column("account_id", String(24)),
    key_column("day", Date),
    key_column("spec_hash", String(12)),
    value_column("object_hash", String(64)),
    value_column("rows", Integer),
    value_column("content_hash", String(64)),
    value_column("fetched_at", UtcDateTime()),
    value_column("complete", Boolean, True),
    value_column("settled", Boolean, False),
    value_column("data_version", Integer, 1),
    value_column("api_version", String(16), ""),
    value_column("token", BigInteger, 0),
    Column("missing", Text),
    Column("restated_at", UtcDateTime()),
    Index(None, "object_hash"),
)

# Grows with accounts times queries times 30-day blocks. Maintenance deletes old rows; a floor lets tokens only grow.
lease = Table(
    "lease",
    metadata,
    key_column("name", String(200)),
    value_column("owner", String(80)),
    value_column("token", BigInteger),
    value_column("expires_at", UtcDateTime()),
    Column("report_run_id", String(40)),
    Column("report_unit", String(16)),
    Column("report_at", UtcDateTime()),
    Column("report_percent", Float),
    Column("report_moved_at", UtcDateTime()),
    Column("report_pages", JSON),
    Column("learned", JSON),
)

# One row per file of the access log, deleted when the file is gone.
log_file = Table(
    "log_file",
    metadata,
    key_column("path", String(1024)),
    value_column("size", BigInteger),
    value_column("mtime", Float),
    value_column("offset", BigInteger, 0),
    value_column("checkpoints", JSON, list),
    value_column("events", BigInteger, 0),
    value_column("rejected", BigInteger, 0),
    value_column("read_at", UtcDateTime()),
)

# Grows by 24 rows a day. Maintenance deletes old hours.
access_aggregate = Table(
    "access_aggregate",
    metadata,
    key_column("hour", UtcDateTime()),
    value_column("object_hash", String(64)),
    value_column("opens", BigInteger),
    value_column("keys", Integer),
    value_column("updated_at", UtcDateTime()),
    Index(None, "object_hash"),
)

# One row per reader of the log.
watermark = Table(
    "watermark",
    metadata,
    key_column("name", String(80)),
    value_column("until", UtcDateTime()),
    value_column("updated_at", UtcDateTime()),
)

# Grows by about one row a day. Maintenance deletes old ones that nothing uses.
forecast_snapshot = Table(
    "forecast_snapshot",
    metadata,
    key_column("id", String(64)),
    value_column("kind", String(40)),
    value_column("version", String(24)),
    value_column("object_hash", String(64)),
    value_column("trained_from", UtcDateTime()),
    value_column("trained_until", UtcDateTime()),
    value_column("keys", Integer),
    value_column("features", JSON, list),
    value_column("metrics", JSON, dict),
    value_column("created_at", UtcDateTime()),
)

# One row.
policy = Table(
    "policy",
    metadata,
    key_column("name", String(40)),
    Column("snapshot_id", String(64), ForeignKey("forecast_snapshot.id")),
    value_column("mode", String(16), "live"),
    value_column("updated_at", UtcDateTime()),
    Column("chosen_kind", String(40)),
    Column("chosen_by", String(250)),
    Column("chosen_at", UtcDateTime()),
    Column("chosen_why", Text),
)

# Grows by one row a week. Maintenance deletes old rows.
policy_review = Table(
    "policy_review",
    metadata,
    key_column("run_id", String(250)),
    value_column("at", UtcDateTime()),
    value_column("verdict", String(24)),
    Column("live_kind", String(40)),
    Column("proposed_kind", String(40)),
    Column("proposed_snapshot", String(64), ForeignKey("forecast_snapshot.id")),
    Column("report", Text),
    value_column("figures", JSON, dict),
    Column("decided_by", String(250)),
    Column("decided_at", UtcDateTime()),
    Index(None, "at"),
)

# Grows with every planned warm. Maintenance deletes old rows.
warm = Table(
    "warm",
    metadata,
    key_column("id", ROW_ID),
    value_column("run_id", String(250)),
    value_column("batch", Integer, 0),
    value_column("account_id", String(24)),
    value_column("date_range", String(40)),
    value_column("report", String(40), "default"),
    value_column("reason", String(24)),
    value_column("mode", String(16)),
    value_column("priority", String(16), "low"),
    value_column("decided_at", UtcDateTime()),
    Column("predicted_open", UtcDateTime()),
    Column("warm_at", UtcDateTime()),
    value_column("confidence", Float, 0.0),
    value_column("benefit", Float, 0.0),
    value_column("price", Float, 0.0),
    value_column("explanation", JSON, dict),
    value_column("status", String(16), "planned"),
    Column("error", Text),
    Column("fetched_at", UtcDateTime()),
    Column("expires_at", UtcDateTime()),
    value_column("requests", Integer, 0),
    Column("seconds", Float),
    Column("used", Boolean),
    Column("first_use", UtcDateTime()),
    Column("strategy", String(80)),
    Column("superseded_by", BigInteger),
    Index(None, "run_id", "batch"),
    Index(None, "account_id", "date_range", "fetched_at"),
    Index(None, "account_id", "decided_at"),
    # What the page counts of a week, so that it reads no rows.
    Index(
        None,
        "decided_at",
        postgresql_include=["mode", "reason", "status", "used", "superseded_by", "fetched_at", "warm_at", "first_use"],
    ),
    Index(None, "used", "status"),
    Index(
        "ix_warm_strategy_use",  # holds all that the use of strategies over 30 days is counted from
        "strategy",
        "decided_at",
        "status",
        "used",
        "superseded_by",
        "requests",
        sqlite_where=text("strategy IS NOT NULL"),
        postgresql_where=text("strategy IS NOT NULL"),
    ),
    Index(
        "ix_warm_marked",
        *("decided_at", "reason", "mode", "status", "used", "confidence"),
        sqlite_where=text("used IS NOT NULL OR superseded_by IS NOT NULL"),
        postgresql_where=text("used IS NOT NULL OR superseded_by IS NOT NULL"),
    ),
    Index(
        "ix_warm_held_out",
        "decided_at",
        sqlite_where=text("status = 'held_out'"),
        postgresql_where=text("status = 'held_out'"),
    ),
)

# Grows with every run. Maintenance deletes old rows.
warming_job = Table(
    "warming_job",
    metadata,
    key_column("run_id", String(250)),
    value_column("dag_id", String(250)),
    value_column("status", String(16)),
    value_column("total", Integer, 0),
    value_column("done", Integer, 0),
    value_column("failed", Integer, 0),
    value_column("requests", Integer, 0),
    value_column("started_at", UtcDateTime()),
    Column("finished_at", UtcDateTime()),
    value_column("errors", JSON, list),
    Index(None, "started_at"),
)

# At most `ADWARM_BACKPRESSURE__QUEUE_SIZE` pending rows; finished ones are deleted after some days.
request = Table(
    "request",
    metadata,
    key_column("id", ROW_ID),
    value_column("account_id", String(24)),
    value_column("date_range", String(40)),
    value_column("report", String(40), "default"),
    value_column("priority", Integer),
    value_column("status", String(16), "pending"),
    value_column("enqueued_at", UtcDateTime()),
    value_column("deadline", UtcDateTime()),
    value_column("attempts", Integer, 0),
    Column("owner", String(80)),
    Column("lease_until", UtcDateTime()),
    Column("error", Text),
    Column("error_kind", String(40)),
    Column("finished_at", UtcDateTime()),
    Column("token", BigInteger, nullable=False, default=0, server_default="0"),
    Column("not_before", UtcDateTime()),
    Column("result", JSON),
    Column("token_id", String(16)),
    Index(None, "status", "priority", "enqueued_at"),
    Index(None, "finished_at"),
    Index(None, "account_id", "date_range", "report", "id"),
    Index(
        "uq_request_in_flight",
        "account_id",
        "date_range",
        "report",
        unique=True,
        sqlite_where=text("status IN ('pending', 'processing')"),
        postgresql_where=text("status IN ('pending', 'processing')"),
    ),
)

# Grows with hours times causes. Maintenance deletes old rows.
call_hour = Table(
    "call_hour",
    metadata,
    key_column("hour", UtcDateTime()),
    key_column("cause", String(16)),
    key_column("strategy", String(80)),
    value_column("calls", Integer, 0),
)

# Grows with hours times accounts times actors. Maintenance deletes old rows.
traffic_hour = Table(
    "traffic_hour",
    metadata,
    key_column("hour", UtcDateTime()),
    key_column("account_id", String(24)),
    key_column("actor", String(16)),
    value_column("hits", Integer, 0),
    value_column("stale", Integer, 0),
    value_column("misses", Integer, 0),
    value_column("errors", Integer, 0),
    value_column("upstream_calls", Integer, 0),
    value_column("throttles", Integer, 0),
    value_column("latency_ms", Float, 0.0),
    Column("first_opens", Integer, nullable=False, default=0, server_default="0"),
    Column("first_hits", Integer, nullable=False, default=0, server_default="0"),
    Index(None, "hour"),  # rows come in the order of hours, which the planner does not see in the primary key
)
