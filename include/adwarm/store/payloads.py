"""Payloads: sealed bytes by their hash; entries and their kept versions refer to them."""

from datetime import datetime

from sqlalchemy import Connection, Engine, LargeBinary, String, Table, select

from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import read_statement, upsert

# Grows with the entries. Garbage collection deletes a payload 24 hours after its last entry is gone.
table = Table(
    "payload",
    metadata,
    key_column("hash", String(64)),
    value_column("body", LargeBinary),
    value_column("created_at", UtcDateTime()),
)


def find(engine: Engine, payload_hash: str) -> bytes | None:
    """Return sealed bytes by their hash, or None."""
    with read_statement(engine) as connection:
        body = connection.execute(select(table.c.body).where(table.c.hash == payload_hash)).scalar_one_or_none()
    return None if body is None else bytes(body)


def save(connection: Connection, blobs: dict[str, bytes], at: datetime) -> None:
    """Write payloads even if their hash exists: the stored one may be damaged, or about to be deleted as an orphan."""
    upsert(connection, table, [{"hash": digest, "body": body, "created_at": at} for digest, body in blobs.items()])
