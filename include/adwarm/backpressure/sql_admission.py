"""Admission with its state in SQL: every worker, run and process that uses the database shares one budget.

Guarantees, whichever process dies: the counted grants of a scope never exceed its limit, a parked scope is never
granted before its time, and the grants of a dead worker stop counting at their expiry.

Each operation is a short write transaction of its own, and one at a time: it locks the budget and reads its part in one
round trip, and saves what changed in another. All times are the database's own.

PostgreSQL writes every grant, renewal and closed gate to the disk before the operation ends. The return of a grant may
follow within a second: when the server crashes before, the grant counts until it expires, as if its worker had died.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, Table, select

from adwarm.backpressure.admission import FLEET, CallOutcome, CallRequest, Decision, Grant
from adwarm.backpressure.breakers import breaker_names, source_scope
from adwarm.backpressure.scope_state import Ledger, Parking, ScopeRules, ScopeState
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.backpressure.status import AdmissionStatus
from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState
from adwarm.foundation.gate import CALLS_SWITCH, Gate, OpenedBy, Rule
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from adwarm.store import gates
from adwarm.store.capacity import capacity_grant, capacity_scope
from adwarm.store.database import (
    CLOCKS,
    Statement,
    database_time,
    execute_together,
    insert_sql,
    read_transaction,
    write_transaction,
)
from adwarm.store.writer_queue import WriterQueue

log = logging.getLogger(__name__)
OnOverlongPark = Callable[[Scope, float], None]
T = TypeVar("T")
Time = Callable[[Connection], float]

_LOCK: Final = "SELECT pg_advisory_xact_lock(7230117)"
"""Locks the budget until the transaction ends; SQLite's write transactions are exclusive already."""
_LATER: Final = "SET LOCAL synchronous_commit TO off"
"""Lets PostgreSQL end the transaction before it is on the disk."""
_CLOCK_ROW: Final = (
    "SELECT 'clock' AS kind, '' AS name, CAST({} AS FLOAT) AS since, CAST(NULL AS FLOAT) AS until, '' AS note, "
    "'' AS data"
)
_SCOPE_ROWS: Final = (
    " UNION ALL SELECT 'scope', scope, NULL, NULL, '', CAST(state AS TEXT) FROM capacity_scope WHERE scope IN ({})"
)
_GATE_ROWS: Final = (
    " UNION ALL SELECT rule, scope, since, closed_until, why, CAST(data AS TEXT) FROM gate"
    " WHERE rule IN ('switch', 'park', 'breaker') AND scope IN ({})"
)
_GRANT_ROW: Final = (
    " UNION ALL SELECT CASE WHEN counted THEN 'counted' ELSE 'expired' END, id, token, expires_at, '', ''"
    " FROM capacity_grant WHERE id = ?"
)
_EVERY_SCOPE: Final = "SELECT scope FROM capacity_scope"
_EVERY_GATE: Final = "SELECT scope FROM gate"
_SHARED_OR_PARKED: Final = (
    "SELECT scope FROM capacity_scope WHERE scope NOT LIKE 'account:%'"
    " UNION SELECT scope FROM gate WHERE rule = 'park' AND closed_until > ?"
)
_OR_BUSIEST: Final = (
    " UNION SELECT scope FROM (SELECT scope FROM capacity_scope WHERE scope LIKE 'account:%' AND usage IS NOT NULL"
    " ORDER BY usage DESC LIMIT ?) AS top"
)
_NO_GATE: Final = "'-'"
_EVERY_GRANT: Final = select(capacity_grant)
_CHANGE_GRANT: Final = "UPDATE capacity_grant SET (token, expires_at, counted) = (?, ?, ?) WHERE id = ?"
_DROP_GRANTS: Final = "DELETE FROM capacity_grant WHERE id IN ({})"
_DROP_BREAKERS: Final = "DELETE FROM gate WHERE rule = 'breaker' AND scope IN ({})"
_ORDER: Final = {"clock": 0, "scope": 1}
"""Kinds of rows that are taken in before the others."""
_COUNTED: Final = {"counted": True, "expired": False}
_BREAKER: Final = msgspec.json.Decoder(Breaker)
_PREFIX: Final = source_scope("")


def log_overlong_park(scope: Scope, seconds: float) -> None:
    """Log that the platform asked for a longer park than `MAX_PARK_SECONDS` allows."""
    log.warning(
        "%s: the platform asked not to be called for %.3g s; the scope is parked for the longest time allowed",
        scope,
        seconds,
    )


class SqlAdmission:
    """Admission over the tables `capacity_scope`, `capacity_grant` and `gate`. Safe to share between threads.

    Args:
        owner: names this process in grants.
        rng: spreads the ends of parks.
        database_time: returns the time in seconds since the epoch; the database's own by default.
        on_overlong_park: called after the commit for each scope whose park was cut to `MAX_PARK_SECONDS`, with the
            seconds that the platform asked for.
    """

    def __init__(
        self,
        engine: Engine,
        settings: BackpressureSettings,
        *,
        owner: str,
        rng: Random,
        database_time: Callable[[Connection], float] = database_time,
        on_overlong_park: OnOverlongPark = log_overlong_park,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._owner = owner
        self._rng = rng
        self._time = database_time
        self._on_overlong_park = on_overlong_park
        self._writer_queue = WriterQueue(engine)
        self._rules: dict[ScopeKind, ScopeRules] = {}

    def admit(self, call: CallRequest) -> Decision:
        """Request one slot in every scope of the call, the fleet included, and its tokens of the rate."""
        breakers = breaker_names(call.source, call.scopes)
        return self._run(lambda budget, now: budget.admit(call, now), call.scopes, breakers)

    def renew(self, grant: Grant) -> Grant:
        """Extend the grant's lease by `lease_seconds` from now, and return the renewed grant.

        Raises:
            CallsStopped: calls are switched off.
            Transient: the lease had expired, so another caller may hold the slot; request admission again.
        """
        return self._run(lambda budget, now: budget.renew(grant, now), grant=grant)

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Return the grant and learn from the outcome. A second release has no effect.

        The outcome of a grant that expired meanwhile still counts: its call was made.
        """
        scopes = [*grant.scopes, *(sample.scope for sample in outcome.usage)]
        if outcome.parked_scope is not None:
            scopes.append(outcome.parked_scope)
        breakers = breaker_names(grant.source, grant.scopes)
        self._run(lambda budget, now: budget.release(grant, outcome, now), scopes, breakers, grant, is_return=True)

    def is_source_failing(self, source: str) -> bool:
        """Return whether the circuit breaker of a whole source is open or half-open. Only reads."""
        budget = SharedBudget(self._settings, self._rng)
        with read_transaction(self._engine) as connection:
            Rows(connection, budget).load(self._time, breakers=[source])
        breaker = budget.breakers.get(source)
        return breaker is not None and breaker.state is not BreakerState.CLOSED

    def unpark(self, scopes: Sequence[Scope], breaker_names: Sequence[str]) -> list[str]:
        """End the parks of scopes, and let open breakers test their upstream with the next calls.

        Returns:
            The names of the scopes and breakers that changed; none when nothing held them back any more.
        """
        return self._run(lambda budget, now: budget.unpark(scopes, breaker_names, now), scopes, breaker_names)

    def status(self, accounts: int | None = None, at: float | None = None) -> AdmissionStatus:
        """Return limits, calls in flight and quotas, as they are now.

        Args:
            accounts: of the accounts return those that are parked, and so many that use most of their quota; None
                means every account that was called.
            at: the time; the database's own by default.
        """
        budget = SharedBudget(self._settings, self._rng)
        with read_transaction(self._engine) as connection:
            rows, time = Rows(connection, budget), self._time if at is None else lambda _: at
            now = rows.load_all(time) if accounts is None else rows.load_notable(time, accounts)
        return budget.status(now)

    def _run(
        self,
        run_on: Callable[[SharedBudget, float], T],
        scopes: Iterable[Scope] = (),
        breakers: Iterable[str] = (),
        grant: Grant | None = None,
        *,
        is_return: bool = False,
    ) -> T:
        """Run an operation on the part of the budget that it needs, while the budget is locked."""
        budget = SharedBudget(self._settings, self._rng, self._rules)
        with self._writer_queue.acquire(), write_transaction(self._engine) as connection:
            rows = Rows(connection, budget)
            result = run_on(budget, rows.load(self._time, scopes, breakers, grant, lock=True))
            rows.save(self._owner, is_return=is_return)
        for state in budget.scopes.values():
            if state.overlong_park_seconds is not None:
                self._on_overlong_park(state.scope, state.overlong_park_seconds)
        return result


@dataclass(slots=True)
class Rows:
    """The rows of a budget within a transaction: loads the part that an operation needs, and saves what changed."""

    _connection: Connection
    _budget: SharedBudget
    _now: float = 0.0
    _scope_of: dict[str, Scope] = field(default_factory=dict)
    _scopes: dict[str, str] = field(default_factory=dict)
    _parkings: dict[Scope, Parking] = field(default_factory=dict)
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _grants: dict[str, tuple[Grant, bool]] = field(default_factory=dict)

    def load(
        self,
        time: Time,
        scopes: Iterable[Scope] = (),
        breakers: Iterable[str] = (),
        grant: Grant | None = None,
        *,
        lock: bool = False,
    ) -> float:
        """Load scopes, the fleet, breakers, one grant, and every grant once one has expired; return the time.

        Args:
            lock: whether to lock the budget first; the time is that of afterwards.
        """
        self._scope_of = {str(scope): scope for scope in (FLEET, *scopes)}
        names = {CALLS_SWITCH, *self._scope_of, *map(source_scope, breakers)}
        now = self._read_named(time, names, grant, lock=lock)
        if self._budget.next_expiry <= now:
            self._load_grants()
            others = {str(scope) for grant in self._budget.grants.values() for scope in grant.scopes} - names
            if others:
                self._read_named(time, others)
        return now

    def load_all(self, time: Time) -> float:
        """Load every row; return the time."""
        now = self._read(time, _rows_sql(self._connection.dialect.name, _EVERY_SCOPE, _EVERY_GATE), ())
        self._load_grants()
        return now

    def load_notable(self, time: Time, accounts: int) -> float:
        """Load the scopes that accounts share, those that are parked, and the `accounts` that use most of their quota.

        Every part but the last is found by an index, however many accounts there are.
        """
        now = time(self._connection)
        scopes, values = (_SHARED_OR_PARKED + _OR_BUSIEST, (now, accounts)) if accounts else (_SHARED_OR_PARKED, (now,))
        self._read(time, _rows_sql(self._connection.dialect.name, scopes, _NO_GATE), values)
        budget = self._budget
        if budget.next_expiry <= now:
            self._load_grants()
            for id_, grant in budget.grants.items():  # their other scopes are not shown
                budget.grants[id_] = replace(grant, scopes=tuple(s for s in grant.scopes if s in budget.scopes))
        return now

    def save(self, owner: str, *, is_return: bool = False) -> None:
        """Save what changed since it was loaded.

        Args:
            is_return: whether a grant is returned, and no other grant changed but those that expired.
        """
        budget = self._budget
        expiry = None if budget.next_expiry == float("inf") else budget.next_expiry
        budget.scope_state(FLEET, self._now).ledger = Ledger(budget.last_token, expiry)
        scopes = [(state.name, state.meter.percent, state.to_json()) for state in budget.scopes.values()]
        scopes = [row for row in scopes if self._scopes.get(row[0]) != row[2]]
        changed = self._changed_gates()
        current = {id_: (grant, id_ in budget.counted_grant_ids) for id_, grant in budget.grants.items()}
        added = [_grant_row(*value, owner) for id_, value in current.items() if id_ not in self._grants]
        rows = {capacity_scope: scopes, gates.table: changed, capacity_grant: added}
        statements = [self._upsert(table, some) for table, some in rows.items() if some]
        if removed := self._breakers.keys() - budget.breakers.keys():
            names = [source_scope(name) for name in removed]
            statements.append((_DROP_BREAKERS.format(_marks(names)), names))
        if ended := list(self._grants.keys() - current.keys()):
            statements.append((_DROP_GRANTS.format(_marks(ended)), ended))
        statements += [
            (_CHANGE_GRANT, (grant.token, grant.expires_at, counted, id_))
            for id_, (grant, counted) in current.items()
            if id_ in self._grants and self._grants[id_] != (grant, counted)
        ]
        if (
            is_return
            and self._connection.dialect.name == "postgresql"
            and not any(closed for _, _, _, closed, *_ in changed)
        ):
            statements.append((_LATER, ()))
        if statements:
            execute_together(self._connection, statements)

    def _upsert(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> Statement:
        """Return the statement that inserts or replaces rows, whose values are in the order of the columns."""
        sql = insert_sql(self._connection.dialect, table, tuple(table.columns.keys()), len(rows))
        return sql, [value for row in rows for value in row]

    def _changed_gates(self) -> list[tuple[Any, ...]]:
        budget = self._budget
        changed = [
            state.parking.to_gate(state.name)
            for scope, state in budget.scopes.items()
            if state.parking.until is not None and state.parking != self._parkings.get(scope)
        ]
        changed += [
            _breaker_gate(name, value, budget.breaker_registry.rules_for(name))
            for name, value in budget.breakers.items()
            if value != self._breakers.get(name)
        ]
        return [
            tuple(({**gates.to_row(gate), "data": msgspec.json.encode(gate.data).decode()}).values())
            for gate in changed
        ]

    def _read_named(
        self, time: Time, names: Collection[str], grant: Grant | None = None, *, lock: bool = False
    ) -> float:
        query = _rows_sql(self._connection.dialect.name, marks := _marks(names), marks)
        if grant is None:
            return self._read(time, query, (*names, *names), lock=lock)
        return self._read(time, query + _GRANT_ROW, (*names, *names, grant.id), grant, lock=lock)

    def _read(
        self, time: Time, query: str, values: Sequence[Any], grant: Grant | None = None, *, lock: bool = False
    ) -> float:
        statements: list[Statement] = [(query, values)]
        if lock and self._connection.dialect.name == "postgresql":
            statements.insert(0, (_LOCK, ()))
        result = execute_together(self._connection, statements).all()
        rows = sorted(map(tuple, result), key=lambda row: _ORDER.get(row[0], 2))
        self._now = now = float(rows[0][2]) if time is database_time else time(self._connection)
        for kind, name, since, until, note, data in rows:
            if kind == "scope":
                self._take_scope(self._scope_of.get(name) or Scope.parse(name), data)
            elif kind == Rule.BREAKER:
                breaker = name.removeprefix(_PREFIX)
                self._budget.breakers[breaker] = self._breakers[breaker] = _BREAKER.decode(data)
            elif kind == Rule.PARK:
                state = self._budget.scope_state(Scope.parse(name), now)
                parking = self._parkings[state.scope] = Parking(until, note or None, since)
                state.parking = parking.bounded(now, state.rules.max_park_seconds)
            elif kind == Rule.SWITCH:
                self._budget.switch = Gate(name, Rule.SWITCH, since, until, note, opened_by=OpenedBy.PERSON)
            elif grant is not None and kind in _COUNTED:
                self._take_grant(replace(grant, token=int(since), expires_at=until), _COUNTED[kind])
        return now

    def _take_scope(self, scope: Scope, text: str) -> None:
        budget = self._budget
        state = budget.scopes[scope] = ScopeState(scope, budget.rules_for(scope), self._now, text)
        self._scopes[state.name] = text
        if state.ledger is not None:
            budget.last_token, expiry = state.ledger.last_token, state.ledger.next_expiry
            budget.next_expiry = float("inf") if expiry is None else expiry

    def _load_grants(self) -> None:
        for row in self._connection.execute(_EVERY_GRANT).mappings():
            grant = Grant(
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
            self._take_grant(grant, row["counted"])

    def _take_grant(self, grant: Grant, counted: bool) -> None:
        self._budget.grants[grant.id] = grant
        self._grants[grant.id] = (grant, counted)
        if counted:
            self._budget.counted_grant_ids.add(grant.id)


@lru_cache(maxsize=64)
def _rows_sql(dialect: str, scopes: str, gates: str) -> str:
    """Return the query of the clock, of scopes and of gates, the conditions of which are given."""
    return _CLOCK_ROW.format(CLOCKS[dialect]) + _SCOPE_ROWS.format(scopes) + _GATE_ROWS.format(gates)


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))


def _grant_row(grant: Grant, counted: bool, owner: str) -> tuple[Any, ...]:
    """Return the values of a grant in the order of the columns."""
    scopes = msgspec.json.encode([str(scope) for scope in grant.scopes]).decode()
    call = (scopes, int(grant.priority), grant.cost, grant.source, grant.is_probe)
    return (grant.id, grant.token, *call, counted, owner[:120], grant.granted_at, grant.expires_at)


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
