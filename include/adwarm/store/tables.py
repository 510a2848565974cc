"""Every table, as SQLAlchemy Core. A test compares the migrations with this module.

The comment above a table says whether it grows and what bounds it; docs/reference/tables.md describes the columns.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime. SQLite stores it without a zone, PostgreSQL with one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC.

        Raises:
            ValueError: the datetime is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored; give it a time zone")
        stored = value.astimezone(UTC)
        return stored.replace(tzinfo=None) if dialect.name == "sqlite" else stored

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware UTC datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = BigInteger().with_variant(Integer, "sqlite")


def _key(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, primary_key=True)


def _col(name: str, kind: Any, default: Any = None) -> Column[Any]:
    return Column(name, kind, nullable=False, default=default)


# One row per ad account.
account = Table(
    "account",
    metadata,
    _key("id", String(24)),
    _col("connection", String(250), "default"),
    _col("data_zone", String(64)),
    _col("reader_zone", String(64)),
    _col("currency", String(8), "USD"),
    _col("status", String(16), "active"),
    Column("status_reason", Text),
    _col("updated_at", UtcDateTime()),
    Column("denials", JSON),
    Column("name", String(255)),
    Column("last_seen_at", UtcDateTime()),
    Column("user_reader_zone", String(64)),
    Column("user_status", String(16)),
    Column("user_connection", String(250)),
    Column("holiday_country", String(2)),
)

# One row per connection: when its accounts were last listed, and why that failed.
account_discovery = Table(
    "account_discovery",
    metadata,
    _key("connection", String(250)),
    _col("credential", String(64), ""),
    _col("attempted_at", UtcDateTime()),
    Column("completed_at", UtcDateTime()),
    _col("listed", Integer, 0),
    Column("error", Text),
    _col("is_temporary", Boolean, False),
)

# One row per strategy; users edit it.
strategy = Table(
    "strategy",
    metadata,
    _key("name", String(80)),
    _col("enabled", Boolean, True),
    _col("date_ranges", JSON),
    _col("report", String(40), "default"),
    _col("priority", String(16), "low"),
    Column("accounts", JSON),
    _col("excluded_accounts", JSON, list),
    _col("batch_size", Integer, 5),
    _col("delay_seconds", Float, 5.0),
    _col("max_parallel_batches", Integer, 2),
    _col("max_calls_per_hour", Integer, 100),
    Column("cron", String(120), nullable=False, default="0 */6 * * *", server_default="0 */6 * * *"),
    Column("time_zone", String(64), nullable=False, default="UTC", server_default="UTC"),
    Column("retire_unused", Boolean, nullable=False, default=False, server_default=false()),
)

# One row per strategy, kept when it is removed; apart from the definition, which users edit.
strategy_state = Table(
    "strategy_state",
    metadata,
    _key("name", String(80)),
    Column("planned_slot", UtcDateTime()),
    Column("planned_run", String(250)),
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
    _key("hash", String(64)),
    _col("body", LargeBinary),
    _col("created_at", UtcDateTime()),
)

# Grows with the windows fetched; a rolling range adds one a day for each key. No retention yet.
entry = Table(
    "entry",
    metadata,
    _key("account_id", String(24)),
    _key("since", Date),
    _key("until", Date),
    _key("spec_hash", String(12)),
    _col("date_range", String(40)),
    _col("report", String(40)),
    Column("payload_hash", String(64), ForeignKey("payload.hash"), nullable=False),
    _col("codec", String(16)),
    _col("raw_bytes", Integer),
    _col("stored_bytes", Integer),
    _col("fetched_at", UtcDateTime()),
    Column("expires_at", UtcDateTime()),
    _col("source", String(40)),
    _col("complete", Boolean, True),
    _col("settled", Boolean, False),
    _col("degraded", Boolean, False),
    Column("degraded_reason", Text),
    _col("data_version", Integer, 1),
    _col("api_version", String(16), ""),
    _col("token", BigInteger, 0),
    Index(None, "expires_at"),
)

# Grows with accounts times days fetched. No retention yet; final months share one object.
partition = Table(
    "partition",
    metadata,
    _key("account_id", String(24)),
    _key("day", Date),
    _key("spec_hash", String(12)),
    _col("object_hash", String(64)),
    _col("rows", Integer),
    _col("content_hash", String(64)),
    _col("fetched_at", UtcDateTime()),
    _col("complete", Boolean, True),
    _col("settled", Boolean, False),
    _col("data_version", Integer, 1),
    _col("api_version", String(16), ""),
    _col("token", BigInteger, 0),
    Column("missing", Text),
    Index(None, "object_hash"),
)

# Grows with accounts times queries times 30-day blocks. A released lease keeps its row, so that tokens only grow.
lease = Table(
    "lease",
    metadata,
    _key("name", String(200)),
    _col("owner", String(80)),
    _col("token", BigInteger),
    _col("expires_at", UtcDateTime()),
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
    _key("path", String(1024)),
    _col("size", BigInteger),
    _col("mtime", Float),
    _col("offset", BigInteger, 0),
    _col("checkpoints", JSON, list),
    _col("events", BigInteger, 0),
    _col("rejected", BigInteger, 0),
    _col("read_at", UtcDateTime()),
)

# Grows by 24 rows a day. No retention yet.
access_aggregate = Table(
    "access_aggregate",
    metadata,
    _key("hour", UtcDateTime()),
    _col("object_hash", String(64)),
    _col("opens", BigInteger),
    _col("keys", Integer),
    _col("updated_at", UtcDateTime()),
    Index(None, "object_hash"),
)

# One row per reader of the log.
watermark = Table(
    "watermark",
    metadata,
    _key("name", String(80)),
    _col("until", UtcDateTime()),
    _col("updated_at", UtcDateTime()),
)

# Grows by about one row a day. No retention yet.
forecast_snapshot = Table(
    "forecast_snapshot",
    metadata,
    _key("id", String(64)),
    _col("kind", String(40)),
    _col("version", String(24)),
    _col("object_hash", String(64)),
    _col("trained_from", UtcDateTime()),
    _col("trained_until", UtcDateTime()),
    _col("keys", Integer),
    _col("features", JSON, list),
    _col("metrics", JSON, dict),
    _col("created_at", UtcDateTime()),
)

# One row.
policy = Table(
    "policy",
    metadata,
    _key("name", String(40)),
    Column("snapshot_id", String(64), ForeignKey("forecast_snapshot.id")),
    _col("mode", String(16), "live"),
    _col("updated_at", UtcDateTime()),
    Column("chosen_kind", String(40)),
    Column("chosen_by", String(250)),
    Column("chosen_at", UtcDateTime()),
    Column("chosen_why", Text),
)

# Grows by one row a week. No retention yet.
policy_review = Table(
    "policy_review",
    metadata,
    _key("run_id", String(250)),
    _col("at", UtcDateTime()),
    _col("verdict", String(24)),
    Column("live_kind", String(40)),
    Column("proposed_kind", String(40)),
    Column("proposed_snapshot", String(64), ForeignKey("forecast_snapshot.id")),
    Column("report", Text),
    _col("figures", JSON, dict),
    Column("decided_by", String(250)),
    Column("decided_at", UtcDateTime()),
    Index(None, "at"),
)

# Grows with every planned warm. No retention yet.
warm = Table(
    "warm",
    metadata,
    _key("id", _ID),
    _col("run_id", String(250)),
    _col("batch", Integer, 0),
    _col("account_id", String(24)),
    _col("date_range", String(40)),
    _col("report", String(40), "default"),
    _col("reason", String(24)),
    _col("mode", String(16)),
    _col("priority", String(16), "low"),
    _col("decided_at", UtcDateTime()),
    Column("predicted_open", UtcDateTime()),
    Column("warm_at", UtcDateTime()),
    _col("confidence", Float, 0.0),
    _col("benefit", Float, 0.0),
    _col("price", Float, 0.0),
    _col("explanation", JSON, dict),
    _col("status", String(16), "planned"),
    Column("error", Text),
    Column("fetched_at", UtcDateTime()),
    Column("expires_at", UtcDateTime()),
    _col("requests", Integer, 0),
    Column("seconds", Float),
    Column("used", Boolean),
    Column("first_use", UtcDateTime()),
    Column("strategy", String(80)),
    Index(None, "run_id", "batch"),
    Index(None, "account_id", "date_range", "fetched_at"),
    Index(None, "decided_at"),
    Index(None, "used", "status"),
    Index(None, "strategy", "decided_at"),
)

# Grows with every run. No retention yet.
warming_job = Table(
    "warming_job",
    metadata,
    _key("run_id", String(250)),
    _col("dag_id", String(250)),
    _col("status", String(16)),
    _col("total", Integer, 0),
    _col("done", Integer, 0),
    _col("failed", Integer, 0),
    _col("requests", Integer, 0),
    _col("started_at", UtcDateTime()),
    Column("finished_at", UtcDateTime()),
    _col("errors", JSON, list),
    Index(None, "started_at"),
)

# At most `ADWARM_BACKPRESSURE__QUEUE_SIZE` pending rows; finished ones are deleted after 7 days.
request = Table(
    "request",
    metadata,
    _key("id", _ID),
    _col("account_id", String(24)),
    _col("date_range", String(40)),
    _col("report", String(40), "default"),
    _col("priority", Integer),
    _col("status", String(16), "pending"),
    _col("enqueued_at", UtcDateTime()),
    _col("deadline", UtcDateTime()),
    _col("attempts", Integer, 0),
    Column("owner", String(80)),
    Column("lease_until", UtcDateTime()),
    Column("error", Text),
    Column("finished_at", UtcDateTime()),
    _col("token", BigInteger, 0),
    Column("not_before", UtcDateTime()),
    Column("result", JSON),
    Index(None, "status", "priority", "enqueued_at"),
    Index(None, "finished_at"),
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

# One row per account, app and token that was called.
capacity_scope = Table(
    "capacity_scope",
    metadata,
    _key("scope", String(200)),
    _col("limit", Float),
    _col("tokens", Float),
    _col("refilled_at", Float),
    Column("parked_until", Float),
    Column("parked_why", Text),
    Column("usage", Float),
    _col("state", JSON, dict),
)

# One row per call or block in flight, deleted when it is released or has expired.
capacity_grant = Table(
    "capacity_grant",
    metadata,
    _key("id", String(40)),
    _col("token", BigInteger, 0),
    _col("scopes", JSON, list),
    _col("priority", Integer),
    _col("cost", Float),
    _col("source", String(200)),
    _col("probe", Boolean),
    _col("permits", Integer),
    _col("counted", Boolean),
    _col("owner", String(120)),
    _col("granted_at", Float),
    _col("spend_until", Float),
    _col("expires_at", Float),
    Index(None, "expires_at"),
)

# One row per source and failing account; the row of an account is deleted once the account works again.
breaker = Table(
    "breaker",
    metadata,
    _key("source", String(200)),
    _col("state", String(16)),
    _col("changed_at", Float),
    _col("probe_at", Float, 0.0),
    _col("data", JSON, dict),
)

# One row per source with fallbacks.
isolation = Table(
    "isolation",
    metadata,
    _key("source", String(200)),
    _col("state", String(16)),
    _col("changed_at", Float),
    _col("data", JSON, dict),
)

# Grows with failed calls. `ErrorLog` prunes it to 30 days and about 20,000 rows.
error_event = Table(
    "error_event",
    metadata,
    _key("id", _ID),
    _col("at", UtcDateTime()),
    _col("source", String(80)),
    _col("kind", String(40)),
    Column("code", String(40)),
    Column("subject", String(200)),
    _col("message", Text),
    Index(None, "source", "at"),
)

# One row per healing action.
healing_action = Table(
    "healing_action",
    metadata,
    _key("name", String(120)),
    _col("last_run", UtcDateTime()),
    _col("runs", Integer, 1),
    _col("succeeded", Boolean),
    Column("detail", Text),
)

# Grows with ads times days. No retention yet.
fatigue_score = Table(
    "fatigue_score",
    metadata,
    _key("account_id", String(24)),
    _key("ad_id", String(24)),
    _key("as_of", Date),
    Column("ad_name", String(400)),
    _col("status", String(16)),
    Column("total", Float),
    Column("creative", Float),
    Column("audience", Float),
    Column("algorithm", Float),
    _col("data_quality", Float),
    Column("trend_per_day", Float),
    _col("baseline", JSON, dict),
    _col("calculator_version", String(24)),
    _col("data_version", Integer, 1),
    _col("settled", Boolean, False),
    _col("calculated_at", UtcDateTime()),
    Index(None, "as_of", "status"),
)

# Grows with hours times accounts times actors. No retention yet.
traffic_hour = Table(
    "traffic_hour",
    metadata,
    _key("hour", UtcDateTime()),
    _key("account_id", String(24)),
    _key("actor", String(16)),
    _col("hits", Integer, 0),
    _col("stale", Integer, 0),
    _col("misses", Integer, 0),
    _col("errors", Integer, 0),
    _col("upstream_calls", Integer, 0),
    _col("throttles", Integer, 0),
    _col("latency_ms", Float, 0.0),
)
