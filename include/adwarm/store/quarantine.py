"""Damaged data that was found: it is set aside with a copy, and its row says when whole data replaced it.

The order is safe against a crash at any point: the copy is written first, then one transaction changes the rows, then
the object is deleted. A crash in between leaves a copy that garbage collection deletes, or a damaged object that the
next reader finds again.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from sqlalchemy import Connection, Engine, and_, delete, exists, func, select, text, update
from sqlalchemy.schema import Column, Index
from sqlalchemy.types import Date, String

from adwarm.foundation.errors import AdwarmError, NotFound
from adwarm.model import Window
from adwarm.store.columns import from_row, table_of, to_row
from adwarm.store.database import insert_new, read_statement, read_transaction, write_transaction
from adwarm.store.entries import find_payload
from adwarm.store.entries import table as entry
from adwarm.store.integrity_days import IntegrityCounts, add_within
from adwarm.store.objects import Context
from adwarm.store.partitions import table as partition
from adwarm.store.snapshots import forecast_snapshot, policy, policy_review

DamagedKind = Literal["entry", "partition", "snapshot", "aggregate"]
COPY_SUFFIX = ".damaged"
"""Suffix of the copies of damaged bytes in the object store."""
_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class DamagedItem:
    """Damaged data."""

    kind: Annotated[DamagedKind, 16, "`entry`, `partition`, `snapshot` or `aggregate`."]
    name: Annotated[str, 200, "Hash of its payload (`entry`) or of its object (all others)."]
    account_id: Annotated[str | None, "Account it belongs to; None for data of many."]
    reason: Annotated[str, "What is wrong."]
    found_at: Annotated[datetime, "When it was found."]


@dataclass(frozen=True, slots=True)
class QuarantinedItem:
    """Damaged data that was found and set aside, and when whole data replaced it."""

    item: DamagedItem
    copy_name: Annotated[str | None, 80, "Object with a copy of the damaged bytes; None when nothing could be read."]
    healed_at: Annotated[datetime | None, "When whole data replaced it; None while it is open."]
    outcome: Annotated[str | None, "What was done; None while it is open."]


table = table_of(
    QuarantinedItem,
    "quarantined_item",
    Column("spec_hash", String(12), doc="Hash of the query of a partition object's rows."),
    Column("since", Date, doc="First day whose rows were in a partition object."),
    Column("until", Date, doc="Last day whose rows were in a partition object."),
    Index(None, "found_at"),
    Index(
        "uq_quarantined_item_open",
        "kind",
        "name",
        unique=True,
        sqlite_where=text("healed_at IS NULL"),
        postgresql_where=text("healed_at IS NULL"),
    ),
    key=("id",),
    grows="damaged objects, payloads and snapshots",
    bound="deleted with their copies after `ADWARM_RETENTION__HISTORY_DAYS`",
)


def set_aside(context: Context, item: DamagedItem) -> None:
    """Set damaged data aside, so that it is not read again and whole data replaces it.

    A copy of its bytes is kept, if they can be read. Entries are marked degraded. The days in a partition object are
    deleted, so that they are fetched again, and so is the object. A snapshot is deleted unless a policy or a review
    names it. Data that is set aside already gets no second row.

    Raises:
        StorageError: the object store cannot be written; nothing has changed.
        Transient: the database cannot be reached; nothing has changed but a copy that garbage collection deletes.
    """
    copy_name = _copy(context, item)
    with write_transaction(context.engine) as connection:
        row = {**to_row(item), "reason": item.reason[:_REASON_LENGTH], "copy_name": copy_name}
        if item.kind == "partition":
            row |= _find_days(connection, item.name)
        insert_new(connection, table, [row])
        _change_rows(connection, item)
    if item.kind != "entry":
        _delete_damaged(context, item.name)


def mark_healed(engine: Engine, kind: DamagedKind, name: str, at: datetime, outcome: str) -> int:
    """Note that whole data has replaced damaged data; return how many open rows that closed.

    Without an open row it costs one short read.
    """
    return _close(engine, and_(table.c.kind == kind, table.c.name == name), at, outcome)


def mark_entries_healed(engine: Engine, account_ids: Collection[str], at: datetime) -> int:
    """Close the open rows of these accounts whose payload no degraded entry refers to any more; return their number."""
    is_used = exists().where(entry.c.payload_hash == table.c.name, entry.c.degraded)
    healed = and_(table.c.kind == "entry", table.c.account_id.in_(sorted(account_ids)), ~is_used)
    return _close(engine, healed, at, "the entry was fetched again")


def mark_days_healed(engine: Engine, account_id: str, spec_hash: str, days: Collection[date], at: datetime) -> int:
    """Close the open rows of an account's partition objects whose days were stored again; return their number."""
    if not days:
        return 0
    healed = and_(
        table.c.kind == "partition",
        table.c.account_id == account_id,
        table.c.spec_hash == spec_hash,
        table.c.since <= max(days),
        table.c.until >= min(days),
    )
    return _close(engine, healed, at, "the days were fetched again")


def mark_snapshots_healed(engine: Engine, at: datetime) -> int:
    """Close the open rows of snapshots that no policy names any more; return their number."""
    is_live = exists().where(
        policy.c.snapshot_id == forecast_snapshot.c.id, forecast_snapshot.c.object_hash == table.c.name
    )
    return _close(engine, and_(table.c.kind == "snapshot", ~is_live), at, "another snapshot is live")


def list_open(engine: Engine, limit: int) -> list[QuarantinedItem]:
    """Return up to `limit` rows of damaged data that nothing has replaced yet, newest first."""
    query = select(table).where(table.c.healed_at.is_(None)).order_by(table.c.found_at.desc(), table.c.id.desc())
    with read_transaction(engine) as connection:
        rows = connection.execute(query.limit(limit)).all()
    return [from_row(QuarantinedItem, row) for row in rows]


@dataclass(frozen=True, slots=True)
class LostDays:
    """Days of an account and query that were set aside and have not been fetched again."""

    account_id: str
    spec_hash: str
    window: Window

    def overlaps(self, window: Window) -> bool:
        """Return whether one of them is in `window`."""
        return self.window.since <= window.until and window.since <= self.window.until


def list_lost_days(engine: Engine, account_id: str | None = None) -> list[LostDays]:
    """Return the days, of one account or all, that were set aside and have not been fetched again.

    Those of an object with days of several accounts or queries are left out: nothing says which of them were lost.
    """
    is_lost = and_(table.c.healed_at.is_(None), table.c.kind == "partition", table.c.since.is_not(None))
    query = select(table.c.account_id, table.c.spec_hash, table.c.since, table.c.until).where(is_lost)
    if account_id is not None:
        query = query.where(table.c.account_id == account_id)
    with read_statement(engine) as connection:
        rows = connection.execute(query.order_by(table.c.id)).all()
    return [from_row(LostDays, row) for row in rows]


def list_open_names(engine: Engine) -> set[tuple[str, str]]:
    """Return kind and name of the open rows."""
    query = select(table.c.kind, table.c.name).where(table.c.healed_at.is_(None))
    with read_transaction(engine) as connection:
        return {(kind, name) for kind, name in connection.execute(query)}


def list_open_accounts(engine: Engine) -> list[str]:
    """Return the accounts that have an open row of an entry."""
    is_open = and_(table.c.healed_at.is_(None), table.c.kind == "entry", table.c.account_id.is_not(None))
    with read_transaction(engine) as connection:
        return sorted(connection.execute(select(table.c.account_id).where(is_open).distinct()).scalars())


def count_open(engine: Engine) -> dict[str, int]:
    """Return the number of open rows by kind."""
    query = select(table.c.kind, func.count()).where(table.c.healed_at.is_(None)).group_by(table.c.kind)
    with read_transaction(engine) as connection:
        return {kind: int(number) for kind, number in connection.execute(query.order_by(table.c.kind))}


def list_copies(engine: Engine) -> set[str]:
    """Return the hashes of the copies that rows refer to."""
    with read_transaction(engine) as connection:
        names = connection.execute(select(table.c.copy_name).where(table.c.copy_name.is_not(None))).scalars()
        return {str(name) for name in names}


def delete_before(context: Context, before: datetime) -> int:
    """Delete the rows of damaged data that was found before `before`, with their copies; return their number.

    A copy that another row refers to stays.
    """
    old = table.c.found_at < before
    with write_transaction(context.engine) as connection:
        names = set(connection.execute(select(table.c.copy_name).where(old)).scalars())
        deleted = int(connection.execute(delete(table).where(old)).rowcount)
    for name in sorted(name for name in names - list_copies(context.engine) if name is not None):
        context.objects.delete(name, COPY_SUFFIX)
    return deleted


def _copy(context: Context, item: DamagedItem) -> str | None:
    """Keep a copy of the damaged bytes and return its hash; None when they cannot be read."""
    data: bytes | None = None
    if item.kind == "entry":
        data = find_payload(context.engine, item.name)
    else:
        with suppress(AdwarmError, OSError):
            data = context.objects.read_unverified(item.name)
    return None if data is None else context.objects.put(data, COPY_SUFFIX)


def _find_days(connection: Connection, object_hash: str) -> Mapping[str, Any]:
    """Return the account, query and days of the rows in an object; nothing when they are of several."""
    columns = (partition.c.account_id, partition.c.spec_hash)
    query = select(*columns, func.min(partition.c.day), func.max(partition.c.day)).group_by(*columns)
    rows = connection.execute(query.where(partition.c.object_hash == object_hash)).all()
    if len(rows) != 1:
        return {}
    account_id, spec_hash, since, until = rows[0]
    return {"account_id": account_id, "spec_hash": spec_hash, "since": since, "until": until}


def _change_rows(connection: Connection, item: DamagedItem) -> None:
    if item.kind == "entry":
        changes = {"degraded": True, "degraded_reason": item.reason[:_REASON_LENGTH]}
        connection.execute(update(entry).where(entry.c.payload_hash == item.name).values(changes))
    elif item.kind == "partition":
        connection.execute(delete(partition).where(partition.c.object_hash == item.name))
    elif item.kind == "snapshot":
        snapshot_id = forecast_snapshot.c.id
        is_live = exists().where(policy.c.snapshot_id == snapshot_id)
        is_reviewed = exists().where(policy_review.c.proposed_snapshot == snapshot_id)
        damaged = forecast_snapshot.c.object_hash == item.name
        connection.execute(delete(forecast_snapshot).where(damaged, ~is_live, ~is_reviewed))


def _delete_damaged(context: Context, name: str) -> None:
    """Delete an object unless another process has written it again meanwhile."""
    try:
        context.objects.get(name, from_storage=True)
    except NotFound:
        return
    except AdwarmError:
        context.objects.delete(name)


def _close(engine: Engine, which: Any, at: datetime, outcome: str) -> int:
    is_open = and_(table.c.healed_at.is_(None), which)
    with read_statement(engine) as connection:
        if connection.execute(select(table.c.id).where(is_open).limit(1)).first() is None:
            return 0
    values = {"healed_at": at, "outcome": outcome[:_REASON_LENGTH]}
    with write_transaction(engine) as connection:
        closed = connection.execute(update(table).where(is_open).values(values).returning(table.c.kind)).scalars().all()
        counts = {kind: IntegrityCounts(healed=number) for kind, number in Counter(closed).items()}
        add_within(connection, at, counts)
    return len(closed)
