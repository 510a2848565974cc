"""Partitions: the stored days of an account, when they were fetched, and the object with their rows."""

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Final, NamedTuple

from sqlalchemy import Connection, Engine, and_, bindparam, case, extract, func, select, update
from sqlalchemy.schema import Index
from sqlalchemy.types import BigInteger

from adwarm.model import Window
from adwarm.store.columns import columns_of, table_of, to_row, value_column
from adwarm.store.database import read_statement, read_transaction, upsert

TOTAL: Final = "total"
_SHORT: Final = f"groups {TOTAL}: "
"""Begins the part of `missing` that says what the groups of a day lack beside the rows without breakdowns."""
ContentSums = tuple[int, int, int]
"""Number of stored days, sum of their versions, and number of settled ones: one of them grows with every change."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One stored day of an account and query: which object holds its rows, and whether they are final."""

    day: Annotated[date, "Day, in the account's data zone."]
    object_hash: Annotated[str, 64, "Object that holds the rows of this day, with those of other days."]
    rows: Annotated[int, "Number of rows."]
    content_hash: Annotated[str, 64, "Hash of the day's rows, to notice a restatement."]
    fetched_at: Annotated[datetime, "When the day was fetched."]
    complete: Annotated[bool, "Whether the day had ended when it was fetched."] = True
    settled: Annotated[bool, "Whether the platform no longer restates the day."] = False
    data_version: Annotated[int, "Grows by one when the platform restates the day."] = 1
    api_version: Annotated[str, 16, "Version of the platform's API."] = ""
    missing: Annotated[
        str | None,
        "What could not be read, such as `ad 1234: ...`, or what its groups lack; None when nothing is.",
    ] = None
    restated_at: Annotated[
        datetime | None,
        "When its data last arrived or changed, as reported; it is fetched again if that is after `fetched_at`.",
    ] = None

    @property
    def is_restated(self) -> bool:
        """Whether its data has changed at the source since it was fetched."""
        return self.restated_at is not None and self.fetched_at < self.restated_at

    @property
    def is_short(self) -> bool:
        """Whether it has groups that do not add up to the rows without breakdowns."""
        return self.missing is not None and _SHORT in self.missing


table = table_of(
    PartitionState,
    "partition",
    value_column("token", BigInteger, 0, doc="Fencing token of the lease under which it was written."),
    Index(None, "object_hash"),
    key=("account_id", "day", "spec_hash"),
    grows="accounts times days that were fetched",
    bound="deleted after `ADWARM_RETENTION__PARTITION_DAYS`, with their objects; those of final months become one",
)


_STATES = select(table.c.account_id, *columns_of(PartitionState, table))
_STATES_OF_ACCOUNTS = _STATES.where(
    table.c.account_id.in_(bindparam("accounts", expanding=True)),
    table.c.spec_hash == bindparam("spec"),
    table.c.day.between(bindparam("since"), bindparam("until")),
)


def list_states(engine: Engine, account_id: str, spec_hash: str, window: Window) -> dict[date, PartitionState]:
    """Return the partitions of an account within `window`, by day."""
    return list_states_by_account(engine, [account_id], spec_hash, window).get(account_id, {})


def list_states_by_account(
    engine: Engine, account_ids: Iterable[str], spec_hash: str, window: Window
) -> dict[str, dict[date, PartitionState]]:
    """Return the partitions of up to some hundreds of accounts within `window`, by account and day."""
    values = {"accounts": sorted(account_ids), "spec": spec_hash, "since": window.since, "until": window.until}
    states: dict[str, dict[date, PartitionState]] = {}
    with read_statement(engine) as connection:
        for account_id, *columns in connection.execute(_STATES_OF_ACCOUNTS, values):
            state = PartitionState(*columns)
            states.setdefault(account_id, {})[state.day] = state
    return states


def list_short(engine: Engine, account_id: str, spec_hash: str) -> list[PartitionState]:
    """Return the stored days of an account whose groups do not add up, oldest first."""
    own = (table.c.account_id == account_id, table.c.spec_hash == spec_hash)
    query = _STATES.where(*own, table.c.missing.contains(_SHORT))
    with read_statement(engine) as connection:
        return [PartitionState(*values) for _, *values in connection.execute(query.order_by(table.c.day))]


def count_days_without(engine: Engine, spec_hash: str, others: Sequence[str]) -> int:
    """Return how many days of a query are stored of which none of the other queries has one. Reads the whole table."""
    other = table.alias()
    same = and_(other.c.account_id == table.c.account_id, other.c.day == table.c.day, other.c.spec_hash.in_(others))
    query = select(func.count()).where(table.c.spec_hash == spec_hash, ~select(other.c.day).where(same).exists())
    with read_transaction(engine) as connection:
        return int(connection.execute(query).scalar_one())


class DayContent(NamedTuple):
    """What a calculation over many stored days must know of one of them; see `PartitionState`."""

    day: date
    content_hash: str
    data_version: int
    settled: bool
    rows: int
    object_hash: str


def list_contents(
    engine: Engine, account_ids: Iterable[str], spec_hash: str, since: date
) -> dict[str, list[DayContent]]:
    """Return the stored days of up to some hundreds of accounts from `since` on, by account, oldest day first."""
    columns = [table.c[name] for name in DayContent._fields]
    query = (
        select(table.c.account_id, *columns)
        .where(table.c.account_id.in_(sorted(account_ids)), table.c.spec_hash == spec_hash, table.c.day >= since)
        .order_by(table.c.account_id, table.c.day)
    )
    contents: dict[str, list[DayContent]] = {}
    with read_transaction(engine) as connection:
        for account_id, *values in connection.execute(query):
            contents.setdefault(account_id, []).append(DayContent(*values))
    return contents


def sum_contents(engine: Engine, account_ids: Iterable[str], spec_hash: str, since: date) -> dict[str, ContentSums]:
    """Return the sums over what `list_contents` returns, by account with a stored day, without reading the days."""
    settled = func.sum(case((table.c.settled, 1), else_=0))
    query = (
        select(table.c.account_id, func.count(), func.sum(table.c.data_version), settled)
        .where(table.c.account_id.in_(sorted(account_ids)), table.c.spec_hash == spec_hash, table.c.day >= since)
        .group_by(table.c.account_id)
    )
    with read_transaction(engine) as connection:
        return {name: (int(days), int(versions), int(done)) for name, days, versions, done in connection.execute(query)}


def sum_of(contents: Sequence[DayContent]) -> ContentSums:
    """Return the same sums over the days of an account."""
    return len(contents), sum(item.data_version for item in contents), sum(item.settled for item in contents)


def publish(
    connection: Connection, account_id: str, spec_hash: str, items: Sequence[PartitionState], token: int
) -> None:
    """Point each day at its new object, within the caller's fenced transaction."""
    owner = {"account_id": account_id, "spec_hash": spec_hash, "token": token}
    # A restatement that was reported during the fetch stays.
    upsert(connection, table, [{**owner, **to_row(item, without=("restated_at",))} for item in items])


def find_newest_complete_days(engine: Engine, account_ids: Sequence[str], spec_hash: str) -> dict[str, date]:
    """Return the newest stored day of each account that had ended when it was fetched, where there is one."""
    days: dict[str, date] = {}
    with read_transaction(engine) as connection:
        for start in range(0, len(account_ids), 500):
            some = table.c.account_id.in_(account_ids[start : start + 500])
            query = (
                select(table.c.account_id, func.max(table.c.day))
                .where(some, table.c.spec_hash == spec_hash, table.c.complete)
                .group_by(table.c.account_id)
            )
            days.update({row[0]: row[1] for row in connection.execute(query)})
    return days


def get_rows_per_day(engine: Engine, spec_hash: str) -> dict[str, float]:
    """Return the mean number of rows per stored day, by account."""
    query = (
        select(table.c.account_id, func.sum(table.c.rows), func.count())
        .where(table.c.spec_hash == spec_hash)
        .group_by(table.c.account_id)
    )
    with read_transaction(engine) as connection:
        return {account: float(rows) / days for account, rows, days in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class CompactableMonth:
    """A month of an account whose stored days are all final and spread over more than one object."""

    account_id: str
    spec_hash: str
    month: Window
    objects: int


def list_compactable_months(engine: Engine) -> list[CompactableMonth]:
    """Return the months that can be compacted into one object."""
    year, month = extract("year", table.c.day), extract("month", table.c.day)
    object_count = func.count(table.c.object_hash.distinct())
    final = func.min(case((and_(table.c.settled, table.c.complete), 1), else_=0))
    query = (
        select(table.c.account_id, table.c.spec_hash, year, month, object_count)
        .group_by(table.c.account_id, table.c.spec_hash, year, month)
        .having(and_(object_count > 1, final == 1))
        .order_by(table.c.account_id, table.c.spec_hash, year, month)
    )
    with read_transaction(engine) as connection:
        return [
            CompactableMonth(account_id, spec_hash, _month(int(in_year), int(number)), int(objects))
            for account_id, spec_hash, in_year, number, objects in connection.execute(query)
        ]


def repoint(
    connection: Connection, account_id: str, spec_hash: str, states: Sequence[PartitionState], object_hash: str
) -> int:
    """Point days at a new object with the same rows. A day that was published again meanwhile does not change."""
    moved = 0
    for state in states:
        same = and_(
            table.c.account_id == account_id,
            table.c.spec_hash == spec_hash,
            table.c.day == state.day,
            table.c.object_hash == state.object_hash,
            table.c.content_hash == state.content_hash,
        )
        moved += connection.execute(update(table).where(same).values(object_hash=object_hash)).rowcount
    return moved


def _month(year: int, number: int) -> Window:
    return Window(date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1]))


def list_object_hashes(connection: Connection, after: str, limit: int) -> list[str]:
    """Return up to `limit` hashes of objects that come after one, in order."""
    query = select(table.c.object_hash).where(table.c.object_hash > after).distinct().order_by(table.c.object_hash)
    return [str(digest) for digest in connection.execute(query.limit(limit)).scalars()]


def count_objects(connection: Connection) -> int:
    """Return the number of objects that hold days."""
    return int(connection.execute(select(func.count(table.c.object_hash.distinct()))).scalar_one())


def list_by_object(engine: Engine, object_hash: str) -> list[tuple[str, PartitionState]]:
    """Return the days whose rows are in an object, each with its account."""
    query = _STATES.where(table.c.object_hash == object_hash).order_by(table.c.account_id, table.c.day)
    with read_transaction(engine) as connection:
        return [(account_id, PartitionState(*values)) for account_id, *values in connection.execute(query)]


def list_spans_of_object(engine: Engine, object_hash: str) -> list[tuple[str, str, Window]]:
    """Return the accounts, spec hashes and spans of the days whose rows are in an object."""
    columns = (table.c.account_id, table.c.spec_hash)
    query = select(*columns, func.min(table.c.day), func.max(table.c.day)).where(table.c.object_hash == object_hash)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.group_by(*columns).order_by(*columns)).all()
    return [(account_id, spec_hash, Window(since, until)) for account_id, spec_hash, since, until in rows]
