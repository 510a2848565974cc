"""SQL of the tab *Flow*. Each function runs one statement; error events, requests and samples are read by an index."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, case, cast, func, literal, null, or_, select, union_all
from sqlalchemy.types import JSON, Float, Text

from adwarm.store.capacity_tables import breaker, capacity_grant, capacity_scope, isolation
from adwarm.store.database import read_transaction

DAY: Final = timedelta(days=1)
MAX_ROWS: Final = 20
ACCOUNT_SCOPE: Final = "account:"
BREAKER_PREFIX: Final = "source:"


def list_shared_scopes(engine: Engine) -> list[Row[Any]]:
    """Return the rows of the capacity scopes that accounts share."""
    query = select(capacity_scope).where(capacity_scope.c.scope.not_like(f"{ACCOUNT_SCOPE}%"))
    return _list(engine, query.order_by(capacity_scope.c.scope).limit(MAX_ROWS))


def list_parked(engine: Engine, now: datetime) -> list[Row[Any]]:
    """Return the parked scopes, shared ones first, then those parked longest; `total` is how many there are."""
    table = capacity_scope.c
    columns = (table.scope, table.parked_until, table.parked_why, table.state, func.count().over().label("total"))
    is_account = case((table.scope.like(f"{ACCOUNT_SCOPE}%"), 1), else_=0)
    query = select(*columns).where(table.parked_until > now.timestamp())
    return _list(engine, query.order_by(is_account, table.parked_until.desc(), table.scope).limit(MAX_ROWS))


def list_barred(engine: Engine) -> list[Row[Any]]:
    """Return what is not called: breakers of sources, and of accounts that are not closed, and isolated scopes.

    `kind` is `breaker` or `isolation`; `total` is how many there are. Times are seconds since the epoch.
    """
    of_account = breaker.c.source.like(f"% {ACCOUNT_SCOPE}%")
    breakers = select(
        literal("breaker").label("kind"),
        breaker.c.source.label("name"),
        breaker.c.state,
        breaker.c.changed_at,
        breaker.c.probe_at.label("until"),
        cast(null(), Text).label("reason"),
        breaker.c.data,
        case((breaker.c.state == "closed", 1), else_=0).label("place"),
    ).where(or_(breaker.c.state != "closed", ~of_account))
    isolated = select(
        literal("isolation"),
        isolation.c.scope,
        isolation.c.state,
        isolation.c.changed_at,
        cast(isolation.c.until, Float),
        isolation.c.reason,
        cast(null(), JSON),
        literal(0),
    ).where(isolation.c.state != "closed")
    rows = union_all(breakers, isolated).subquery()
    query = select(rows, func.count().over().label("total"))
    return _list(engine, query.order_by(rows.c.place, rows.c.changed_at.desc(), rows.c.name).limit(2 * MAX_ROWS))


def list_grants(engine: Engine, now: datetime) -> list[Row[Any]]:
    """Return the grants that have not expired, by worker and class: permits, calls' cost, and since when."""
    table = capacity_grant.c
    columns = (
        func.sum(table.permits).label("permits"),
        func.min(table.granted_at).label("oldest"),
        func.min(table.expires_at).label("expires_at"),
        func.sum(case((table.probe, 1), else_=0)).label("probes"),
    )
    query = select(table.owner, table.priority, *columns).where(table.expires_at > now.timestamp())
    return _list(engine, query.group_by(table.owner, table.priority).order_by(table.owner, table.priority).limit(100))


def _list(engine: Engine, query: Select[Any]) -> list[Row[Any]]:
    with read_transaction(engine) as connection:
        return list(connection.execute(query))
