"""The tables of ad fatigue: scores, what they were computed from, their priors, and the platform's own notices."""

from sqlalchemy import JSON, Boolean, Column, Date, Float, Index, Integer, String, Table

from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column

# Grows with ads times days. Maintenance deletes old rows.
fatigue_score = Table(
    "fatigue_score",
    metadata,
    key_column("account_id", String(24)),
    key_column("ad_id", String(64)),
    key_column("as_of", Date),
    Column("ad_name", String(400)),
    value_column("status", String(16)),
    Column("total", Float),
    Column("creative", Float),
    Column("audience", Float),
    Column("algorithm", Float),
    value_column("data_quality", Float),
    Column("driver", String(16)),
    Column("trend_per_day", Float),
    Column("days_to_critical", Float),
    Column("days_to_critical_low", Float),
    Column("days_to_critical_high", Float),
    Column("alarm", String(8), nullable=False, default="none", server_default="none"),
    Column("evidence", Float),
    Column("alarm_since", Date),
    Column("onset", Date),
    Column("cost_ratio", Float),
    Column("recent_spend", Float),
    value_column("baseline", JSON, dict),
    value_column("calculator_version", String(24)),
    value_column("data_version", Integer, 1),
    Column("input_hash", String(16), nullable=False, default="", server_default=""),
    value_column("settled", Boolean, False),
    value_column("calculated_at", UtcDateTime()),
    Index(None, "as_of", "status"),
    # Sums and lists over the newest scores of all accounts are read from this index alone. Its own name is short,
    # because PostgreSQL cuts names at 63 characters.
    Index(
        "ix_fatigue_score_newest",
        "account_id",
        "as_of",
        "ad_id",
        "status",
        "total",
        "alarm",
        "recent_spend",
        "days_to_critical",
    ),
)

# Grows with accounts times days. Maintenance deletes old rows.
fatigue_day = Table(
    "fatigue_day",
    metadata,
    key_column("account_id", String(24)),
    key_column("as_of", Date),
    value_column("input_hash", String(16)),
    value_column("data_hash", String(16)),
    value_column("data_version", Integer, 1),
    value_column("stored_days", Integer, 0),
    value_column("frequency_source", String(16), ""),
    value_column("frequency_hash", String(16), ""),
    value_column("calculator_version", String(24), ""),
    value_column("calculated_at", UtcDateTime()),
    Index(None, "as_of"),
)

# Grows with accounts times months, and with restatements. Maintenance deletes old rows.
fatigue_prior = Table(
    "fatigue_prior",
    metadata,
    key_column("account_id", String(24)),
    key_column("month", Date),
    key_column("version", Integer),
    value_column("figures", JSON, dict),
    value_column("input_hash", String(16)),
    value_column("data_version", Integer, 1),
    value_column("stored_days", Integer, 0),
    value_column("calculator_version", String(24)),
    value_column("calculated_at", UtcDateTime()),
    Index(None, "month"),
)

# Grows with ads that got worse. Maintenance deletes old rows.
fatigue_alert = Table(
    "fatigue_alert",
    metadata,
    key_column("account_id", String(24)),
    key_column("ad_id", String(64)),
    value_column("as_of", Date),
    value_column("level", Integer),
    value_column("alerted_at", UtcDateTime()),
    Index(None, "alerted_at"),
)
