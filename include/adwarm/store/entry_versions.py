"""When entries were published: how it is known later whether a report was warm at a moment.

A warm has a row that says so; a fetch for a reader, and one of a backfill, has none. Only the entry itself would, and
the next publication replaces that.
"""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, delete, select, tuple_
from sqlalchemy.schema import Index, Table
from sqlalchemy.types import Date, String

from adwarm.model import EntryKey
from adwarm.store.columns import ACCOUNT_ID, UtcDateTime, key_column, metadata, to_row
from adwarm.store.database import BATCH_ROWS, insert_new, write_transaction

# When each entry was published. Maintenance deletes rows after `LIFETIME`.
table = Table(
    "entry_version",
    metadata,
    key_column("account_id", ACCOUNT_ID),
    key_column("since", Date),
    key_column("until", Date),
    key_column("spec_hash", String(12)),
    key_column("published_at", UtcDateTime()),
    Index(None, "published_at"),
)
LIFETIME: Final = timedelta(days=8)
"""How far back it is known: a week and the day before."""


def save(connection: Connection, keys: Collection[EntryKey], at: datetime) -> None:
    """Record that entries are published at a moment, in the transaction that does it."""
    rows = [{**to_row(key), "published_at": at} for key in keys]
    insert_new(connection, table, sorted(rows, key=lambda row: tuple(map(str, row.values()))))


def list_moments(connection: Connection, key: EntryKey) -> list[datetime]:
    """Return when an entry was published, newest first."""
    is_of_key = and_(*(table.c[name] == value for name, value in to_row(key).items()))
    query = select(table.c.published_at).where(is_of_key).order_by(table.c.published_at.desc())
    return list(connection.execute(query).scalars())


def delete_old(engine: Engine, before: datetime) -> Iterator[int]:
    """Delete what was recorded before `before`, and yield how many rows each transaction deleted."""
    keys: Any = tuple_(*table.primary_key.columns)
    old = select(*table.primary_key.columns).where(table.c.published_at < before).order_by(table.c.published_at)
    statement = delete(table).where(keys.in_(old.limit(BATCH_ROWS)))
    count = BATCH_ROWS
    while count == BATCH_ROWS:
        with write_transaction(engine) as connection:
            count = int(connection.execute(statement).rowcount)
        yield count
