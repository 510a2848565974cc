"""Arrivals of data: days of accounts whose data has arrived or was restated, as other systems report it.

A reported day is fetched again whatever its age, and the entries that contain it are no longer fresh. Times decide
both, so a fetch that began before the report does not hide it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

from sqlalchemy import Connection, Engine, and_, bindparam, func, or_, select, true, update
from sqlalchemy.schema import Column, Index
from sqlalchemy.types import String

from adwarm.model import Window
from adwarm.store.columns import UtcDateTime, from_row, table_of
from adwarm.store.database import read_transaction, upsert, write_transaction
from adwarm.store.entries import table as entry
from adwarm.store.partitions import table as partition


@dataclass(frozen=True, slots=True)
class DataArrival:
    """A day of an account whose data has arrived or was restated, as another system reports it."""

    account_id: str
    day: Annotated[date, "Day of the data."]
    arrived_at: Annotated[datetime, "When it was reported last."]
    origin: Annotated[str, 80, "Who reported it: `asset`, `api` or `cli`."]


table = table_of(
    DataArrival,
    "data_arrival",
    Column("planned_at", UtcDateTime(), doc="When a run planned warms for it; empty: not yet."),
    Column("planned_run", String(250), doc="That run."),
    Index(None, "arrived_at"),
    key=("account_id", "day"),
    grows="reported days",
    bound="deleted after `ADWARM_RETENTION__ACTION_DAYS`",
)


@dataclass(frozen=True, slots=True)
class ArrivalResult:
    """What a report of arrived days changed.

    Attributes:
        marked: days that are fetched again.
        repeated: days that were reported before and are still to be fetched.
        skipped: days that were fetched after their data had arrived.
        entries: entries that are no longer fresh because of it.
        has_changed: whether days are to be fetched and planned again because of it.
    """

    marked: tuple[date, ...] = ()
    repeated: tuple[date, ...] = ()
    skipped: tuple[date, ...] = ()
    entries: int = 0
    has_changed: bool = False


def save(
    connection: Connection,
    account_id: str,
    days: Sequence[date],
    arrived_at: datetime,
    origin: str,
    spec_hashes: Sequence[str],
) -> ArrivalResult:
    """Record that the data of days has arrived, and mark what is stored of them as restated.

    Reporting the same again changes nothing: a day that is still to be fetched stays so.

    Args:
        connection: a write transaction.
        spec_hashes: the queries in use; a day counts as fetched when all of them that are stored were.
    """
    reported = _find_reported(connection, account_id, days)
    fetched = _find_fetched(connection, account_id, days, spec_hashes)
    skipped = [day for day in days if day in fetched and fetched[day] >= arrived_at]
    pending = [day for day in days if day not in skipped]
    repeated = [day for day in pending if day in reported and fetched.get(day, reported[day]) <= reported[day]]
    later = [day for day in pending if day not in reported or reported[day] < arrived_at]
    upsert(connection, table, [_row(account_id, day, arrived_at, origin, None) for day in later])
    recorded = [day for day in skipped if day not in reported]
    upsert(connection, table, [_row(account_id, day, arrived_at, origin, arrived_at) for day in recorded])
    count = _mark(connection, account_id, later, arrived_at)
    marked = tuple(day for day in later if day not in repeated)
    return ArrivalResult(marked, tuple(repeated), tuple(skipped), count, bool(later))


def list_pending(engine: Engine, since: datetime) -> list[DataArrival]:
    """Return the arrivals since a moment that no run has planned warms for, by account and day."""
    query = select(table).where(table.c.planned_at.is_(None), table.c.arrived_at >= since)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.order_by(table.c.account_id, table.c.day)).all()
    return [from_row(DataArrival, row) for row in rows]


def mark_again(engine: Engine, arrivals: Iterable[DataArrival]) -> None:
    """Mark what was stored meanwhile by a fetch that had begun before the data arrived."""
    with write_transaction(engine) as connection:
        for item in _sorted(arrivals):
            _mark(connection, item.account_id, [item.day], item.arrived_at)


def mark_planned(engine: Engine, arrivals: Iterable[DataArrival], run_id: str, at: datetime) -> None:
    """Note that a run has planned warms for arrivals. One that was reported again meanwhile stays pending."""
    values = [
        {"b_account": item.account_id, "b_day": item.day, "b_arrived": item.arrived_at} for item in _sorted(arrivals)
    ]
    if not values:
        return
    same = and_(
        table.c.account_id == bindparam("b_account"),
        table.c.day == bindparam("b_day"),
        table.c.arrived_at == bindparam("b_arrived"),
    )
    with write_transaction(engine) as connection:
        connection.execute(update(table).where(same).values(planned_at=at, planned_run=run_id), values)


def restate(engine: Engine, account_id: str, days: Sequence[date], spec_hash: str, at: datetime) -> None:
    """Mark stored days of one query as restated; entries that contain one are no longer fresh."""
    if days:
        with write_transaction(engine) as connection:
            _mark(connection, account_id, days, at, spec_hash)


def _sorted(arrivals: Iterable[DataArrival]) -> list[DataArrival]:
    """Return arrivals in one order, so that two processes cannot wait for each other's rows."""
    return sorted(arrivals, key=lambda item: (item.account_id, item.day))


def _find_reported(connection: Connection, account_id: str, days: Sequence[date]) -> dict[date, datetime]:
    query = select(table.c.day, table.c.arrived_at).where(table.c.account_id == account_id, table.c.day.in_(days))
    return {row.day: row.arrived_at for row in connection.execute(query.with_for_update())}


def _find_fetched(
    connection: Connection, account_id: str, days: Sequence[date], spec_hashes: Sequence[str]
) -> dict[date, datetime]:
    """Return when each stored day was fetched: of several queries, the one that was fetched first."""
    chosen = (
        partition.c.account_id == account_id,
        partition.c.day.in_(days),
        partition.c.spec_hash.in_(sorted(spec_hashes)),
    )
    query = select(partition.c.day, func.min(partition.c.fetched_at)).where(*chosen).group_by(partition.c.day)
    return {row[0]: row[1] for row in connection.execute(query)}


def _row(account_id: str, day: date, at: datetime, origin: str, planned_at: datetime | None) -> dict[str, Any]:
    values = {"account_id": account_id, "day": day, "arrived_at": at, "origin": origin[:80]}
    return {**values, "planned_at": planned_at, "planned_run": None}


def _mark(
    connection: Connection, account_id: str, days: Sequence[date], at: datetime, spec_hash: str | None = None
) -> int:
    """Mark stored days as restated and entries that contain one as stale; return how many entries that were."""
    if not days:
        return 0
    is_older = and_(
        partition.c.account_id == account_id,
        true() if spec_hash is None else partition.c.spec_hash == spec_hash,
        partition.c.day.in_(days),
        partition.c.fetched_at < at,
        or_(partition.c.restated_at.is_(None), partition.c.restated_at < at),
    )
    connection.execute(update(partition).where(is_older).values(restated_at=at))
    older = select(partition.c.day, partition.c.spec_hash).where(
        partition.c.account_id == account_id, partition.c.day.in_(days), partition.c.fetched_at < at
    )
    unread = {tuple(row) for row in connection.execute(older)}
    keys = [entry.c.since, entry.c.until, entry.c.spec_hash]
    of_query = true() if spec_hash is None else entry.c.spec_hash == spec_hash
    overlaps = (of_query, entry.c.since <= max(days), entry.c.until >= min(days))
    is_fresh = or_(entry.c.expires_at.is_(None), entry.c.expires_at > at)
    query = select(*keys, entry.c.fetched_at).where(entry.c.account_id == account_id, *overlaps, is_fresh)
    # Locked in one order, so that two processes cannot wait for each other's rows.
    rows = connection.execute(query.order_by(*keys).with_for_update()).all()
    stale = [
        row
        for row in rows
        for window in [Window(row.since, row.until)]
        if any(day in window and (row.fetched_at < at or (day, row.spec_hash) in unread) for day in days)
    ]
    if stale:
        same = and_(
            entry.c.account_id == account_id,
            entry.c.since == bindparam("b_since"),
            entry.c.until == bindparam("b_until"),
            entry.c.spec_hash == bindparam("b_spec"),
        )
        values = [{"b_since": row.since, "b_until": row.until, "b_spec": row.spec_hash} for row in stale]
        connection.execute(update(entry).where(same).values(expires_at=at, settled=False), values)
    return len(stale)
