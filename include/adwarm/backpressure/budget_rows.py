"""The budget's rows: loads the part of a `Budget` that a question needs, and saves what changed.

Every statement of admission is here, each on a connection whose transaction the caller owns. `lock` comes first in a
writing transaction: the fleet's row is the one lock, so that no two writers ever wait for each other.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, delete, insert, select, update

from adwarm.backpressure.admission import FLEET, Grant
from adwarm.backpressure.scope_state import ScopeState
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.foundation.circuit import Breaker
from adwarm.model import Priority, Scope
from adwarm.store.database import insert_new, upsert
from adwarm.store.tables import breaker, capacity_grant, capacity_scope

_PREFIX = "source:"
_LOCK = select(capacity_scope.c.scope).where(capacity_scope.c.scope == str(FLEET)).with_for_update()
_SCOPES, _GRANTS, _BREAKERS = select(capacity_scope), select(capacity_grant), select(breaker)
_EVERY_BREAKER = _BREAKERS.where(breaker.c.source.startswith(_PREFIX, autoescape=True))
_NAMED_SCOPES = _SCOPES.where(capacity_scope.c.scope.in_(bindparam("names", expanding=True)))
_NAMED_GRANTS = _GRANTS.where(capacity_grant.c.id.in_(bindparam("names", expanding=True)))
_NAMED_BREAKERS = _BREAKERS.where(breaker.c.source.in_(bindparam("names", expanding=True)))
_ADD_GRANT = insert(capacity_grant)
_CHANGE_GRANT = update(capacity_grant).where(capacity_grant.c.id == bindparam("key"))
_DROP_BREAKERS = delete(breaker).where(breaker.c.source.in_(bindparam("names", expanding=True)))
_DROP_GRANTS = delete(capacity_grant).where(capacity_grant.c.id.in_(bindparam("names", expanding=True)))


@dataclass(frozen=True, slots=True)
class BudgetKeys:
    """What a question is about; `sources` are names of breakers. The fleet is always loaded."""

    scopes: frozenset[Scope] = frozenset()
    breaker_names: frozenset[str] = frozenset()
    grant_ids: frozenset[str] = frozenset()

    def __or__(self, other: "BudgetKeys") -> "BudgetKeys":
        return BudgetKeys(
            self.scopes | other.scopes, self.breaker_names | other.breaker_names, self.grant_ids | other.grant_ids
        )


@dataclass(slots=True)
class LoadedRows:
    """The rows as they were when they were read."""

    scopes: dict[Scope, dict[str, Any]] = field(default_factory=dict)
    breakers: dict[str, Breaker] = field(default_factory=dict)
    grants: dict[str, tuple[Grant, bool]] = field(default_factory=dict)


def lock(connection: Connection, budget: SharedBudget, time: Callable[[Connection], float]) -> float:
    """Hold the fleet's row, and with it the whole budget, to the end of the transaction; return the moment."""
    if connection.execute(_LOCK).first() is None:
        fresh = ScopeState(FLEET, budget.rules_for(FLEET), time(connection))
        insert_new(connection, capacity_scope, [_scope_row(fresh, budget)])
        connection.execute(_LOCK)
    return time(connection)


def load(connection: Connection, budget: SharedBudget, keys: BudgetKeys, now: float) -> LoadedRows:
    """Fill the budget with what is needed, and with every grant once one has run out."""
    loaded = LoadedRows()
    _load_scopes(connection, budget, keys.scopes | {FLEET}, loaded, now)
    is_due = budget.next_expiry <= now
    if is_due or keys.grant_ids:
        _load_grants(connection, budget, None if is_due else keys.grant_ids, loaded)
        held = {scope for grant, _ in loaded.grants.values() for scope in grant.scopes}
        _load_scopes(connection, budget, held - budget.scopes.keys(), loaded, now)
    _load_breakers(connection, budget, keys.breaker_names, loaded)
    return loaded


def load_all(connection: Connection, budget: SharedBudget) -> None:
    """Fill the budget with every row there is."""
    loaded = LoadedRows()
    _load_scopes(connection, budget, None, loaded, None)
    _load_grants(connection, budget, None, loaded)
    _load_breakers(connection, budget, None, loaded)


def save(connection: Connection, budget: SharedBudget, loaded: LoadedRows, owner: str) -> None:
    """Store what is not as it was loaded."""
    rows = [_scope_row(state, budget) for state in budget.scopes.values()]
    upsert(connection, capacity_scope, [row for row in rows if row != loaded.scopes.get(Scope.parse(row["scope"]))])
    upsert(
        connection,
        breaker,
        [
            _breaker_row(source, value)
            for source, value in budget.breakers.items()
            if value != loaded.breakers.get(source)
        ],
    )
    if gone := loaded.breakers.keys() - budget.breakers.keys():
        connection.execute(_DROP_BREAKERS, {"names": sorted(_PREFIX + name for name in gone)})
    _save_grants(connection, budget, loaded, owner)


def _save_grants(connection: Connection, budget: SharedBudget, loaded: LoadedRows, owner: str) -> None:
    now = {id_: (grant, id_ in budget.counted_grant_ids) for id_, grant in budget.grants.items()}
    if fresh := [_grant_row(*value, owner) for id_, value in now.items() if id_ not in loaded.grants]:
        connection.execute(_ADD_GRANT, fresh)
    if gone := loaded.grants.keys() - now.keys():
        connection.execute(_DROP_GRANTS, {"names": sorted(gone)})
    changed = [
        {"key": id_, "token": grant.token, "expires_at": grant.expires_at, "counted": counted}
        for id_, (grant, counted) in now.items()
        if id_ in loaded.grants and loaded.grants[id_] != (grant, counted)
    ]
    if changed:
        connection.execute(_CHANGE_GRANT, changed)


def _load_scopes(
    connection: Connection,
    budget: SharedBudget,
    scopes: Collection[Scope] | None,
    loaded: LoadedRows,
    now: float | None,
) -> None:
    """Load the scopes, every one for None."""
    for row in _rows(connection, _SCOPES, _NAMED_SCOPES, None if scopes is None else map(str, scopes)):
        scope, stored = Scope.parse(row["scope"]), dict(row)
        budget.scopes[scope] = ScopeState.from_row(scope, budget.rules_for(scope), stored, now)
        loaded.scopes[scope] = stored
        if scope == FLEET:
            ledger = row["state"].get("ledger", {})
            budget.last_token = int(ledger.get("token", 0))
            due = ledger.get("next_expiry")
            budget.next_expiry = float("inf") if due is None else float(due)


def _load_grants(connection: Connection, budget: SharedBudget, ids: Collection[str] | None, loaded: LoadedRows) -> None:
    """Load the grants, every one for None."""
    for row in _rows(connection, _GRANTS, _NAMED_GRANTS, ids):
        grant = _grant(row)
        budget.grants[grant.id] = grant
        if row["counted"]:
            budget.counted_grant_ids.add(grant.id)
        loaded.grants[grant.id] = (grant, row["counted"])


def _load_breakers(
    connection: Connection, budget: SharedBudget, sources: Iterable[str] | None, loaded: LoadedRows
) -> None:
    """Load the breakers of the sources, every one for None."""
    names = None if sources is None else [_PREFIX + source for source in sources]
    for row in _rows(connection, _EVERY_BREAKER, _NAMED_BREAKERS, names):
        source = row["source"].removeprefix(_PREFIX)
        value = Breaker.from_dict(row["state"], row["changed_at"], row["probe_at"], row["data"])
        budget.breakers[source] = loaded.breakers[source] = value


def _rows(
    connection: Connection, every: Select[Any], named: Select[Any], names: Iterable[str] | None
) -> Iterable[RowMapping]:
    """Return the rows of those names, every row for None."""
    if names is None:
        return connection.execute(every).mappings()
    wanted = sorted(names)
    return connection.execute(named, {"names": wanted}).mappings() if wanted else ()


def _scope_row(state: ScopeState, budget: SharedBudget) -> dict[str, Any]:
    row = state.to_row()
    if state.scope == FLEET:
        due = budget.next_expiry
        row["state"]["ledger"] = {"token": budget.last_token, "next_expiry": None if due == float("inf") else due}
    return row


def _grant_row(grant: Grant, counted: bool, owner: str) -> dict[str, Any]:
    return {
        "id": grant.id,
        "token": grant.token,
        "scopes": [str(scope) for scope in grant.scopes],
        "priority": int(grant.priority),
        "cost": grant.cost,
        "source": grant.source,
        "probe": grant.is_probe,
        "permits": grant.permits,
        "counted": counted,
        "owner": owner[:120],
        "granted_at": grant.granted_at,
        "spend_until": grant.usable_until,
        "expires_at": grant.expires_at,
    }


def _grant(row: RowMapping) -> Grant:
    return Grant(
        id=row["id"],
        scopes=tuple(Scope.parse(name) for name in row["scopes"]),
        priority=Priority(row["priority"]),
        cost=row["cost"],
        granted_at=row["granted_at"],
        expires_at=row["expires_at"],
        source=row["source"],
        is_probe=row["probe"],
        token=row["token"],
        permits=row["permits"],
        usable_until=row["spend_until"],
    )


def _breaker_row(source: str, value: Breaker) -> dict[str, Any]:
    return {
        "source": _PREFIX + source,
        "state": str(value.state),
        "changed_at": value.changed_at,
        "probe_at": value.probe_at,
        "data": value.to_dict(),
    }
