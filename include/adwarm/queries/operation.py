"""How the work goes: what fetches take, what failed when it ran last, and of which days the groups do not add up.

A figure of groups that differed says which account and report to look at; their stored days say what they lack now.
"""

import math
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, and_, case, cast, func, literal, null, select, union_all
from sqlalchemy.types import Integer, String, Text

from adwarm.foundation.clock import floor_to
from adwarm.model import Mode, WarmStatus
from adwarm.prefetch.gap_filling import name_short_days
from adwarm.prefetch.group_sums import list_plain
from adwarm.settings import Settings
from adwarm.store import partitions, read_traffic
from adwarm.store.alerts import COUNT_OPEN
from adwarm.store.capacity import capacity_grant
from adwarm.store.columns import seconds_between
from adwarm.store.database import read_transaction
from adwarm.store.entries import table as entry
from adwarm.store.jobs import table as warming_job
from adwarm.store.maintenance_steps import table as maintenance_step
from adwarm.store.reconciliations import DAYS, list_newest
from adwarm.store.snapshots import forecast_snapshot, policy
from adwarm.store.warms import table as warm

_DAY: Final = timedelta(days=1)
_SHORT_SINCE: Final = timedelta(days=35)
"""How far back groups were compared: days that are opened are read again within a week."""


def list_report_costs(engine: Engine, since: datetime, limit: int) -> list[Row[Any]]:
    """Return `fetches`, `calls` and mean `seconds` of each `report` since then, the most calls first."""
    calls, seconds = func.sum(warm.c.requests).label("calls"), func.avg(warm.c.seconds).label("seconds")
    query = select(warm.c.report, func.count().label("fetches"), calls, seconds).where(*_is_fetched(since))
    query = query.group_by(warm.c.report).order_by(calls.desc(), warm.c.report).limit(limit)
    with read_transaction(engine) as connection:
        return list(connection.execute(query))


def compare_last_day(engine: Engine, now: datetime) -> dict[str, Any] | None:
    """Return the calls `made` on the last whole `day` in UTC, and those of warming `everything`; None without fetches.

    It rests on the `keys` that the forecast of that day knew, the mean `lifetime` of a fetched report in seconds and
    the mean calls `per_fetch`. What was made for other reasons counts as well, so `everything` is never fewer.
    """
    end = floor_to(now, _DAY)
    snapshot = forecast_snapshot.c
    keys = select(snapshot["keys"]).where(snapshot.created_at < end).order_by(snapshot.created_at.desc()).limit(1)
    lifetime = func.avg(seconds_between(warm.c.fetched_at, warm.c.expires_at))
    query = select(func.count(), func.sum(warm.c.requests), lifetime, keys.scalar_subquery())
    with read_transaction(engine) as connection:
        fetches, calls, seconds, known_keys = connection.execute(
            query.where(*_is_fetched(end - _DAY), warm.c.fetched_at < end)
        ).one()
    if not (fetches and seconds and known_keys):
        return None
    counted, per_fetch = read_traffic.get_calls(engine, end - _DAY, end), int(calls) / fetches
    planned = sum(item.calls for item in counted.causes if item.cause.kind.is_planned)
    all_planned = math.ceil(known_keys * _DAY.total_seconds() / float(seconds) * per_fetch)
    everything = counted.made - planned + max(planned, all_planned)
    return {
        "day": (end - _DAY).date(),
        "made": counted.made,
        "keys": known_keys,
        "lifetime": float(seconds),
        "per_fetch": per_fetch,
        "everything": everything,
    }


def _is_fetched(since: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on warms that were fetched since then; a plan is carried out within a day."""
    is_live = and_(warm.c.mode == Mode.LIVE, warm.c.status == WarmStatus.FETCHED)
    return warm.c.decided_at >= since - _DAY, warm.c.fetched_at >= since, is_live


def list_failures(engine: Engine, since: datetime, limit: int) -> list[Row[Any]]:
    """Return what failed when it ran last: DAGs that made a plan since then, and steps of maintenance.

    A row has its `kind`, `name` and start `at`; of a DAG its `run_id` and how many reports `failed`, of a step its
    `error`.
    """
    job, step = warming_job.c, maintenance_step.c
    order = func.row_number().over(partition_by=job.dag_id, order_by=job.started_at.desc())
    ended = select(job.dag_id, job.run_id, job.status, job.started_at, job.failed, order.label("place")).where(
        job.started_at >= since, job.finished_at.is_not(None)
    )
    newest = ended.subquery()
    dags = select(
        literal("DAG").label("kind"),
        newest.c.dag_id.label("name"),
        newest.c.started_at.label("at"),
        newest.c.run_id,
        newest.c.failed,
        cast(null(), Text).label("error"),
    ).where(newest.c.place == 1, newest.c.status == "failed")
    steps = select(
        literal("step of maintenance"),
        step.name,
        step.started_at,
        cast(null(), String),
        cast(null(), Integer),
        step.error,
    ).where(step.error.is_not(None))
    rows = union_all(dags, steps).subquery()
    with read_transaction(engine) as connection:
        return list(connection.execute(select(rows).order_by(rows.c.at.desc()).limit(limit)))


def get_situation(engine: Engine) -> Row[Any]:
    """Return whether anything is stored, the newest run, and open alerts: one row."""
    columns = {
        "any_entry": select(func.min(entry.c.account_id)),
        "mode": select(policy.c.mode).limit(1),
        "newest_run": select(func.max(warming_job.c.started_at)),
        "open_alerts": COUNT_OPEN,
    }
    query = select(*(part.scalar_subquery().label(name) for name, part in columns.items()))
    with read_transaction(engine) as connection:
        return connection.execute(query).one()


def list_grants(engine: Engine, now: datetime) -> list[Row[Any]]:
    """Return the calls in flight by worker and class: how many, probes among them, and since when."""
    table = capacity_grant.c
    columns = (
        func.count().label("calls"),
        func.min(table.granted_at).label("oldest"),
        func.min(table.expires_at).label("expires_at"),
        func.sum(case((table.probe, 1), else_=0)).label("probes"),
    )
    query = select(table.owner, table.priority, *columns).where(table.expires_at > now.timestamp())
    with read_transaction(engine) as connection:
        grouped = query.group_by(table.owner, table.priority).order_by(table.owner, table.priority)
        return list(connection.execute(grouped.limit(100)))


def list_short_groups(
    engine: Engine, settings: Settings, now: datetime, limit: int
) -> tuple[list[tuple[str, str, str]], int]:
    """Return up to `limit` accounts and reports whose groups do not add up, and how many there are.

    Behind each stands on which days, and what the first of them lacks, in the words of an answer that holds them.
    """
    figures = [item for item in list_newest(engine, DAYS, now - _SHORT_SINCE) if item.differs]
    named = [(item.account_id, item.metric.partition(" (")[2].removesuffix(")")) for item in figures]
    short = []
    for account_id, report in [pair for pair in named if pair[1] in settings.reports][:limit]:
        states = partitions.list_short(engine, account_id, settings.spec(report).hash)
        if states:
            lack = name_short_days(states[0].missing or "", [state.day for state in states])
            short.append((account_id, report, lack))
    return short, len(named)


def count_not_compared(engine: Engine, settings: Settings) -> dict[str, int]:
    """Return by report with breakdowns how many of its stored days are not stored without, where there are any."""
    plain = {name: list_plain(settings.spec(name), settings) for name in settings.reports}
    counts = {
        name: partitions.count_days_without(engine, settings.spec(name).hash, [spec.hash for spec in specs.values()])
        for name, specs in plain.items()
        if specs
    }
    return {name: count for name, count in counts.items() if count}
