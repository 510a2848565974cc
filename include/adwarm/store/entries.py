"""Entries: the stored answer for one account, window and query. Payloads are their sealed bytes, by their hash."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, and_, bindparam, delete, func, literal, or_, select, text, tuple_
from sqlalchemy.schema import DefaultClause, ForeignKey, Index, Table
from sqlalchemy.types import BigInteger, LargeBinary, String

from adwarm.model import PRESETS, EntryKey, ReportKey, Window
from adwarm.store.accounts import table as account
from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, table_of, to_row, value_column
from adwarm.store.database import BATCH_ROWS, read_statement, read_transaction, upsert, write_transaction
from adwarm.store.objects import Context
from adwarm_client.date_ranges import absolute_window

FOREVER = datetime.max.replace(tzinfo=UTC)
"""Expiry of an entry that never expires."""
_LOADED_AT_ONCE = 50
"""Payloads that `find_each` has in memory at a time."""


# Grows with the entries. Garbage collection deletes a payload 24 hours after its last entry is gone.
payload = Table(
    "payload",
    metadata,
    key_column("hash", String(64)),
    value_column("body", LargeBinary),
    value_column("created_at", UtcDateTime()),
)
_ZONES = select(account.c.id, account.c.data_zone).where(account.c.id.in_(bindparam("names", expanding=True)))


@dataclass(frozen=True, slots=True)
class Entry:
    """The metadata of an entry, the stored answer for an account, absolute window and query.

    `expires_at` is None when its data is final. `content_hash` is the SHA-256 of the document before compression.
    `reads` and `last_read_at` stay when the entry is fetched again.
    """

    key: EntryKey
    date_range: Annotated[str, "Date range that was last resolved to this window."]
    report: Annotated[str, "Report of the settings that the query belongs to."]
    codec: Annotated[str, 16, "Codec of the payload: `zstd`, `gzip`, `brotli` or `identity`."]
    raw_bytes: Annotated[int, "Size of the answer before compression."]
    stored_bytes: Annotated[int, "Size of the payload."]
    fetched_at: Annotated[datetime, "Age of the answer: when its oldest due part was fetched."]
    expires_at: Annotated[datetime | None, "When the entry stops being fresh; None when its data is final."]
    source: Annotated[str, 40, "Source that answered."]
    complete: Annotated[bool, "Whether every day and summary of the window could be read."] = True
    settled: Annotated[bool, "Whether every day of the window is final."] = False
    degraded: Annotated[bool, "Whether the answer came from a fallback."] = False
    degraded_reason: Annotated[str | None, "Why it is degraded or incomplete."] = None
    data_version: Annotated[int, "Version of the data; grows when the platform restates a day."] = 1
    api_version: Annotated[str, 16, "Version of the platform's API."] = ""
    payload_hash: Annotated[str, 64, ForeignKey("payload.hash"), "Payload that holds the answer."] = ""
    reads: Annotated[
        int, BigInteger(), DefaultClause("0"), "How often it was read, also before it was last fetched."
    ] = 0
    last_read_at: Annotated[datetime | None, "When it was last read."] = None
    content_hash: Annotated[str, 64, "SHA-256 of the decoded document; its ETag and dictionary hash."] = ""

    def is_fresh(self, at: datetime) -> bool:
        """Whether the entry may be served as fresh at `at`."""
        return not self.degraded and (self.expires_at is None or at < self.expires_at)


table = table_of(
    Entry,
    "entry",
    value_column("token", BigInteger, 0, doc="Fencing token of the lease under which it was written."),
    Index(None, "expires_at"),
    Index("ix_entry_degraded", "account_id", sqlite_where=text("degraded"), postgresql_where=text("degraded")),
    key=("account_id", "since", "until", "spec_hash"),
    grows="windows that were warmed or fetched; a rolling range adds one a day for each key",
    bound="deleted when its range means other days and nobody read it for 35 days, and over `ADWARM_CACHE__MAX_BYTES`",
)


class EntryLifetime(NamedTuple):
    """When an entry was fetched, when it expires (`FOREVER` when its data is final), and the hash of its payload."""

    fetched_at: datetime
    expires_at: datetime
    payload_hash: str


def find(engine: Engine, key: EntryKey) -> tuple[Entry, bytes] | None:
    """Return an entry and its sealed bytes, or None."""
    query = select(table, payload.c.body).join(payload, payload.c.hash == table.c.payload_hash).where(_matches(key))
    with read_transaction(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else (from_row(Entry, row), bytes(row.body))


def find_payload(engine: Engine, payload_hash: str) -> bytes | None:
    """Return sealed bytes by their hash, or None."""
    with read_statement(engine) as connection:
        body = connection.execute(select(payload.c.body).where(payload.c.hash == payload_hash)).scalar_one_or_none()
    return None if body is None else bytes(body)


def find_each(engine: Engine, keys: Iterable[EntryKey]) -> Iterator[tuple[Entry, bytes]]:
    """Yield the entries of `keys` that exist with their sealed bytes, in no order; one statement reads up to 50."""
    remaining = sorted(set(keys))
    while remaining:
        some, remaining = remaining[:_LOADED_AT_ONCE], remaining[_LOADED_AT_ONCE:]
        with read_statement(engine) as connection:
            rows = connection.execute(_WITH_BYTES, {"keys": [tuple(to_row(key).values()) for key in some]}).all()
        yield from ((from_row(Entry, row), bytes(row.body)) for row in rows)


def find_with_zones(engine: Engine, keys: Collection[EntryKey]) -> dict[EntryKey, tuple[Entry | None, str | None]]:
    """Return entries without their bytes, each with the data zone of its account; None for what is not stored.

    One statement reads all of them, and one more the zones of accounts without such an entry. The caller compares a
    zone with the one by which it has resolved the key.
    """
    with read_statement(engine) as connection:
        values = [tuple(to_row(key).values()) for key in keys]
        rows = connection.execute(_WITH_ZONES, {"keys": values}).all()
        stored = {entry.key: (entry, row.data_zone) for row in rows for entry in [from_row(Entry, row)]}
        names = {key.account_id for key in keys if key not in stored}
        zones: dict[str, str] = {}
        if names:
            zones = {row.id: row.data_zone for row in connection.execute(_ZONES, {"names": sorted(names)})}
    return {key: stored.get(key) or (None, zones.get(key.account_id)) for key in keys}


def is_stored(connection: Connection, key: ReportKey) -> bool:
    """Whether an answer for a report key is stored: under the range's name for any days, or for the days it names."""
    same = [table.c.date_range == key.date_range]
    if key.date_range not in PRESETS:
        days = absolute_window(key.date_range)
        same.append(and_(table.c.since == days.since, table.c.until == days.until))
    mine = (table.c.account_id == key.account_id, table.c.report == key.report)
    return connection.execute(select(literal(1)).where(*mine, or_(*same)).limit(1)).one_or_none() is not None


def list_entries(engine: Engine, account_id: str | None = None) -> list[Entry]:
    """Return entries without their bytes, newest first."""
    query = select(table).order_by(table.c.fetched_at.desc())
    if account_id:
        query = query.where(table.c.account_id == account_id)
    with read_transaction(engine) as connection:
        return [from_row(Entry, row) for row in connection.execute(query)]


def list_after(engine: Engine, after: EntryKey | None, limit: int) -> list[Entry]:
    """Return up to `limit` entries without their bytes that come after a key, in the order of their keys."""
    names = (table.c.account_id, table.c.since, table.c.until, table.c.spec_hash)
    query = select(table).order_by(*names).limit(limit)
    if after is not None:
        # One row value, so that the primary key finds where to go on.
        values = zip(names, (after.account_id, after.window.since, after.window.until, after.spec_hash), strict=True)
        query = query.where(tuple_(*names) > tuple_(*(literal(value, name.type) for name, value in values)))
    with read_transaction(engine) as connection:
        return [from_row(Entry, row) for row in connection.execute(query)]


def count(connection: Connection) -> int:
    """Return the number of entries."""
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def key_to_json(key: EntryKey) -> list[str]:
    """Return a key as JSON values."""
    return [key.account_id, key.window.since.isoformat(), key.window.until.isoformat(), key.spec_hash]


def key_from_json(values: Sequence[str]) -> EntryKey:
    """Return the key that `key_to_json` returned."""
    account_id, since, until, spec_hash = values
    return EntryKey(account_id, Window(date.fromisoformat(since), date.fromisoformat(until)), spec_hash)


def find_many(engine: Engine, hashes: Mapping[EntryKey, str]) -> list[tuple[Entry, bytes]]:
    """Return the entries of up to some hundred keys with their sealed bytes.

    Keys without an entry are left out, and so are those whose payload has another hash by now than `hashes` says.
    """
    names = {key.account_id for key in hashes}
    where = table.c.account_id.in_(sorted(names)), table.c.payload_hash.in_(sorted(set(hashes.values())))
    query = select(table, payload.c.body).join(payload, payload.c.hash == table.c.payload_hash)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.where(*where)).all()
    pairs = [(from_row(Entry, row), bytes(row.body)) for row in rows]
    return [(entry, sealed) for entry, sealed in pairs if hashes.get(entry.key) == entry.payload_hash]


def find_lifetimes(engine: Engine, keys: Iterable[EntryKey]) -> dict[EntryKey, EntryLifetime]:
    """Return when each entry was fetched and when it expires. Missing and degraded entries are left out."""
    requested = set(keys)
    accounts = sorted({key.account_id for key in requested})
    lifetimes: dict[EntryKey, EntryLifetime] = {}
    names = ("account_id", "since", "until", "spec_hash", "fetched_at", "expires_at", "payload_hash")
    with read_transaction(engine) as connection:
        for start in range(0, len(accounts), 500):
            some = accounts[start : start + 500]
            query = select(*(table.c[name] for name in names)).where(
                table.c.account_id.in_(some), table.c.degraded.is_(False)
            )
            for row in connection.execute(query):
                key = EntryKey(row.account_id, Window(row.since, row.until), row.spec_hash)
                if key in requested:
                    lifetimes[key] = EntryLifetime(row.fetched_at, row.expires_at or FOREVER, row.payload_hash)
    return lifetimes


def list_weeks(engine: Engine, account_ids: Iterable[str], spec_hash: str, since: date) -> dict[EntryKey, Entry]:
    """Return the entries of windows of seven days that end on `since` or later, of up to some hundreds of accounts."""
    query = select(table).where(
        table.c.account_id.in_(sorted(account_ids)), table.c.spec_hash == spec_hash, table.c.until >= since
    )
    with read_transaction(engine) as connection:
        weeks = [from_row(Entry, row) for row in connection.execute(query) if (row.until - row.since).days == 6]
    return {item.key: item for item in weeks}


def publish(connection: Connection, items: Sequence[tuple[Entry, bytes]], token: int, at: datetime) -> list[str]:
    """Store entries with their sealed bytes, within the caller's fenced transaction; an entry's reads are kept.

    Returns:
        The payload hash of each of `items`, in their order.
    """
    hashes = [sha256(blob).hexdigest() for _, blob in items]
    blobs = {digest: blob for digest, (_, blob) in zip(hashes, items, strict=True)}
    _save_payloads(connection, blobs, at)
    pairs = zip(hashes, (item for item, _ in items), strict=True)
    # In one order, as in `add_reads`, so that the two cannot wait for each other's rows.
    rows = [
        {**to_row(item, without=("reads", "last_read_at")), "payload_hash": digest, "token": token}
        for digest, item in sorted(pairs, key=lambda pair: pair[1].key)
    ]
    upsert(connection, table, rows)
    return hashes


def _save_payloads(connection: Connection, blobs: dict[str, bytes], at: datetime) -> None:
    """Write payloads even if their hash exists: the stored one may be damaged, or about to be deleted as an orphan."""
    upsert(connection, payload, [{"hash": digest, "body": body, "created_at": at} for digest, body in blobs.items()])


def replace_payload(connection: Connection, item: Entry, sealed: bytes, at: datetime) -> bool:
    """Replace an entry's bytes by a copy that was compressed again.

    Returns:
        False when the entry has changed meanwhile; then nothing is replaced.
    """
    digest = sha256(sealed).hexdigest()
    _save_payloads(connection, {digest: sealed}, at)
    same = and_(_matches(item.key), table.c.payload_hash == item.payload_hash)
    values = {"payload_hash": digest, "codec": item.codec, "stored_bytes": item.stored_bytes}
    return bool(connection.execute(table.update().where(same).values(**values)).rowcount)


def list_to_repair(engine: Engine, after: EntryKey | None, now: datetime, limit: int) -> list[Entry]:
    """Return up to `limit` entries that need repair, in the order of their keys.

    Those are degraded entries, and entries of which something could not be read, once they are due again.

    Args:
        after: only entries after this key.
    """
    has_gap = and_(table.c.degraded_reason.is_not(None), table.c.expires_at <= now)
    query = select(table).where(or_(table.c.degraded, has_gap)).order_by(*table.primary_key.columns).limit(limit)
    if after is not None:
        position = tuple_(after.account_id, after.window.since, after.window.until, after.spec_hash)
        query = query.where(tuple_(*table.primary_key.columns) > position)
    with read_transaction(engine) as connection:
        return [from_row(Entry, row) for row in connection.execute(query)]


def list_degraded(engine: Engine, limit: int) -> list[Row[Any]]:
    """Return the `reason` of degraded `entries`, the most frequent first, and the `total` of all reasons.

    `oldest` is when the oldest of them was fetched, `example` an account with one.
    """
    columns = (
        table.c.degraded_reason.label("reason"),
        func.count().label("entries"),
        func.min(table.c.fetched_at).label("oldest"),
        func.min(table.c.account_id).label("example"),
        func.sum(func.count()).over().label("total"),
    )
    query = select(*columns).where(table.c.degraded).group_by(table.c.degraded_reason)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.order_by(func.count().desc(), table.c.degraded_reason).limit(limit))
        return list(rows)


def add_reads(engine: Engine, counts: Mapping[EntryKey, int], at: datetime) -> None:
    """Add reads to entries in one transaction; entries that are gone are left out, and no count means no transaction.

    Args:
        counts: reads by entry since the last call.
        at: when the last of them was, UTC.
    """
    if not counts:
        return
    # In one order, so that two processes cannot wait for each other's rows.
    rows = [
        {"b_reads": count, **{f"b_{name}": value for name, value in to_row(key).items()}}
        for key, count in sorted(counts.items())
    ]
    same = and_(*(column == bindparam(f"b_{column.name}") for column in table.primary_key))
    with write_transaction(engine) as connection:
        changes = {"reads": table.c.reads + bindparam("b_reads"), "last_read_at": at}
        connection.execute(table.update().where(same).values(changes), rows)


def mark_degraded(engine: Engine, item: Entry, reason: str) -> None:
    """Mark an entry as degraded, so that it is fetched again. An entry that was replaced meanwhile does not change."""
    same = and_(_matches(item.key), table.c.payload_hash == item.payload_hash, table.c.fetched_at == item.fetched_at)
    with write_transaction(engine) as connection:
        connection.execute(table.update().where(same).values(degraded=True, degraded_reason=reason[:500]))


def mark_damaged(context: Context, entry: Entry, error: Exception) -> None:
    """Mark an entry as degraded, so that it is fetched again, and report the damage.

    Raises:
        Transient: the database cannot be reached; the next reader notices the damage again.
    """
    mark_degraded(context.engine, entry, str(error))
    key = ReportKey(entry.key.account_id, entry.date_range, entry.report)
    context.on_damage(error, key.account_id, str(key))


def delete_unchanged(engine: Engine, items: Iterable[Entry]) -> list[Entry]:
    """Delete entries that are still as they were read, and return those; their payloads stay until no row uses them."""
    deleted = []
    with write_transaction(engine) as connection:
        for item in items:
            same = and_(
                _matches(item.key), table.c.payload_hash == item.payload_hash, table.c.fetched_at == item.fetched_at
            )
            if connection.execute(delete(table).where(same)).rowcount:
                deleted.append(item)
    return deleted


def get_totals(engine: Engine) -> dict[str, int]:
    """Return the number of entries, and their bytes before and after compression."""
    query = select(
        func.count(), func.coalesce(func.sum(table.c.raw_bytes), 0), func.coalesce(func.sum(table.c.stored_bytes), 0)
    )
    with read_transaction(engine) as connection:
        count, raw, stored = connection.execute(query).one()
    return {"entries": int(count), "raw_bytes": int(raw), "stored_bytes": int(stored)}


def delete_orphans(engine: Engine, before: datetime) -> Iterator[int]:
    """Delete payloads older than `before` that no entry refers to.

    Yields how many each transaction deleted.
    """
    used = select(table.c.payload_hash)
    unused = select(payload.c.hash).where(payload.c.created_at < before, payload.c.hash.not_in(used)).limit(BATCH_ROWS)
    count = BATCH_ROWS
    while count == BATCH_ROWS:
        with write_transaction(engine) as connection:
            count = int(connection.execute(delete(payload).where(payload.c.hash.in_(unused))).rowcount)
        yield count


_KEY = tuple_(*(table.c[name] for name in ("account_id", "since", "until", "spec_hash")))
_WITH_ZONES = (
    select(account.c.data_zone, table)
    .select_from(table.outerjoin(account, account.c.id == table.c.account_id))
    .where(_KEY.in_(bindparam("keys", expanding=True)))
)
_WITH_BYTES = (
    select(table, payload.c.body)
    .join(payload, payload.c.hash == table.c.payload_hash)
    .where(_KEY.in_(bindparam("keys", expanding=True)))
)


def _matches(key: EntryKey) -> Any:
    return and_(*(table.c[name] == value for name, value in to_row(key).items()))
