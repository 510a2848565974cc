"""The rows of the shared budget: loads the part of a `SharedBudget` that an operation needs, and saves what changed.

All SQL of admission is here; each function runs in the caller's transaction. A writing transaction calls `lock` first.
The row of the fleet is the only lock, so writers cannot deadlock.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, delete, insert, select, union, update

from adwarm.backpressure.admission import FLEET, Grant
from adwarm.backpressure.breakers import source_scope
from adwarm.backpressure.scope_state import Parking, ScopeState
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.foundation.circuit import Breaker, BreakerRules
from adwarm.foundation.gate import CALLS_SWITCH, Gate, OpenedBy, Rule
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.store.capacity import capacity_grant, capacity_scope
from adwarm.store.database import clock_column, database_time, insert_new, upsert
from adwarm.store.gates import read_row, save_gates
from adwarm.store.gates import table as gate

_PREFIX = source_scope("")
_IS_ACCOUNT = capacity_scope.c.scope.like(f"{ScopeKind.ACCOUNT}:%")
_SCOPES, _GRANTS = select(capacity_scope), select(capacity_grant)
_EVERY_GATE = select(gate).where(gate.c.rule.in_([Rule.SWITCH, Rule.PARK, Rule.BREAKER]))
_NAMED_SCOPES = _SCOPES.where(capacity_scope.c.scope.in_(bindparam("names", expanding=True)))
_NAMED_GRANTS = _GRANTS.where(capacity_grant.c.id.in_(bindparam("names", expanding=True)))
_NAMED_GATES = _EVERY_GATE.where(gate.c.scope.in_(bindparam("names", expanding=True)))
_ADD_GRANT = insert(capacity_grant)
_CHANGE_GRANT = update(capacity_grant).where(capacity_grant.c.id == bindparam("key"))
_DROP_BREAKERS = delete(gate).where(gate.c.rule == Rule.BREAKER, gate.c.scope.in_(bindparam("names", expanding=True)))
_TAKE_GRANTS = (
    delete(capacity_grant)
    .where(capacity_grant.c.id.in_(bindparam("names", expanding=True)))
    .returning(*capacity_grant.c)
)
_DROP_GRANTS = delete(capacity_grant).where(capacity_grant.c.id.in_(bindparam("names", expanding=True)))


@dataclass(frozen=True, slots=True)
class BudgetKeys:
    """The rows that an operation needs. The row of the fleet is always loaded.

    Attributes:
        released_ids: the grants that are released; loading deletes their rows, and saving inserts those that stay.
    """

    scopes: frozenset[Scope] = frozenset()
    breaker_names: frozenset[str] = frozenset()
    grant_ids: frozenset[str] = frozenset()
    released_ids: frozenset[str] = frozenset()


@dataclass(slots=True)
class LoadedRows:
    """The rows as they were read, to find out what changed."""

    scopes: dict[Scope, dict[str, Any]] = field(default_factory=dict)
    parkings: dict[Scope, Parking] = field(default_factory=dict)
    breakers: dict[str, Breaker] = field(default_factory=dict)
    grants: dict[str, tuple[Grant, bool]] = field(default_factory=dict)


def lock(connection: Connection, budget: SharedBudget, time: Callable[[Connection], float]) -> float:
    """Lock the fleet's row, and with it the whole budget, until the transaction ends; return the database's time."""
    query = _lock_query(connection.dialect.name)
    row = connection.execute(query).first()
    if row is None:
        fleet = ScopeState(FLEET, budget.rules_for(FLEET), time(connection))
        insert_new(connection, capacity_scope, [_scope_row(fleet, budget)])
        row = connection.execute(query).one()
    return float(row.clock) if time is database_time else time(connection)


@cache
def _lock_query(dialect: str) -> Select[Any]:
    """Return the query that locks the fleet's row and then reads the clock."""
    # The row is locked in a subquery, because PostgreSQL computes the columns of a query before it waits for its locks.
    locked = select(capacity_scope.c.scope).where(capacity_scope.c.scope == str(FLEET)).with_for_update().subquery()
    return select(locked.c.scope, clock_column(dialect))


def load(connection: Connection, budget: SharedBudget, keys: BudgetKeys, now: float) -> LoadedRows:
    """Load the rows of `keys` into the budget, and every grant once one has expired."""
    loaded, scopes = LoadedRows(), keys.scopes | {FLEET}
    _load_scopes(connection, budget, scopes, loaded)
    has_expired = budget.next_expiry <= now
    if keys.released_ids:
        _read_grants(connection.execute(_TAKE_GRANTS, {"names": sorted(keys.released_ids)}).mappings(), budget)
    if has_expired:
        loaded.grants = _read_grants(connection.execute(_GRANTS).mappings(), budget)
    elif keys.grant_ids:
        named = connection.execute(_NAMED_GRANTS, {"names": sorted(keys.grant_ids)})
        loaded.grants = _read_grants(named.mappings(), budget)
    granted = {scope for grant in budget.grants.values() for scope in grant.scopes}
    if others := granted - budget.scopes.keys():
        _load_scopes(connection, budget, others, loaded)
    scopes |= granted
    names = [CALLS_SWITCH, *map(str, scopes), *map(source_scope, keys.breaker_names)]
    _read_gates(connection.execute(_NAMED_GATES, {"names": sorted(names)}).mappings(), budget, loaded, now)
    return loaded


def load_all(connection: Connection, budget: SharedBudget, now: float) -> None:
    """Load every row into the budget."""
    loaded = LoadedRows()
    _read_scopes(connection.execute(_SCOPES).mappings(), budget, loaded)
    _read_grants(connection.execute(_GRANTS).mappings(), budget)
    _read_gates(connection.execute(_EVERY_GATE).mappings(), budget, loaded, now)


def load_notable(connection: Connection, budget: SharedBudget, accounts: int, now: float) -> None:
    """Load the scopes that accounts share, those that are parked, and the `accounts` that use most of their quota.

    Every part but the last is found by an index, however many accounts there are.
    """
    scope = capacity_scope.c
    shared = select(scope.scope).where(~_IS_ACCOUNT)
    names = [shared, select(gate.c.scope).where(gate.c.rule == Rule.PARK, gate.c.closed_until > now)]
    if accounts:
        top = select(scope.scope).where(_IS_ACCOUNT, scope.usage.is_not(None)).order_by(scope.usage.desc())
        names.append(select(top.limit(accounts).subquery().c.scope))
    loaded = LoadedRows()
    _read_scopes(connection.execute(_SCOPES.where(scope.scope.in_(union(*names)))).mappings(), budget, loaded)
    if budget.next_expiry <= now:
        _read_grants(connection.execute(_GRANTS).mappings(), budget)
        for id_, grant in budget.grants.items():  # their other scopes are not shown
            budget.grants[id_] = replace(grant, scopes=tuple(s for s in grant.scopes if s in budget.scopes))


def save(connection: Connection, budget: SharedBudget, loaded: LoadedRows, owner: str) -> None:
    """Save the rows that changed since they were loaded."""
    rows = [_scope_row(state, budget) for state in budget.scopes.values()]
    upsert(connection, capacity_scope, [row for row in rows if row != loaded.scopes.get(Scope.parse(row["scope"]))])
    changed = [
        state.parking.to_gate(state.name)
        for scope, state in budget.scopes.items()
        if state.parking.until is not None and state.parking != loaded.parkings.get(scope)
    ]
    changed += [
        _breaker_gate(name, value, budget.breaker_registry.rules_for(name))
        for name, value in budget.breakers.items()
        if value != loaded.breakers.get(name)
    ]
    if changed:
        save_gates(connection, changed)
    if removed := loaded.breakers.keys() - budget.breakers.keys():
        connection.execute(_DROP_BREAKERS, {"names": sorted(map(source_scope, removed))})
    _save_grants(connection, budget, loaded, owner)


def _save_grants(connection: Connection, budget: SharedBudget, loaded: LoadedRows, owner: str) -> None:
    current = {id_: (grant, id_ in budget.counted_grant_ids) for id_, grant in budget.grants.items()}
    if added := [_grant_row(*value, owner) for id_, value in current.items() if id_ not in loaded.grants]:
        connection.execute(_ADD_GRANT, added)
    if removed := loaded.grants.keys() - current.keys():
        connection.execute(_DROP_GRANTS, {"names": sorted(removed)})
    changed = [
        {"key": id_, "token": grant.token, "expires_at": grant.expires_at, "counted": counted}
        for id_, (grant, counted) in current.items()
        if id_ in loaded.grants and loaded.grants[id_] != (grant, counted)
    ]
    if changed:
        connection.execute(_CHANGE_GRANT, changed)


def _load_scopes(connection: Connection, budget: SharedBudget, scopes: Collection[Scope], loaded: LoadedRows) -> None:
    rows = connection.execute(_NAMED_SCOPES, {"names": sorted(map(str, scopes))})
    _read_scopes(rows.mappings(), budget, loaded)


def _read_scopes(rows: Iterable[RowMapping], budget: SharedBudget, loaded: LoadedRows) -> None:
    for row in rows:
        scope, stored = Scope.parse(row["scope"]), dict(row)
        budget.scopes[scope] = ScopeState.from_row(scope, budget.rules_for(scope), stored)
        loaded.scopes[scope] = stored
        if scope == FLEET:
            ledger = row["state"].get("ledger", {})
            budget.last_token = int(ledger.get("token", 0))
            expiry = ledger.get("next_expiry")
            budget.next_expiry = float("inf") if expiry is None else float(expiry)


def _read_grants(rows: Iterable[RowMapping], budget: SharedBudget) -> dict[str, tuple[Grant, bool]]:
    """Take in the grants of rows, and return each with whether it counts."""
    grants = {row["id"]: (_read_grant(row), bool(row["counted"])) for row in rows}
    budget.grants |= {id_: grant for id_, (grant, _) in grants.items()}
    budget.counted_grant_ids |= {id_ for id_, (_, counted) in grants.items() if counted}
    return grants


def _read_gates(rows: Iterable[RowMapping], budget: SharedBudget, loaded: LoadedRows, now: float) -> None:
    """Take in the switch of calls, parks, cut to the longest one of the rules, and breakers."""
    for row in rows:
        if row["rule"] == Rule.BREAKER:
            name = row["scope"].removeprefix(_PREFIX)
            budget.breakers[name] = loaded.breakers[name] = Breaker.from_dict(row["data"])
        elif row["rule"] == Rule.SWITCH:
            budget.switch = read_row(row) if row["scope"] == CALLS_SWITCH else budget.switch
        else:
            state = budget.scope_state(Scope.parse(row["scope"]), now)
            parking = loaded.parkings[state.scope] = Parking.from_gate(read_row(row))
            state.parking = parking.bounded(now, state.rules.max_park_seconds)


def _scope_row(state: ScopeState, budget: SharedBudget) -> dict[str, Any]:
    row = state.to_row()
    if state.scope == FLEET:
        expiry = budget.next_expiry
        row["state"]["ledger"] = {"token": budget.last_token, "next_expiry": None if expiry == float("inf") else expiry}
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
        "counted": counted,
        "owner": owner[:120],
        "granted_at": grant.granted_at,
        "expires_at": grant.expires_at,
    }


def _read_grant(row: RowMapping) -> Grant:
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
    )


def _breaker_gate(name: str, value: Breaker, rules: BreakerRules) -> Gate:
    closed_until, why = value.closed_until(rules), value.reason or ""
    return Gate(
        scope=source_scope(name),
        rule=Rule.BREAKER,
        since=value.changed_at,
        closed_until=closed_until,
        why=why,
        opened_by=OpenedBy.PROBES,
        data=value.to_dict(),
    )
