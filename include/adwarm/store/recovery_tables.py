"""The tables of recovery and upkeep: errors, healing, alerts, damaged data, and the steps of maintenance."""

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
    String,
    Table,
    Text,
    text,
)

from adwarm.store.columns import ROW_ID, UtcDateTime, key_column, metadata, value_column

# Grows with failed calls. `ErrorLog` and maintenance prune it by age and number.
error_event = Table(
    "error_event",
    metadata,
    key_column("id", ROW_ID),
    value_column("at", UtcDateTime()),
    value_column("source", String(80)),
    value_column("kind", String(40)),
    Column("code", String(40)),
    Column("connection", String(80)),
    Column("account_id", String(24)),
    Column("subject", String(200)),
    value_column("message", Text),
    Index(None, "source", "at"),
    Index(None, "account_id", "at"),
    Index(None, "at"),
)

# One row per healing action and what it heals, for the cool-down.
healing_action = Table(
    "healing_action",
    metadata,
    key_column("name", String(240)),
    value_column("last_run", UtcDateTime()),
    value_column("runs", Integer, 1),
    value_column("succeeded", Boolean),
    Column("detail", Text),
)

# Grows with healing runs: at most one per action, scope and cool-down. Maintenance deletes old rows.
healing_run = Table(
    "healing_run",
    metadata,
    key_column("id", ROW_ID),
    value_column("at", UtcDateTime()),
    value_column("action", String(40)),
    value_column("scope", String(200)),
    value_column("source", String(80)),
    value_column("error_kind", String(40)),
    value_column("succeeded", Boolean),
    value_column("detail", Text),
    value_column("seconds", Float, 0.0),
    value_column("owner", String(80), ""),
    Index(None, "at"),
)

# One row per alert that was raised. Maintenance deletes resolved ones.
alert = Table(
    "alert",
    metadata,
    key_column("id", ROW_ID),
    value_column("kind", String(40)),
    value_column("scope", String(200)),
    value_column("opened_at", UtcDateTime()),
    value_column("last_at", UtcDateTime()),
    value_column("errors", Integer),
    value_column("window_seconds", Float),
    Column("example", String(200)),
    value_column("reason", Text),
    value_column("next_step", Text),
    Column("resolved_at", UtcDateTime()),
    Index(None, "opened_at"),
    Index(
        "uq_alert_open",
        "kind",
        "scope",
        unique=True,
        sqlite_where=text("resolved_at IS NULL"),
        postgresql_where=text("resolved_at IS NULL"),
    ),
)

# One row per notice of an alert and channel; deleted with its alert.
alert_delivery = Table(
    "alert_delivery",
    metadata,
    Column("alert_id", ROW_ID, ForeignKey("alert.id"), primary_key=True, autoincrement=False),
    key_column("notice", String(40)),
    key_column("channel", String(80)),
    value_column("created_at", UtcDateTime()),
    Column("claimed_until", UtcDateTime()),
    value_column("attempts", Integer, 0),
    Column("delivered_at", UtcDateTime()),
    Column("error", Text),
    Index(None, "delivered_at"),
)

# One row per damaged object, payload or snapshot that was found. Maintenance deletes old rows with their copies.
quarantined_item = Table(
    "quarantined_item",
    metadata,
    key_column("id", ROW_ID),
    value_column("found_at", UtcDateTime()),
    value_column("kind", String(16)),
    value_column("name", String(200)),
    Column("account_id", String(24)),
    value_column("reason", Text),
    Column("copy_name", String(80)),
    Column("healed_at", UtcDateTime()),
    Column("outcome", Text),
    Column("spec_hash", String(12)),
    Column("since", Date),
    Column("until", Date),
    Index(None, "found_at"),
    Index(
        "uq_quarantined_item_open",
        "kind",
        "name",
        unique=True,
        sqlite_where=text("healed_at IS NULL"),
        postgresql_where=text("healed_at IS NULL"),
    ),
)

# One row per UTC day and kind of data: what was verified. Maintenance deletes old rows.
integrity_day = Table(
    "integrity_day",
    metadata,
    key_column("day", Date),
    key_column("kind", String(16)),
    value_column("checked", BigInteger, 0),
    value_column("damaged", BigInteger, 0),
    value_column("healed", BigInteger, 0),
    value_column("bytes", BigInteger, 0),
)

# One row per step of maintenance: where it goes on, and its last result.
maintenance_step = Table(
    "maintenance_step",
    metadata,
    key_column("name", String(40)),
    Column("cursor", JSON),
    Column("round_started_at", UtcDateTime()),
    Column("round_finished_at", UtcDateTime()),
    value_column("started_at", UtcDateTime()),
    Column("finished_at", UtcDateTime()),
    Column("seconds", Float),
    Column("result", JSON),
    Column("error", Text),
    value_column("owner", String(80), ""),
    Column("lease_until", UtcDateTime()),
)

# Grows with reconciled accounts a day. Maintenance deletes old rows.
reconciliation = Table(
    "reconciliation",
    metadata,
    key_column("id", ROW_ID),
    value_column("at", UtcDateTime()),
    value_column("account_id", String(24)),
    value_column("comparison", String(24)),
    value_column("since", Date),
    value_column("until", Date),
    value_column("metric", String(40)),
    value_column("expected", Float),
    value_column("actual", Float),
    value_column("differs", Boolean),
    Index(None, "at"),
    Index(None, "account_id", "at"),
)
