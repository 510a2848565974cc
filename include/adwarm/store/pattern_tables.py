"""The tables of access patterns, as SQLAlchemy Core; docs/reference/tables.md describes the columns."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, String, Table, Text

from adwarm.store.columns import UtcDateTime, metadata

# One row per account opened in the last `ADWARM_FORECAST__HISTORY_DAYS`, and one of all; others are deleted.
access_profile = Table(
    "access_profile",
    metadata,
    Column("account_id", String(24), primary_key=True),
    Column("first_opens", BigInteger, nullable=False),
    Column("keys", Integer, nullable=False),
    Column("observed_from", UtcDateTime(), nullable=False),
    Column("observed_until", UtcDateTime(), nullable=False),
    Column("observed_weeks", Float, nullable=False),
    Column("time_zones", JSON, nullable=False),
    Column("busy_hours", Text, nullable=False),
    Column("peak_hours", Text, nullable=False),
    Column("quiet_hours", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("computed_at", UtcDateTime(), nullable=False),
)

# 168 rows per row of `access_profile`.
access_pattern = Table(
    "access_pattern",
    metadata,
    Column("account_id", String(24), primary_key=True),
    Column("weekday", Integer, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("weekday_name", String(9), nullable=False),
    Column("opens", BigInteger, nullable=False),
    Column("observed_hours", Float, nullable=False),
    Column("opens_per_hour", Float, nullable=False),
    Column("active_weeks", Integer, nullable=False),
    Column("is_busy", Boolean, nullable=False),
    Column("is_peak", Boolean, nullable=False),
    Column("is_quiet", Boolean, nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("observed_weeks", Float, nullable=False),
    Column("computed_at", UtcDateTime(), nullable=False),
)

# At most 20 rows per row of `access_profile`.
popular_range = Table(
    "popular_range",
    metadata,
    Column("account_id", String(24), primary_key=True),
    Column("date_range", String(40), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("opens", BigInteger, nullable=False),
    Column("share", Float, nullable=False),
    Column("computed_at", UtcDateTime(), nullable=False),
)
