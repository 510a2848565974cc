"""Checks one stored thing at a time: an entry, a partition object, an aggregate object or a forecast snapshot.

A check never fails: whatever goes wrong with a thing is its problem, and the next one is checked. Only a database that
cannot be reached ends the caller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.compression import decode_document
from adwarm.compression.stored_bytes import verify_bytes, verify_document
from adwarm.forecast.snapshot import read_snapshot
from adwarm.foundation.errors import AdwarmError, Corrupt, NotFound, StorageError, Transient
from adwarm.foundation.redaction import redact
from adwarm.model import ColumnTable, EntryKey, ReportKey, Snapshot, spell_account_id
from adwarm.store import Context, aggregates, entries, partitions, read_transaction, snapshots
from adwarm.store.entries import Entry
from adwarm.store.partition_rows import read_partition_table
from adwarm.store.partitions import PartitionState
from adwarm.store.quarantine import DamagedKind
from adwarm_client.document import Document

KINDS: Final[tuple[DamagedKind, ...]] = ("snapshot", "aggregate", "partition", "entry")
"""What is checked, in this order: first what is small and used by everything."""
PAGE: Final = 200
"""Things that are listed at a time."""
_DISK_ERROR: Final = "disk_error"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a stored thing.

    Attributes:
        name: the hash of its payload or object.
        subject: what it holds, for a human.
        account_id: the account it belongs to; None for data of many accounts.
        is_damaged: whether its bytes are damaged or lost, so that it has to be replaced. Otherwise they cannot be read
            now, or this version cannot use them.
    """

    kind: DamagedKind
    name: str
    subject: str
    reason: str
    account_id: str | None = None
    is_damaged: bool = True
    key: ReportKey | None = None


class Checked(NamedTuple):
    """The result of a check: the name, the bytes that were read, and the problem if there is one."""

    name: str
    bytes: int
    problem: Problem | None


class Item(NamedTuple):
    """A stored thing that can be checked.

    Attributes:
        cursor: where a later run goes on after it, as JSON.
    """

    cursor: Any
    check: Callable[[], Checked]


def run_check(item: Item) -> Checked:
    """Check an item and return the result."""
    return item.check()


def list_items(context: Context, kind: DamagedKind, after: Any, limit: int = PAGE) -> list[Item]:
    """Return up to `limit` things of a kind that come after a cursor, in a fixed order; None begins at the first."""
    if kind == "entry":
        return _list_entries(context, after, limit)
    if kind == "snapshot":
        return _list_snapshots(context, after, limit)
    with read_transaction(context.engine) as connection:
        listing = partitions.list_object_hashes if kind == "partition" else aggregates.list_object_hashes
        digests = listing(connection, after or "", limit)
    check = _check_partition if kind == "partition" else _check_aggregate
    return [Item(digest, _bind(_check_object, context, kind, digest, check)) for digest in digests]


def count_items(context: Context) -> int:
    """Return how many things there are to check."""
    with read_transaction(context.engine) as connection:
        objects = partitions.count_objects(connection) + aggregates.count_objects(connection)
        return objects + len(snapshots.list_snapshots(connection)) + entries.count(connection)


def _list_entries(context: Context, after: Any, limit: int) -> list[Item]:
    listed = entries.list_after(context.engine, None if after is None else entries.key_from_json(after), limit)
    return [Item(entries.key_to_json(entry.key), _bind(_check_entry, context, entry)) for entry in listed]


def _list_snapshots(context: Context, after: Any, limit: int) -> list[Item]:
    with read_transaction(context.engine) as connection:
        stored = sorted(snapshots.list_snapshots(connection), key=lambda snapshot: snapshot.id)
        deployed = snapshots.list_deployed_ids(connection)
    rest = [snapshot for snapshot in stored if after is None or snapshot.id > after][:limit]
    return [Item(item.id, _bind(_check_snapshot, context, item, item.id in deployed)) for item in rest]


def _bind(check: Callable[..., Checked], *arguments: Any) -> Callable[[], Checked]:
    return lambda: check(*arguments)


def _check_entry(context: Context, entry: Entry) -> Checked:
    key = ReportKey(entry.key.account_id, entry.date_range, entry.report)
    size = 0

    def problem(reason: str, *, is_damaged: bool) -> Problem:
        subject = f"{entry.key.account_id} {entry.key.window}"
        return Problem(
            kind="entry",
            name=entry.payload_hash,
            subject=subject,
            reason=reason,
            account_id=entry.key.account_id,
            is_damaged=is_damaged,
            key=key,
        )

    def check() -> None:
        nonlocal size
        sealed = entries.find_payload(context.engine, entry.payload_hash)
        if sealed is None:
            raise NotFound("its stored bytes are lost")
        size = len(sealed)
        envelope = verify_bytes(entry, sealed)
        raw = verify_document(entry, envelope, context.settings.compression)
        _check_document(decode_document(raw, envelope.content_type), entry.key)

    defect = _run(context, check, problem)
    if defect is not None and _has_changed(context, entry):
        defect = None  # a fetch has replaced it meanwhile
    return Checked(entry.payload_hash, size, defect)


def _has_changed(context: Context, entry: Entry) -> bool:
    stored, _ = entries.find_with_zones(context.engine, [entry.key])[entry.key]
    return stored is None or stored.payload_hash != entry.payload_hash


def _check_document(document: Document, key: EntryKey) -> None:
    header = document.header
    if (header.account_id, header.since, header.until) != (key.account_id, key.window.since, key.window.until):
        raise Corrupt("the document is that of another account or window")
    for table in (document.daily, document.window_table):
        _check_account(table, {key.account_id})


def _check_account(table: ColumnTable, account_ids: set[str]) -> None:
    """Check that rows which name their account name one of these."""
    spelled = {name for account_id in account_ids for name in spell_account_id(account_id)}
    for value in set(table.columns.get("account_id", ())):
        if value is not None and value not in spelled:
            raise Corrupt("it holds rows of another account")


def _check_object(
    context: Context, kind: DamagedKind, digest: str, check: Callable[[Context, str, bytes], None]
) -> Checked:
    size = 0

    def problem(reason: str, *, is_damaged: bool) -> Problem:
        return Problem(
            kind=kind, name=digest, subject=digest[:12], reason=reason, account_id=None, is_damaged=is_damaged
        )

    def read() -> None:
        nonlocal size
        data = context.objects.get(digest, from_storage=True)
        size = len(data)
        check(context, digest, data)

    defect = _run(context, read, problem)
    return Checked(digest, size, defect)


def _check_partition(context: Context, digest: str, data: bytes) -> None:
    table = read_partition_table(data)
    stored = partitions.list_by_object(context.engine, digest)
    if table.rows:
        _check_account(table, {account_id for account_id, _ in stored})
    days: dict[str, int] = {}
    for day in table.columns.get("date_start", ()):
        days[day] = days.get(day, 0) + 1
    for account_id, state in stored:
        _check_day(account_id, state, days)


def _check_day(account_id: str, state: PartitionState, rows: dict[str, int]) -> None:
    count = rows.get(state.day.isoformat(), 0)
    if count != state.rows:
        raise Corrupt(f"it holds {count} rows of {account_id} on {state.day:%Y-%m-%d} instead of {state.rows}")


def _check_aggregate(_context: Context, _digest: str, data: bytes) -> None:
    pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def _check_snapshot(context: Context, snapshot: Snapshot, is_deployed: bool) -> Checked:
    name = f"{snapshot.kind}, trained until {snapshot.trained_until:%Y-%m-%d}{', live' if is_deployed else ''}"
    size = 0

    def problem(reason: str, *, is_damaged: bool) -> Problem:
        return Problem(
            kind="snapshot",
            name=snapshot.object_hash,
            subject=name,
            reason=reason,
            account_id=None,
            is_damaged=is_damaged,
        )

    def check() -> None:
        nonlocal size
        size = len(context.objects.get(snapshot.object_hash, from_storage=True))

    def load() -> None:
        read_snapshot(context, snapshot)

    defect = _run(context, check, problem)
    if defect is None and is_deployed:  # loading others would only prove what their checksum proves
        unusable = _run(context, load, problem)
        defect = None if unusable is None else problem(unusable.reason, is_damaged=False)
    return Checked(snapshot.object_hash, size, defect)


def _run(context: Context, check: Callable[[], None], problem: Callable[..., Problem]) -> Problem | None:
    """Return the problem that a check raises, None when it passes."""
    try:
        check()
    except StorageError as error:
        return problem(redact(str(error)), is_damaged=error.code == _DISK_ERROR and _works(context))
    except Transient:
        raise
    except AdwarmError as error:
        return problem(redact(str(error)), is_damaged=True)
    except Exception as error:  # a decoder may raise anything, and nothing may stop the scrub
        return problem(f"it cannot be decoded ({type(error).__name__})", is_damaged=True)
    return None


def _works(context: Context) -> bool:
    """Whether the object store works, so that a file which cannot be read is lost, and not the whole disk away."""
    try:
        context.objects.check()
    except AdwarmError:
        return False
    return True
