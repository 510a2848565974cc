"""SQL of the tab *Now*: each function runs one statement, which reads a bounded part of large tables by an index."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Engine,
    Row,
    Select,
    and_,
    func,
    or_,
    select,
    true,
)

from adwarm.store.alerts import alert
from adwarm.store.capacity_tables import breaker, capacity_scope
from adwarm.store.database import read_transaction
from adwarm.store.entries import table as entry
from adwarm.store.jobs import table as warming_job
from adwarm.store.requests import table as request
from adwarm.store.snapshots import policy
from adwarm.store.switches import table as control_switch

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


def list_quota(engine: Engine, limit: int = MAX_ROWS) -> list[Row[Any]]:
    """Return the rows of every shared capacity scope, and those of the accounts that use most of their quota."""
    scope = capacity_scope.c
    is_account = scope.scope.like(f"{ACCOUNT_SCOPE}%")
    top = select(scope.scope).where(is_account, scope.usage.is_not(None)).order_by(scope.usage.desc()).limit(limit)
    query = (
        select(capacity_scope).where(or_(~is_account, scope.scope.in_(top))).order_by(is_account, scope.usage.desc())
    )
    return _list(engine, query.limit(10 * limit))


def _of_first(column: ColumnElement[Any], condition: ColumnElement[bool], order: Sequence[Any]) -> Select[Any]:
    """Return a column of the first row that meets a condition, in an order that is total."""
    return select(column).where(condition).order_by(*order).limit(1)


def _list(engine: Engine, query: Any) -> list[Row[Any]]:
    with read_transaction(engine) as connection:
        return list(connection.execute(query))
