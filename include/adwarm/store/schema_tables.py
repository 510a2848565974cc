"""The table that records which migrations a database has had."""

from sqlalchemy import String, Table

from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column

# One row per migration.
schema_change = Table(
    "schema_change",
    metadata,
    key_column("revision", String(32)),
    value_column("compatible_from", String(32)),
    value_column("applied_at", UtcDateTime()),
)
