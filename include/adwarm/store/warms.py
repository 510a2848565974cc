"""Warms: each planned fetch with its reason, what became of it, and whether anybody used it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, func, or_, select, update

from adwarm.store.engine import reading, writing
from adwarm.store.tables import warm as table

Warm = dict[str, Any]
"""A row of the warm table."""


def replace_plan(engine: Engine, run_id: str, rows: Sequence[Warm]) -> None:
    """Store the plan of a run in place of an earlier one of the same run that was not carried out."""
    with writing(engine) as connection:
        undone = table.c.status.in_(("planned", "cut", "shadow"))
        connection.execute(delete(table).where(table.c.run_id == run_id, undone))
        if rows:
            connection.execute(table.insert(), [{**row, "run_id": run_id} for row in rows])


def batch(engine: Engine, run_id: str, number: int) -> list[Warm]:
    """Return the warms of one batch that are still to be done, most urgent first."""
    query = (
        select(table)
        .where(table.c.run_id == run_id, table.c.batch == number, table.c.status == "planned")
        .order_by(table.c.warm_at, table.c.id)
    )
    with reading(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def of_run(engine: Engine, run_id: str) -> list[Warm]:
    """Return every warm of a run in the order of its plan."""
    with reading(engine) as connection:
        return [
            dict(row._mapping)
            for row in connection.execute(select(table).where(table.c.run_id == run_id).order_by(table.c.id))
        ]


def record(engine: Engine, outcomes: Sequence[Warm]) -> None:
    """Write what became of warms: each item holds `id` and the columns to set."""
    with writing(engine) as connection:
        for item in outcomes:
            values = {name: value for name, value in item.items() if name != "id"}
            connection.execute(update(table).where(table.c.id == item["id"]).values(**values))


def calls_by_account(
    engine: Engine, since: datetime, until: datetime, run_id: str, decided_before: datetime
) -> dict[str, int]:
    """Return the upstream requests of warms fetched in the half-open window, by account.

    Those of the run itself count, and those of its DAG's runs (what stands before the first `/` of a run's id) that
    were decided before it; a later run is none of its business, so that planning again gives the same plan.
    """
    dag = table.c.run_id.startswith(run_id.partition("/")[0] + "/", autoescape=True)
    query = (
        select(table.c.account_id, func.sum(table.c.requests))
        .where(table.c.fetched_at >= since, table.c.fetched_at < until, dag)
        .where(or_(table.c.decided_at < decided_before, table.c.run_id == run_id))
        .group_by(table.c.account_id)
    )
    with reading(engine) as connection:
        return {str(account): int(calls) for account, calls in connection.execute(query)}


def p95_seconds(engine: Engine, sample: int = 500) -> float:
    """Return the 95th percentile of how long the newest fetches of a warm took, 0 when none is known."""
    query = select(table.c.seconds).where(table.c.seconds.is_not(None)).order_by(table.c.id.desc()).limit(sample)
    with reading(engine) as connection:
        seconds = sorted(float(value) for value in connection.execute(query).scalars())
    return seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))] if seconds else 0.0


def unaccounted(engine: Engine, before: datetime) -> list[Warm]:
    """Return fetched warms whose use is not known yet and that were fetched before `before`."""
    query = select(table).where(table.c.used.is_(None), table.c.status == "fetched", table.c.fetched_at < before)
    with reading(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def planned_for(engine: Engine, reason: str) -> list[Warm]:
    """Return every warm with this reason that was meant to be carried out, in the order of the plans."""
    query = select(table).where(table.c.reason == reason, table.c.status.not_in(("cut", "shadow"))).order_by(table.c.id)
    with reading(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def cut_for(engine: Engine, reason: str) -> int:
    """Return how many warms with this reason were cut from their plans."""
    query = select(func.count()).where(table.c.reason == reason, table.c.status == "cut")
    with reading(engine) as connection:
        return int(connection.execute(query).scalar_one())


def counts(engine: Engine) -> dict[str, int]:
    """Return the number of warms by status, and of those used and wasted."""
    with reading(engine) as connection:
        found = {
            row.status: int(row.n)
            for row in connection.execute(select(table.c.status, func.count().label("n")).group_by(table.c.status))
        }
        for name, value in (("used", True), ("wasted", False)):
            found[name] = int(connection.execute(select(func.count()).where(table.c.used.is_(value))).scalar_one())
    return found
