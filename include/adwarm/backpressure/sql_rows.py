"""The budget's rows: every SQL statement of admission, each on a connection whose transaction the caller owns.

`lock_scopes` comes first in a writing transaction: it serialises whoever shares a scope, in one fixed order.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from adwarm.backpressure.breaker import Breaker
from adwarm.backpressure.decision import Grant
from adwarm.backpressure.scope_state import ScopeState
from adwarm.model import Priority
from adwarm.store.engine import insert_new, upsert
from adwarm.store.tables import breaker, capacity_grant, capacity_scope

EXPIRED_KEPT_SECONDS = 600.0
"""An expired grant's row stays this long, so that its late outcome is learnt from once, and only once."""

_PREFIX = "source:"


def introduce(connection: Connection, states: Sequence[ScopeState], source: str, now: float) -> None:
    """Add a row for each scope and for the source's breaker where there is none yet."""
    rows = sorted((state.to_row() for state in states), key=lambda row: str(row["scope"]))
    insert_new(connection, capacity_scope, rows)
    insert_new(connection, breaker, [_breaker_row(source, Breaker(changed_at=now))])


def lock_scopes(connection: Connection, names: Iterable[str]) -> dict[str, RowMapping]:
    """Return the scopes' rows by name, and hold them to the end of the transaction."""
    found = connection.execute(
        select(capacity_scope)
        .where(capacity_scope.c.scope.in_(sorted(names)))
        .order_by(capacity_scope.c.scope)
        .with_for_update()
    )
    return {row["scope"]: row for row in found.mappings()}


def save_scopes(connection: Connection, states: Sequence[ScopeState]) -> None:
    """Store the scopes as they are now."""
    upsert(connection, capacity_scope, [state.to_row() for state in states])


def all_scopes(connection: Connection) -> Sequence[RowMapping]:
    """Return every scope's row, by name."""
    return connection.execute(select(capacity_scope).order_by(capacity_scope.c.scope)).mappings().all()


def live_grants(connection: Connection, names: Iterable[str], now: float) -> dict[str, dict[Priority, int]]:
    """Count the grants that have not expired at `now`, by scope and class."""
    column = capacity_grant.c
    rows = connection.execute(
        select(column.scope, column.priority, func.count())
        .where(column.scope.in_(list(names)), column.expires_at > now)
        .group_by(column.scope, column.priority)
    )
    held: dict[str, dict[Priority, int]] = defaultdict(dict)
    for scope, priority, count in rows:
        held[scope][Priority(priority)] = int(count)
    return dict(held)


def drop_expired(connection: Connection, now: float) -> None:
    """Remove the rows of grants that expired long ago."""
    connection.execute(delete(capacity_grant).where(capacity_grant.c.expires_at <= now - EXPIRED_KEPT_SECONDS))


def add_grant(connection: Connection, grant: Grant, owner: str) -> None:
    """Store the grant, one row for each scope it holds a slot of."""
    row = {
        "id": grant.id,
        "priority": int(grant.priority),
        "cost": grant.cost,
        "owner": owner[:120],
        "token": 0,
        "granted_at": grant.granted_at,
        "expires_at": grant.expires_at,
    }
    connection.execute(insert(capacity_grant), [{**row, "scope": str(scope)} for scope in grant.scopes])


def renew_grant(connection: Connection, grant_id: str, now: float, expires_at: float) -> bool:
    """Move the expiry of a live grant; False when it had expired or was settled."""
    live = (capacity_grant.c.id == grant_id) & (capacity_grant.c.expires_at > now)
    return bool(connection.execute(update(capacity_grant).where(live).values(expires_at=expires_at)).rowcount)


def remove_grant(connection: Connection, grant_id: str) -> bool:
    """Remove the grant; False when it was not there."""
    return bool(connection.execute(delete(capacity_grant).where(capacity_grant.c.id == grant_id)).rowcount)


def load_breaker(connection: Connection, source: str) -> Breaker:
    """Return the source's breaker, closed when there is none."""
    found = connection.execute(select(breaker).where(breaker.c.source == _PREFIX + source)).mappings().first()
    return _breaker(found) if found else Breaker()


def save_breaker(connection: Connection, source: str, before: Breaker, after: Breaker) -> None:
    """Store the source's breaker, if it changed."""
    if after != before:
        upsert(connection, breaker, [_breaker_row(source, after)])


def all_breakers(connection: Connection) -> dict[str, Breaker]:
    """Return every source's breaker by the source's name."""
    rows = connection.execute(
        select(breaker).where(breaker.c.source.startswith(_PREFIX)).order_by(breaker.c.source)
    ).mappings()
    return {row["source"].removeprefix(_PREFIX): _breaker(row) for row in rows}


def _breaker(row: RowMapping) -> Breaker:
    return Breaker.from_dict(row["state"], row["changed_at"], row["probe_at"], row["data"])


def _breaker_row(source: str, value: Breaker) -> dict[str, Any]:
    return {
        "source": _PREFIX + source,
        "state": str(value.state),
        "changed_at": value.changed_at,
        "probe_at": value.probe_at,
        "data": value.to_dict(),
    }
