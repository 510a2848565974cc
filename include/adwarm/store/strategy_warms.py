"""The warms of strategies: what they have cost, when each key was tried, and whether anybody used them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, and_, case, exists, func, null, or_, select, update

from adwarm.model import ReportKey, Warm
from adwarm.store import jobs
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.jobs import table as warming_job
from adwarm.store.strategies import request_recheck
from adwarm.store.strategies import table as strategy
from adwarm.store.warms import table

_KEY = (table.c.account_id, table.c.date_range, table.c.report)
_ENOUGH_CALLS = 20.0
"""Planned calls from which on the calls of a strategy are estimated by what its fetches took."""
_NOT_TRIED = ("cut", "shadow")


@dataclass(frozen=True, slots=True)
class StrategyUsage:
    """What the fetched warms of one strategy have cost, and how many were used.

    Attributes:
        used: opened while fresh.
        wasted: expired unopened.
        open: not known yet.
        runs: runs that fetched something; None when they were not counted.
        first_at: decision time of the first of them.
        last_at: decision time of the latest of them.
    """

    used: int
    wasted: int
    open: int
    calls: int
    runs: int | None
    first_at: datetime
    last_at: datetime


def get_calls(
    engine: Engine, strategy: str, since: datetime, until: datetime, before: tuple[datetime, str] | None = None
) -> int:
    """Return the upstream calls of a strategy's warms in the half-open window.

    A warm that failed counts at its decision time.

    Args:
        before: a decision time and its run; only that run and those decided before it count, so that planning a run
            again gives the same plan.
    """
    at = func.coalesce(table.c.fetched_at, table.c.decided_at)
    query = select(func.coalesce(func.sum(table.c.requests), 0)).where(
        table.c.strategy == strategy, at >= since, at < until
    )
    if before is not None:
        query = query.where(or_(table.c.decided_at < before[0], table.c.run_id == before[1]))
    with read_transaction(engine) as connection:
        return int(connection.execute(query).scalar_one())


def get_run_calls(engine: Engine, run_id: str) -> int:
    """Return the upstream calls of a run's warms."""
    query = select(func.coalesce(func.sum(table.c.requests), 0)).where(table.c.run_id == run_id)
    with read_transaction(engine) as connection:
        return int(connection.execute(query).scalar_one())


def get_call_ratio(engine: Engine, strategy: str, since: datetime, until: datetime) -> float:
    """Return the calls that a strategy's fetches took per planned call, 0.25 to 4; 1 while few are stored.

    One request may cover more than was planned, and a large answer takes several.

    Args:
        since: earliest decision time of the warms to count, UTC.
        until: end of the decision times, exclusive.
    """
    query = select(func.sum(table.c.requests), func.sum(table.c.price)).where(
        table.c.strategy == strategy, table.c.status == "fetched", table.c.mode == "live"
    )
    with read_transaction(engine) as connection:
        taken, planned = connection.execute(query.where(table.c.decided_at >= since, table.c.decided_at < until)).one()
    if not planned or planned < _ENOUGH_CALLS:
        return 1.0
    return min(4.0, max(0.25, int(taken) / float(planned)))


def list_in_flight(engine: Engine, run_id: str, since: datetime, until: datetime) -> dict[ReportKey, str | None]:
    """Return the keys that other running runs of the same DAG still have to fetch, with their strategies.

    Only runs that were decided in the half-open window count, so that a run that died does not withhold its keys.
    """
    dag = table.c.run_id.startswith(run_id.partition("/")[0] + "/", autoescape=True)
    query = (
        select(*_KEY, table.c.strategy)
        .join(warming_job, and_(warming_job.c.run_id == table.c.run_id, warming_job.c.status == "running"))
        .where(table.c.status == "planned", table.c.decided_at >= since, table.c.decided_at < until)
        .where(table.c.run_id != run_id, dag)
    )
    with read_transaction(engine) as connection:
        return {ReportKey(*row[:3]): row.strategy for row in connection.execute(query)}


def get_last_attempts(
    engine: Engine, account_ids: Iterable[str], since: datetime, until: datetime
) -> dict[ReportKey, datetime]:
    """Return when each key of the accounts was last in a plan that was carried out, in the half-open window.

    A fetch that failed counts, so that a report that always fails does not keep the others waiting.
    """
    ids = sorted(set(account_ids))
    attempts: dict[ReportKey, datetime] = {}
    with read_transaction(engine) as connection:
        for start in range(0, len(ids), 500):
            query = (
                select(*_KEY, func.max(table.c.decided_at))
                .where(table.c.account_id.in_(ids[start : start + 500]), table.c.status.not_in(_NOT_TRIED))
                .where(table.c.decided_at >= since, table.c.decided_at < until)
                .group_by(*_KEY)
            )
            attempts.update({ReportKey(*row[:3]): row[3] for row in connection.execute(query)})
    return attempts


def cut_planned(engine: Engine, run_id: str, rows: Sequence[Warm], why: Mapping[str, str], again_at: datetime) -> None:
    """Cut planned warms of a run, which no batch fetches then, and take them out of the run's job.

    Their explanations say `why`: the `rule`, and its sentence as `cut`. Their strategies are planned again at
    `again_at`, when a due time of theirs is open then.
    """
    with write_transaction(engine) as connection:
        jobs.lock(connection, run_id)
        cut = 0
        for row in rows:
            values = {"status": "cut", "explanation": {**row.explanation, **why}}
            planned = (table.c.id == row.id, table.c.status == "planned")
            cut += connection.execute(update(table).where(*planned).values(**values)).rowcount
        smaller = {"total": warming_job.c.total - cut}
        connection.execute(update(warming_job).where(warming_job.c.run_id == run_id).values(**smaller))
        for name in sorted({row.strategy for row in rows if row.strategy is not None}):
            request_recheck(connection, name, run_id, again_at)


def get_usage(engine: Engine, since: datetime, until: datetime, *, with_runs: bool = True) -> dict[str, StrategyUsage]:
    """Return the cost and the use of each strategy's warms that were decided in the half-open window.

    Args:
        with_runs: whether to count the runs, for which every warm is read; the rest comes from an index.
    """

    def count(value: bool | None) -> ColumnElement[int]:
        marked = and_(table.c.used.is_(value), table.c.superseded_by.is_(None))
        return func.sum(case((marked, 1), else_=0))

    columns = (
        table.c.strategy,
        func.min(table.c.decided_at),
        func.max(table.c.decided_at),
        count(True),
        count(False),
        count(None),
        func.sum(table.c.requests),
        func.count(table.c.run_id.distinct()) if with_runs else null(),
    )
    query = (
        select(*columns)
        .where(table.c.strategy.is_not(None), table.c.status == "fetched")
        .where(table.c.decided_at >= since, table.c.decided_at < until)
        .group_by(table.c.strategy)
    )
    with read_transaction(engine) as connection:
        return {row[0]: _usage(*row[1:]) for row in connection.execute(query)}


def list_fetching(engine: Engine, names: Sequence[str], since: datetime, until: datetime) -> set[str]:
    """Return those of the strategies that fetched something in a plan of the half-open window."""
    fetched = (table.c.strategy == strategy.c.name, table.c.status == "fetched")
    window = (table.c.decided_at >= since, table.c.decided_at < until)
    query = select(strategy.c.name).where(strategy.c.name.in_(names), exists().where(*fetched, *window))
    with read_transaction(engine) as connection:
        return set(connection.execute(query).scalars())


def list_runs(engine: Engine, strategy: str, limit: int = 10) -> list[Row[Any]]:
    """Return `run_id`, `decided_at`, `fetched`, `failed`, `cut` and `calls` of a strategy's latest live runs."""

    def count(*statuses: str) -> ColumnElement[int]:
        return func.sum(case((table.c.status.in_(statuses), 1), else_=0))

    decided = func.max(table.c.decided_at).label("decided_at")
    query = (
        select(
            table.c.run_id,
            decided,
            count("fetched", "fresh").label("fetched"),
            count("failed", "stale", "denied").label("failed"),
            count("cut").label("cut"),
            func.sum(table.c.requests).label("calls"),
        )
        .where(table.c.strategy == strategy, table.c.mode == "live")
        .group_by(table.c.run_id)
        .order_by(decided.desc())
        .limit(limit)
    )
    with read_transaction(engine) as connection:
        return list(connection.execute(query))


def list_strategies_of_run(engine: Engine, run_id: str) -> set[str]:
    """Return the names of the strategies in a run's plan."""
    query = select(table.c.strategy).where(table.c.run_id == run_id, table.c.strategy.is_not(None)).distinct()
    with read_transaction(engine) as connection:
        return set(connection.execute(query).scalars())


def _usage(first_at: datetime, last_at: datetime, *counts: int | None) -> StrategyUsage:
    used, wasted, unmarked, calls = (int(count or 0) for count in counts[:4])
    runs = None if counts[4] is None else int(counts[4])
    return StrategyUsage(used, wasted, unmarked, calls, runs, first_at=first_at, last_at=last_at)
