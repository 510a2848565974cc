"""Warms: each planned fetch with its reason, its result, and whether anybody used it.

`adwarm.model.WarmStatus` lists the states of a warm and the transitions between them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.schema import Column, Index
from sqlalchemy.types import BigInteger

from adwarm.model import PlannedWarm, ReportKey, Warm, WarmReason, WarmResult, WarmStatus, WarmUse
from adwarm.store import jobs
from adwarm.store.columns import from_row, table_of, to_row
from adwarm.store.database import read_transaction, write_transaction

table = table_of(
    Warm,
    "warm",
    Column("superseded_by", BigInteger, doc="The newer warm of its key that replaced it before anybody opened it."),
    Index(None, "run_id", "batch"),
    Index(None, "account_id", "date_range", "fetched_at"),
    Index(None, "account_id", "decided_at"),
    # What the page counts of a week, so that it reads no rows.
    Index(
        None,
        "decided_at",
        postgresql_include=["mode", "reason", "status", "used", "superseded_by", "fetched_at", "warm_at", "first_use"],
    ),
    Index(None, "used", "status"),
    Index(
        "ix_warm_strategy_use",  # holds all that the use of strategies over 30 days is counted from
        "strategy",
        "decided_at",
        "status",
        "used",
        "superseded_by",
        "requests",
        sqlite_where=text("strategy IS NOT NULL"),
        postgresql_where=text("strategy IS NOT NULL"),
    ),
    Index(
        "ix_warm_marked",
        *("decided_at", "reason", "mode", "status", "used", "confidence"),
        sqlite_where=text("used IS NOT NULL OR superseded_by IS NOT NULL"),
        postgresql_where=text("used IS NOT NULL OR superseded_by IS NOT NULL"),
    ),
    key=("id",),
    grows="planned warms: up to one per key and run",
    bound="deleted after `ADWARM_RETENTION__HISTORY_DAYS`",
)


FAILED = frozenset({WarmStatus.FAILED, WarmStatus.STALE})
"""Statuses that another attempt tries again."""
DENIED = frozenset({WarmStatus.DENIED})
"""Tried again only when a human asks for it."""
_SAMPLE = 500
"""Newest fetches whose times stand for those to come."""
_NOT_TRIED = ("cut", "shadow")
_ENDED = frozenset(status for status in WarmStatus if status.is_served) | FAILED | DENIED
_KEY = (table.c.account_id, table.c.date_range, table.c.report)
_CHANGE = update(table).where(table.c.id == bindparam("changed_id"))
"""Changes many warms in one round trip: run it with a list of values, each with the `changed_id` of its warm."""
_FINISH_PLANNED = _CHANGE.where(table.c.status == WarmStatus.PLANNED)
_IS_UNMARKED = and_(table.c.used.is_(None), table.c.superseded_by.is_(None))


def replace_plan(engine: Engine, run_id: str, plan: Sequence[PlannedWarm]) -> None:
    """Store the plan of a run. It replaces every warm of an earlier plan of the run that has not been served."""
    with write_transaction(engine) as connection:
        undone = table.c.status.in_(("planned", "cut", "shadow", *FAILED, *DENIED))
        connection.execute(delete(table).where(table.c.run_id == run_id, undone))
        if plan:
            connection.execute(table.insert(), [{**to_row(warm), "run_id": run_id} for warm in plan])


def list_planned(engine: Engine, run_id: str, number: int) -> list[Warm]:
    """Return the warms of one batch that are still to be fetched, most urgent first."""
    chosen = (table.c.run_id == run_id, table.c.batch == number, table.c.status == "planned")
    return _list(engine, select(table).where(*chosen).order_by(table.c.warm_at, table.c.id))


def list_ended(engine: Engine, run_id: str, number: int) -> list[Warm]:
    """Return the warms of one batch that were served or failed, in the order of the plan."""
    chosen = (table.c.run_id == run_id, table.c.batch == number, table.c.status.in_(_ENDED))
    return _list(engine, select(table).where(*chosen).order_by(table.c.id))


def list_batch_accounts(engine: Engine, run_id: str, number: int) -> list[str]:
    """Return the accounts of one batch in the order of the plan, each once."""
    chosen = (table.c.run_id == run_id, table.c.batch == number, table.c.status.not_in(_NOT_TRIED))
    query = select(table.c.account_id).where(*chosen).group_by(table.c.account_id).order_by(func.min(table.c.id))
    with read_transaction(engine) as connection:
        return list(connection.execute(query).scalars())


def list_by_run(engine: Engine, run_id: str) -> list[Warm]:
    """Return every warm of a run in the order of its plan."""
    return _list(engine, select(table).where(table.c.run_id == run_id).order_by(table.c.id))


def find(engine: Engine, warm_id: int) -> Warm | None:
    """Return a warm; None when there is none with this id."""
    listed = _list(engine, select(table).where(table.c.id == warm_id))
    return listed[0] if listed else None


def list_by_reason(engine: Engine, reason: WarmReason) -> list[Warm]:
    """Return every warm with this reason that was to be fetched, in the order of the plans."""
    chosen = (table.c.reason == reason, table.c.status.not_in(_NOT_TRIED))
    return _list(engine, select(table).where(*chosen).order_by(table.c.id))


def list_unmarked(engine: Engine, before: datetime, status: WarmStatus = WarmStatus.FETCHED) -> list[Warm]:
    """Return warms of one status that are not marked yet: those fetched before `before`, others that were due then."""
    moment = table.c.fetched_at if status is WarmStatus.FETCHED else table.c.warm_at
    return _list(engine, select(table).where(_IS_UNMARKED, table.c.status == status.value, moment < before))


def list_fetches(engine: Engine, since: datetime, before: datetime) -> list[tuple[ReportKey, datetime, int]]:
    """Return key, time and id of every warm fetched in the half-open window, oldest first, marked ones included."""
    chosen = (table.c.status == "fetched", _is_within(table.c.fetched_at, since, before))
    query = select(*_KEY, table.c.fetched_at, table.c.id).where(*chosen).order_by(table.c.fetched_at, table.c.id)
    with read_transaction(engine) as connection:
        return [(ReportKey(*row[:3]), row[3], int(row[4])) for row in connection.execute(query)]


def reopen(engine: Engine, run_id: str, number: int, statuses: Collection[WarmStatus]) -> int:
    """Set the warms of one batch that are in one of `statuses` back to planned, and return how many.

    In the same transaction the run's job stops counting them as failed.
    """
    chosen = (table.c.run_id == run_id, table.c.batch == number, table.c.status.in_(statuses))
    again = {"status": "planned", "error": None, "fetched_at": None, "expires_at": None}
    with write_transaction(engine) as connection:
        query = update(table).where(*chosen).values(**again).returning(*_KEY)
        keys = [ReportKey(*row) for row in connection.execute(query)]
        jobs.retract_failures(connection, run_id, [str(key) for key in keys])
    return len(keys)


def finish(
    connection: Connection, run_id: str, results: Sequence[WarmResult], requests: int, errors: Sequence[str]
) -> None:
    """Store results of warms of one run and count them in its job, within the caller's transaction.

    A warm counts once: a result that comes after another worker's is dropped, unless it is served where the other one
    failed. So a worker that was paused for a while undoes nothing, and the counts are exact.

    Args:
        results: the results; a warm that stays `planned` is counted later.
        requests: upstream calls to add to the job, also those of results that are dropped.
    """
    # Always the job first, then its warms: two workers that lock both in one order cannot deadlock.
    counted = len(results) if not errors and all(result.status.is_served for result in results) else 0
    if counted and not jobs.add_done(connection, run_id, done=counted, requests=requests):
        counted = 0
    if counted == 1 and connection.execute(_FINISH_PLANNED, _to_change(results[0])).rowcount:
        return
    job = None if counted else jobs.lock(connection, run_id)
    done, failed, retried = _finish_each(connection, results)
    if retried:
        jobs.retract_failures(connection, run_id, retried)
    if counted and (retried or done != counted):
        jobs.add_done(connection, run_id, done=done - counted, requests=0)
    if not counted:
        job = jobs.lock(connection, run_id) if retried else job
        jobs.add_counts(connection, job, done=done, failed=failed, requests=requests, errors=errors)


def _finish_each(connection: Connection, results: Sequence[WarmResult]) -> tuple[int, int, list[str]]:
    """Store the results that count; return how many are served and failed, and the keys that had failed before."""
    done = failed = 0
    retried: list[str] = []
    changes: list[dict[str, Any]] = []
    columns = (table.c.id, table.c.status, *_KEY)
    query = select(*columns).where(table.c.id.in_([result.warm_id for result in results]))
    before = {row.id: row for row in connection.execute(query)}
    for result in results:
        row, served = before.get(result.warm_id), result.status.is_served
        is_retry = row is not None and served and row.status in FAILED | DENIED
        if row is None or not (is_retry or row.status == "planned"):
            continue
        changes.append(_to_change(result))
        done += served
        failed += int(not served and result.status is not WarmStatus.PLANNED)
        if is_retry:
            retried.append(str(ReportKey(row.account_id, row.date_range, row.report)))
    if changes:
        connection.execute(_CHANGE, changes)
    return done, failed, retried


def _to_change(result: WarmResult) -> dict[str, Any]:
    return {"changed_id": result.warm_id, **to_row(result, without=("warm_id",))}


def mark_uses(engine: Engine, uses: Sequence[WarmUse], covered: Sequence[int] = ()) -> None:
    """Store which warms were used, wasted or superseded.

    Args:
        covered: ids of shadow warms that would have found their key fresh; they become `fresh`.
    """
    with write_transaction(engine) as connection:
        if uses:
            rows = [{"changed_id": use.warm_id, **to_row(use, without=("warm_id",))} for use in uses]
            connection.execute(_CHANGE, rows)
        if covered:
            connection.execute(_CHANGE, [{"changed_id": warm_id, "status": "fresh"} for warm_id in covered])


def get_calls_by_account(
    engine: Engine, since: datetime, until: datetime, run_id: str, decided_before: datetime
) -> dict[str, int]:
    """Return the upstream calls of warms fetched in the half-open window, by account.

    The calls of a warm that failed count at its decision time.

    Counts the run's own warms, and those of its DAG's runs (the part of a run id before the first `/`) that were
    decided before it. Later runs are left out, so that planning a run again gives the same plan.
    """
    dag = table.c.run_id.startswith(run_id.partition("/")[0] + "/", autoescape=True)
    failed = and_(table.c.fetched_at.is_(None), _is_within(table.c.decided_at, since, until), table.c.requests > 0)
    query = (
        select(table.c.account_id, func.sum(table.c.requests))
        .where(or_(_is_within(table.c.fetched_at, since, until), failed), dag)
        .where(or_(table.c.decided_at < decided_before, table.c.run_id == run_id))
        .group_by(table.c.account_id)
    )
    with read_transaction(engine) as connection:
        return {str(account): int(calls) for account, calls in connection.execute(query)}


def get_p95_seconds(engine: Engine) -> float:
    """Return the 95th percentile of the duration of the newest fetches in seconds; 0 before the first one."""
    query = select(table.c.seconds).where(table.c.seconds.is_not(None)).order_by(table.c.id.desc()).limit(_SAMPLE)
    with read_transaction(engine) as connection:
        seconds = sorted(float(value) for value in connection.execute(query).scalars())
    return seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))] if seconds else 0.0


def get_seconds_per_request(engine: Engine) -> float | None:
    """Return the mean seconds per upstream call of the newest fetches, waiting included; None before the first one."""
    newest = (
        select(table.c.seconds, table.c.requests)
        .where(table.c.seconds.is_not(None), table.c.requests > 0)
        .order_by(table.c.id.desc())
        .limit(_SAMPLE)
        .subquery()
    )
    with read_transaction(engine) as connection:
        seconds, requests = connection.execute(select(func.sum(newest.c.seconds), func.sum(newest.c.requests))).one()
    return float(seconds) / int(requests) if requests else None


def list_fresh_until(engine: Engine, since: datetime, at: datetime) -> dict[ReportKey, datetime]:
    """Return by key until when its entry is fresh, for warms that were decided in the half-open window.

    Only keys whose entry is fresh at `at` are in it.
    """
    query = (
        select(*_KEY, func.max(table.c.expires_at))
        .where(_is_within(table.c.decided_at, since, at), table.c.status == "fetched", table.c.expires_at > at)
        .group_by(*_KEY)
    )
    with read_transaction(engine) as connection:
        return {ReportKey(*row[:3]): row[3] for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class WarmFilter:
    """Which warms of a run to list; an empty text leaves a field free.

    Attributes:
        range_text: part of the date range.
        reason: why it is in the plan.
    """

    account_id: str = ""
    range_text: str = ""
    status: str = ""
    reason: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as SQL."""
        equal = {table.c.account_id: self.account_id, table.c.status: self.status, table.c.reason: self.reason}
        set_fields = [column == value for column, value in equal.items() if value]
        if self.range_text:
            set_fields.append(table.c.date_range.contains(self.range_text, autoescape=True))
        return set_fields


def find_newest_run(engine: Engine) -> str | None:
    """Return the run with the newest plan; None without any."""
    with read_transaction(engine) as connection:
        newest = select(table.c.run_id).order_by(table.c.decided_at.desc()).limit(1)
        return connection.execute(newest).scalar_one_or_none()


def list_page(engine: Engine, run_id: str, chosen: WarmFilter, offset: int, limit: int) -> list[Warm]:
    """Return up to `limit` warms of a run after the first `offset`, the greatest benefit first."""
    query = select(table).where(table.c.run_id == run_id, *chosen.conditions())
    return _list(engine, query.order_by(table.c.benefit.desc(), table.c.id).offset(offset).limit(limit))


def _is_within(column: ColumnElement[datetime], since: datetime, until: datetime) -> ColumnElement[bool]:
    return and_(column >= since, column < until)


def _list(engine: Engine, query: Select[Any]) -> list[Warm]:
    with read_transaction(engine) as connection:
        return [from_row(Warm, row) for row in connection.execute(query)]
