"""Earlier documents of a report key, kept as dictionaries for the deltas that returning readers get.

The version that is published is kept as well, since the next one may be sent as a delta against it. A version refers to
the payload of its entry; compressing it again replaces the payload of both.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, and_, bindparam, delete, select, tuple_
from sqlalchemy.schema import Column, ForeignKey, Index, Table
from sqlalchemy.types import Date, Integer, String

from adwarm.model import ReportKey, Window
from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import BATCH_ROWS, read_transaction, upsert, write_transaction
from adwarm.store.payloads import table as payload

# Earlier documents of a report key, as dictionaries for returning readers. Bounded by bytes, number and age per key.
table = Table(
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


_KEY = (table.c.account_id, table.c.date_range, table.c.report)
_SIZES = (
    select(*_KEY, table.c.content_hash, table.c.stored_bytes, table.c.created_at)
    .where(tuple_(*_KEY).in_(bindparam("keys", expanding=True)))
    .order_by(table.c.created_at.desc(), table.c.content_hash)
)


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """A document as it was published.

    Attributes:
        key: the report key it was published for. Its window may answer other date ranges too.
        content_hash: SHA-256 of the decoded document, in hex.
        created_at: when it was last published, UTC; relative date ranges were resolved at this moment.
    """

    key: ReportKey
    window: Window
    spec_hash: str
    content_hash: str
    payload_hash: str
    raw_bytes: int
    stored_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class VersionLimits:
    """What is kept of each report key.

    Attributes:
        stored_bytes: sum of the compressed bytes; 0 keeps nothing. A large report keeps a few, a small one all.
        count: number of versions: two days of a report that is fetched every three hours.
        age: older ones are deleted; browsers use a document for 7 days.
    """

    stored_bytes: int = 2 * 2**20
    count: int = 16
    age: timedelta = timedelta(days=8)


class StoredVersion(NamedTuple):
    """A version with its sealed bytes, which may be damaged."""

    version: EntryVersion
    sealed: bytes


def save(connection: Connection, versions: Collection[EntryVersion], limits: VersionLimits) -> None:
    """Keep versions that are being published, and delete the oldest of their keys beyond the limits.

    Called within the transaction that publishes their entries.
    """
    if limits.stored_bytes <= 0 or not versions:
        return
    rows = {(version.key, version.content_hash): to_row(version) for version in versions}
    upsert(connection, table, [rows[key] for key in sorted(rows)])
    names = sorted({(version.key.account_id, version.key.date_range, version.key.report) for version in versions})
    newest_first = connection.execute(_SIZES, {"keys": names}).all()
    excess = [
        row[:4] for name in names for row in _find_excess([row for row in newest_first if row[:3] == name], limits)
    ]
    if excess:
        connection.execute(delete(table).where(tuple_(*_KEY, table.c.content_hash).in_(excess)))


def find(engine: Engine, account_id: str, report: str, spec_hash: str, content_hash: str) -> Sequence[StoredVersion]:
    """Return the kept versions of an account's report with this content, one for each date range it was published for.

    Rows of other accounts are not looked at, so their documents have no influence on the result or its timing.
    """
    query = (
        select(table, payload.c.body)
        .join(payload, payload.c.hash == table.c.payload_hash)
        .where(
            table.c.account_id == account_id,
            table.c.report == report,
            table.c.spec_hash == spec_hash,
            table.c.content_hash == content_hash,
        )
        .order_by(table.c.date_range)
    )
    with read_transaction(engine) as connection:
        return [StoredVersion(from_row(EntryVersion, row), bytes(row.body)) for row in connection.execute(query)]


def list_versions(connection: Connection, key: ReportKey) -> list[EntryVersion]:
    """Return the versions kept for a report key, newest first."""
    query = select(table).where(_is_of(key)).order_by(table.c.created_at.desc(), table.c.content_hash)
    return [from_row(EntryVersion, row) for row in connection.execute(query)]


def move_payload(connection: Connection, old: str, new: str, stored_bytes: int) -> None:
    """Let versions refer to another payload of the same document."""
    values = {"payload_hash": new, "stored_bytes": stored_bytes}
    connection.execute(table.update().where(table.c.payload_hash == old).values(**values))


def delete_old(engine: Engine, before: datetime) -> Iterator[int]:
    """Delete versions that were last published before `before`, and yield how many each transaction deleted."""
    old = select(*table.primary_key.columns).where(table.c.created_at < before).order_by(table.c.created_at)
    statement = delete(table).where(tuple_(*table.primary_key.columns).in_(old.limit(BATCH_ROWS)))
    count = BATCH_ROWS
    while count == BATCH_ROWS:
        with write_transaction(engine) as connection:
            count = int(connection.execute(statement).rowcount)
        yield count


def _find_excess(versions: Sequence[Any], limits: VersionLimits) -> list[Any]:
    """Return those of the versions of one key, newest first, that are beyond the limits."""
    total, excess = 0, []
    for number, version in enumerate(versions):
        total += version.stored_bytes
        is_old = version.created_at < versions[0].created_at - limits.age
        if total > limits.stored_bytes or number >= limits.count or is_old:
            excess.append(version)
    return excess


def _is_of(key: ReportKey) -> Any:
    return and_(*(table.c[name] == value for name, value in to_row(key).items()))
