"""The tables of the web page and of what it controls: sessions, actions, switches, arrivals of data, the outlook."""

from sqlalchemy import JSON, Boolean, Column, Date, Float, Index, Integer, String, Table, Text

from adwarm.store.columns import ROW_ID, UtcDateTime, key_column, metadata, value_column

# One row per login at the page of `adwarm serve`. Maintenance deletes expired ones.
page_session = Table(
    "page_session",
    metadata,
    key_column("id_hash", String(64)),
    value_column("token_id", String(16)),
    value_column("created_at", UtcDateTime()),
    value_column("expires_at", UtcDateTime()),
    Index(None, "expires_at"),
)

# One row per action of a person on the page or the command line. Maintenance deletes old rows.
action_event = Table(
    "action_event",
    metadata,
    key_column("id", ROW_ID),
    value_column("at", UtcDateTime()),
    value_column("actor", String(250)),
    value_column("via", String(16)),
    value_column("action", String(40)),
    Column("subject", String(250)),
    value_column("arguments", JSON, dict),
    value_column("succeeded", Boolean),
    value_column("detail", Text, ""),
    Index(None, "at"),
)

# One row per switch that was ever changed: `warming` (the kill switch) and `shadow`.
control_switch = Table(
    "control_switch",
    metadata,
    key_column("name", String(40)),
    value_column("is_on", Boolean),
    value_column("changed_at", UtcDateTime()),
    value_column("changed_by", String(250)),
    value_column("why", Text, ""),
)

# One row per account, report and day whose data has arrived or was restated. Maintenance deletes old rows.
data_arrival = Table(
    "data_arrival",
    metadata,
    key_column("account_id", String(24)),
    key_column("day", Date),
    value_column("arrived_at", UtcDateTime()),
    value_column("origin", String(80)),
    Column("planned_at", UtcDateTime()),
    Column("planned_run", String(250)),
    Index(None, "arrived_at"),
)

# One row per hour that the last plan looked ahead to. Maintenance deletes past hours.
plan_hour = Table(
    "plan_hour",
    metadata,
    key_column("hour", UtcDateTime()),
    value_column("expected_opens", Float),
    value_column("due_warms", Integer),
    value_column("expected_calls", Float),
    value_column("call_quota", Float),
    value_column("planned_at", UtcDateTime()),
)

# Grows with shared scopes: one row for each, four times an hour. Maintenance deletes old rows.
capacity_sample = Table(
    "capacity_sample",
    metadata,
    key_column("at", UtcDateTime()),
    key_column("scope", String(200)),
    value_column("limit", Float),
    value_column("in_flight", Integer),
    Column("usage", Float),
    value_column("is_parked", Boolean, False),
)

# One row per report and query that it has had since its settings changed. Maintenance deletes old retired ones.
report_version = Table(
    "report_version",
    metadata,
    key_column("report", String(40)),
    key_column("spec_hash", String(12)),
    value_column("spec", JSON, dict),
    value_column("state", String(12)),
    value_column("since", UtcDateTime()),
    value_column("seen_at", UtcDateTime()),
    Column("coverage", Float),
    Index(None, "since"),
)
