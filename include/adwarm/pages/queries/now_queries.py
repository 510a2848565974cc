"""SQL of the tab *Now*: each function runs one statement, which reads a bounded part of large tables by an index."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.types import Integer, String, Text

from adwarm.model import Mode, WarmStatus
from adwarm.store.database import read_transaction
from adwarm.store.tables import (
    alert,
    breaker,
    capacity_scope,
    control_switch,
    entry,
    forecast_snapshot,
    maintenance_step,
    policy,
    request,
    warm,
    warming_job,
)

DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
MAX_ROWS: Final = 10
ACCOUNT_SCOPE: Final = "account:"
_PARKED: Final = {"parked_scope": "scope", "parked_until": "parked_until", "parked_why": "parked_why"}
_BROKEN: Final = {"broken_source": "source", "probe_at": "probe_at"}


def get_situation(engine: Engine, now: datetime) -> list[Row[Any]]:
    """Return what the headline is made of: one row with the figures for each switch, at least one."""
    moment = now.timestamp()
    shared = and_(capacity_scope.c.parked_until > moment, capacity_scope.c.scope.not_like(f"{ACCOUNT_SCOPE}%"))
    broken = and_(breaker.c.state != "closed", breaker.c.source.not_like(f"% {ACCOUNT_SCOPE}%"))
    parked = (capacity_scope.c.parked_until.desc(), capacity_scope.c.scope)
    tested = (breaker.c.probe_at.desc(), breaker.c.source)
    waits = and_(request.c.status == "pending", request.c.deadline > now)
    columns = {
        "any_entry": select(func.min(entry.c.account_id)),
        "mode": select(policy.c.mode).limit(1),
        "newest_run": select(func.max(warming_job.c.started_at)),
        "open_alerts": select(func.count()).select_from(alert).where(alert.c.resolved_at.is_(None)),
        **{name: _of_first(capacity_scope.c[column], shared, parked) for name, column in _PARKED.items()},
        **{name: _of_first(breaker.c[column], broken, tested) for name, column in _BROKEN.items()},
        "waiting": select(func.count()).select_from(request).where(waits),
        "oldest_wait": select(func.min(request.c.enqueued_at)).where(waits),
    }
    figures = select(*(query.scalar_subquery().label(name) for name, query in columns.items())).subquery()
    switch = control_switch.c
    query = select(figures, switch.name, switch.is_on, switch.changed_at, switch.changed_by, switch.why)
    return _list(engine, query.select_from(figures.outerjoin(control_switch, true())).order_by(switch.name))


def get_calls(engine: Engine, since: datetime) -> Row[Any]:
    """Return what a fetch since then took, and how many reports are known."""
    with read_transaction(engine) as connection:
        lifetime = _seconds_between(connection, warm.c.fetched_at, warm.c.expires_at)
        fetched = (
            select(
                func.count().label("fetches"),
                func.sum(warm.c.requests).label("requests"),
                func.avg(lifetime).label("lifetime"),
            )
            .where(warm.c.decided_at >= since, warm.c.mode == Mode.LIVE, warm.c.status == WarmStatus.FETCHED)
            .subquery()
        )
        keys = select(forecast_snapshot.c["keys"]).where(
            forecast_snapshot.c.id == select(policy.c.snapshot_id).limit(1).scalar_subquery()
        )
        return connection.execute(select(fetched, keys.scalar_subquery().label("keys"))).one()


def list_quota(engine: Engine, limit: int = MAX_ROWS) -> list[Row[Any]]:
    """Return the rows of every shared capacity scope, and those of the accounts that use most of their quota."""
    scope = capacity_scope.c
    is_account = scope.scope.like(f"{ACCOUNT_SCOPE}%")
    top = select(scope.scope).where(is_account, scope.usage.is_not(None)).order_by(scope.usage.desc()).limit(limit)
    query = (
        select(capacity_scope).where(or_(~is_account, scope.scope.in_(top))).order_by(is_account, scope.usage.desc())
    )
    return _list(engine, query.limit(10 * limit))


def list_degraded(engine: Engine, limit: int = MAX_ROWS) -> list[Row[Any]]:
    """Return the reasons of degraded entries, the most frequent first: how many, since when, and an example."""
    columns = (
        func.count().label("entries"),
        func.min(entry.c.fetched_at).label("oldest"),
        func.min(entry.c.account_id).label("example"),
        func.sum(func.count()).over().label("total"),
    )
    reason = entry.c.degraded_reason
    query = select(reason, *columns).where(entry.c.degraded).group_by(reason)
    return _list(engine, query.order_by(func.count().desc(), reason).limit(limit))


def list_failures(engine: Engine, since: datetime) -> list[Row[Any]]:
    """Return what failed when it ran last: DAGs that made a plan since then, and steps of maintenance."""
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
    return _list(engine, select(rows).order_by(rows.c.at.desc()).limit(2 * MAX_ROWS))


def _of_first(column: ColumnElement[Any], condition: ColumnElement[bool], order: Sequence[Any]) -> Select[Any]:
    """Return a column of the first row that meets a condition, in an order that is total."""
    return select(column).where(condition).order_by(*order).limit(1)


def _seconds_between(
    connection: Connection, start: ColumnElement[datetime], end: ColumnElement[datetime]
) -> ColumnElement[Any]:
    if connection.dialect.name == "postgresql":
        return func.date_part("epoch", end - start)  # a float; `extract` gives a slow numeric
    return (func.julianday(end) - func.julianday(start)) * 86_400.0


def _list(engine: Engine, query: Any) -> list[Row[Any]]:
    with read_transaction(engine) as connection:
        return list(connection.execute(query))
