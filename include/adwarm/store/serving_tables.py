"""The tables of the read API and of compression: tokens, kept versions of entries, and statistics by day."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Date, Float, ForeignKey, Index, Integer, String, Table

from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column

# One row per token; an administrator makes and revokes them.
access_token = Table(
    "access_token",
    metadata,
    key_column("id", String(16)),
    value_column("secret_hash", String(64)),
    value_column("name", String(80)),
    value_column("scopes", JSON, list),
    Column("accounts", JSON),
    value_column("actor", String(16), "human"),
    value_column("is_trusted", Boolean, False),
    value_column("highest_priority", String(16), "normal"),
    value_column("daily_new_keys", Integer, 100),
    Column("daily_refetches", Integer, nullable=False, default=1_000, server_default="1000"),
    Column("rate_per_second", Float),
    value_column("created_at", UtcDateTime()),
    Column("expires_at", UtcDateTime()),
    Column("revoked_at", UtcDateTime()),
    Column("last_used_at", UtcDateTime()),
)

# One row per token and UTC day on which it caused a fetch. Maintenance deletes old rows.
token_day = Table(
    "token_day",
    metadata,
    key_column("token_id", String(16)),
    key_column("day", Date),
    value_column("new_keys", Integer, 0),
    Column("refetches", Integer, nullable=False, default=0, server_default="0"),
)

# Earlier documents of a report key, as dictionaries for returning readers. Bounded by bytes, number and age per key.
entry_version = Table(
    "entry_version",
    metadata,
    key_column("account_id", String(24)),
    key_column("date_range", String(40)),
    key_column("report", String(40)),
    key_column("content_hash", String(64)),
    Column("payload_hash", String(64), ForeignKey("payload.hash"), nullable=False),
    value_column("since", Date),
    value_column("until", Date),
    value_column("spec_hash", String(12)),
    value_column("raw_bytes", Integer),
    value_column("stored_bytes", Integer),
    value_column("created_at", UtcDateTime()),
    Index(None, "payload_hash"),
    Index(None, "created_at"),
)

# One row per UTC day and codec. Maintenance deletes old rows.
compression_day = Table(
    "compression_day",
    metadata,
    key_column("day", Date),
    key_column("codec", String(16)),
    value_column("packed", BigInteger, 0),
    value_column("unpacked", BigInteger, 0),
    value_column("raw_bytes", BigInteger, 0),
    value_column("stored_bytes", BigInteger, 0),
    value_column("pack_seconds", Float, 0.0),
    value_column("unpack_seconds", Float, 0.0),
    value_column("errors", BigInteger, 0),
    Column("cache_hits", BigInteger, nullable=False, default=0, server_default="0"),
)

# One row per hour or day, operation and bucket of time. Maintenance deletes old rows.
latency_count = Table(
    "latency_count",
    metadata,
    key_column("since", UtcDateTime()),
    key_column("operation", String(24)),
    key_column("bucket", Integer),
    value_column("count", BigInteger),
)
