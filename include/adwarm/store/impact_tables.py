"""The tables of live impact: how units are drawn, what each came to, and the estimates."""

from sqlalchemy import JSON, Boolean, Column, Date, Float, Index, Integer, String, Table

from adwarm.store.columns import ROW_ID, UtcDateTime, key_column, metadata, value_column

# One row each time that the measurement begins or its share changes. Maintenance deletes old rows.
impact_design = Table(
    "impact_design",
    metadata,
    key_column("id", ROW_ID),
    value_column("since", UtcDateTime()),
    value_column("share", Float),
    value_column("salt", String(200)),
    Column("ended_at", UtcDateTime()),
    Index(None, "since"),
)

# One row per account and week while impact is measured. Maintenance deletes old rows.
impact_unit = Table(
    "impact_unit",
    metadata,
    key_column("design_id", ROW_ID),
    key_column("week", Date),
    key_column("account_id", String(24)),
    value_column("is_held_out", Boolean),
    value_column("first_opens", Integer),
    value_column("first_hits", Integer),
    value_column("calls", Integer),
    value_column("withheld", Integer, 0),
    value_column("source", String(16)),
    Index(None, "week"),
)

# One row per week while impact is measured. Maintenance deletes old rows.
impact_estimate = Table(
    "impact_estimate",
    metadata,
    key_column("design_id", ROW_ID),
    key_column("week", Date),
    value_column("at", UtcDateTime()),
    value_column("figures", JSON, dict),
    Index(None, "week"),
)
