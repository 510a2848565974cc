"""Which migrations a database has had, and which code each schema still serves."""

from datetime import datetime

from sqlalchemy import Connection, String, Table, select

from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import upsert

# One row per migration.
schema_change = Table(
    "schema_change",
    metadata,
    key_column("revision", String(32)),
    value_column("compatible_from", String(32)),
    value_column("applied_at", UtcDateTime()),
)


def save_change(connection: Connection, revision: str, compatible_from: str, at: datetime) -> None:
    """Record that the database has reached `revision`."""
    row = {"revision": revision, "compatible_from": compatible_from, "applied_at": at}
    upsert(connection, schema_change, [row])


def get_compatible_from(connection: Connection, revision: str) -> str | None:
    """Return the oldest revision whose code runs on the schema `revision`; None when the database does not say."""
    query = select(schema_change.c.compatible_from).where(schema_change.c.revision == revision)
    return connection.execute(query).scalar_one_or_none()
