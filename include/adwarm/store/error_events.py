"""The error history: one row per failed attempt, bounded in rows and age.

Counting a window is one indexed query, so that an alert threshold covers the failures of all workers.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Engine, Row, cast, delete, func, insert, select
from sqlalchemy.schema import Index
from sqlalchemy.types import BigInteger

from adwarm.foundation import telemetry
from adwarm.settings import RetentionSettings
from adwarm.store.columns import from_row, shorten, table_of, to_row
from adwarm.store.database import read_transaction, write_transaction

Period = Literal["hour", "day"]
_PRUNE_EVERY = 100
MAX_ERRORS = 20_000
"""A platform that fails for days writes no more rows than this; alerts and counts need the newest ones."""
_SECONDS: Final[dict[str, int]] = {"hour": 3_600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """One failed attempt, for thresholds and alerts."""

    at: Annotated[datetime, "When the error happened."]
    source: Annotated[str, 80, "Source that failed."]
    kind: Annotated[str, 40, "Class of the error, such as `Throttled` or `OrphanReport`."]
    message: Annotated[str, "Message without secrets."]
    subject: Annotated[str | None, 200, "What was attempted, such as a report key."] = None
    code: Annotated[str | None, 40, "The platform's error code."] = None
    connection: Annotated[
        str | None, 80, "Name under which the accounts of its connection are stored; None without one."
    ] = None
    account_id: Annotated[str | None, "Account that it concerns; None when it concerns none."] = None

    @property
    def connection_name(self) -> str:
        """The connection, or what was called without one: its source."""
        return self.connection or self.source


error_event = table_of(
    ErrorEvent,
    "error_event",
    Index(None, "source", "kind", "at"),
    Index(None, "account_id", "at"),
    Index(None, "at"),
    key=("id",),
    grows="failed calls",
    bound="deleted after `ADWARM_RETENTION__HISTORY_DAYS`, and above 20,000 rows; pruned every 100 inserts",
)


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Errors of one kind and scope.

    Attributes:
        account_id: the account that all of them concern; None when there are several, or some concern none.
    """

    errors: int
    last_at: datetime | None = None
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class PeriodCount:
    """Errors of one source and kind within an hour or a day that begins at `start`, UTC."""

    start: datetime
    source: str
    kind: str
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFilter:
    """Which errors to list or count; None leaves a field free.

    Attributes:
        since: not earlier than this.
        until: earlier than this.
    """

    account_id: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as SQL."""
        table = error_event.c
        equal = {table.account_id: self.account_id, table.kind: self.kind}
        conditions = [column == value for column, value in equal.items() if value is not None]
        conditions += [table.at >= self.since] if self.since else []
        conditions += [table.at < self.until] if self.until else []
        return conditions


class ErrorLog:
    """Errors in the table `error_event`, at most about `MAX_ERRORS` of them and none older than `history_days`."""

    def __init__(self, engine: Engine, retention: RetentionSettings | None = None) -> None:
        retention = retention or RetentionSettings()
        self._engine = engine
        self._max_age = timedelta(days=retention.history_days)
        self._recorded = 0
        self._lock = threading.Lock()

    def record(self, event: ErrorEvent) -> None:
        """Insert the event. Values that are too long for their column are cut."""
        telemetry.report(telemetry.ERRORS, kind=event.kind)
        with write_transaction(self._engine) as connection:
            connection.execute(insert(error_event), [shorten(to_row(event), error_event)])
            if self._prune_is_due():
                self._prune(connection, event.at)

    def count(self, scope: str, kind: str, since: datetime) -> ErrorCount:
        """Return the errors of a kind after `since`, by every worker.

        Args:
            scope: a source, `connection:NAME` or `account:ID`.
            since: start of the window, excluded.
        """
        with read_transaction(self._engine) as connection:
            return count_errors(connection, scope, kind, since)

    def list_recent(self, limit: int = 100, error_filter: ErrorFilter | None = None) -> Sequence[ErrorEvent]:
        """Return the newest errors first."""
        conditions = (error_filter or ErrorFilter()).conditions()
        query = select(error_event).where(*conditions).order_by(error_event.c.id.desc()).limit(limit)
        with read_transaction(self._engine) as connection:
            return [from_row(ErrorEvent, row) for row in connection.execute(query)]

    def count_by_period(self, period: Period, error_filter: ErrorFilter | None = None) -> list[PeriodCount]:
        """Return the errors of each UTC hour or day by source and kind, the newest period first; none of them is 0."""
        table, seconds = error_event.c, _SECONDS[period]
        with read_transaction(self._engine) as connection:
            start = _period_start(connection.dialect.name, seconds).label("start")
            query = select(start, table.source, table.kind, func.count().label("errors"))
            query = query.where(*(error_filter or ErrorFilter()).conditions()).group_by(start, table.source, table.kind)
            rows = connection.execute(query.order_by(start.desc(), table.source, table.kind)).all()
        return [
            PeriodCount(datetime.fromtimestamp(int(row.start), UTC), row.source, row.kind, row.errors) for row in rows
        ]

    def count_by_kind(self, error_filter: ErrorFilter, limit: int) -> list[Row[Any]]:
        """Return `errors`, `accounts` and `last_at` of each `kind` and `source`, the most frequent first."""
        table = error_event.c
        columns = (
            func.count().label("errors"),
            func.count(table.account_id.distinct()).label("accounts"),
            func.max(table.at).label("last_at"),
        )
        query = (
            select(table.kind, table.source, *columns)
            .where(*error_filter.conditions())
            .group_by(table.kind, table.source)
        )
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query.order_by(func.count().desc(), table.kind, table.source).limit(limit))
            return list(rows)

    def prune(self, now: datetime) -> int:
        """Delete rows that are too old or too many, and return how many."""
        with write_transaction(self._engine) as connection:
            return self._prune(connection, now)

    def _prune(self, connection: Connection, now: datetime) -> int:
        table = error_event.c
        newest_to_go = select(table.id).order_by(table.id.desc()).offset(MAX_ERRORS).limit(1).scalar_subquery()
        old = connection.execute(delete(error_event).where(table.at < now - self._max_age)).rowcount
        excess = connection.execute(delete(error_event).where(table.id <= newest_to_go)).rowcount
        return int(old + excess)

    def _prune_is_due(self) -> bool:
        with self._lock:
            self._recorded += 1
            return self._recorded % _PRUNE_EVERY == 0


def count_errors(connection: Connection, scope: str, kind: str, since: datetime) -> ErrorCount:
    """Return the errors of a kind and scope after `since`, within the caller's transaction; see `ErrorLog.count`."""
    table = error_event.c
    query = select(
        func.count().label("errors"),
        func.max(table.at).label("last_at"),
        func.count(table.account_id).label("with_account"),
        func.min(table.account_id).label("first"),
        func.max(table.account_id).label("last"),
    ).where(_in_scope(scope), table.kind == kind[:40], table.at > since)
    row = connection.execute(query).one()
    is_one = row.errors and row.with_account == row.errors and row.first == row.last
    return ErrorCount(row.errors, row.last_at, row.first if is_one else None)


def find_accounts(
    connection: Connection, source: str, kind: str, since: datetime, accounts: Collection[str]
) -> frozenset[str]:
    """Return those of `accounts` that errors of a source and kind after `since` concern."""
    table = error_event.c
    query = select(table.account_id).distinct()
    query = query.where(_in_scope(source), table.kind == kind[:40], table.at > since)
    return frozenset(connection.execute(query.where(table.account_id.in_(sorted(accounts)))).scalars())


def _in_scope(scope: str) -> ColumnElement[bool]:
    table = error_event.c
    category, _, name = scope.partition(":")
    if category == "account" and name:
        return table.account_id == name
    if category == "connection" and name:
        return func.coalesce(table.connection, table.source) == name[:80]
    return table.source == scope[:80]


def _period_start(dialect: str, seconds: int) -> ColumnElement[Any]:
    """Return the start of an error's period in seconds since the epoch."""
    at = error_event.c.at
    epoch = func.extract("epoch", at) if dialect == "postgresql" else func.strftime("%s", at)
    return cast(epoch, BigInteger) // seconds * seconds
