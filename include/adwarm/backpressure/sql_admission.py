"""Admission with its state in SQL: every worker, run and process that uses the database shares one budget.

Guarantees, whatever dies: the live grants of a scope never exceed its limit; a parked scope is never granted before its
time; a dead worker's grants stop counting at their expiry. Each question is one short write transaction that locks the
fleet's row, and every moment in it is the database's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from uuid import uuid4

from sqlalchemy import Connection, Engine, RowMapping

from adwarm.backpressure import sql_rows
from adwarm.backpressure.breaker import Breaker, BreakerRules, BreakerState
from adwarm.backpressure.decision import FLEET, Decision, Grant, Granted, Outcome, OutcomeKind
from adwarm.backpressure.judgement import Question, blocked, lacking
from adwarm.backpressure.scope_state import ScopeRules, ScopeState
from adwarm.backpressure.status import AdmissionStatus, status_of
from adwarm.errors import BadRequest, Transient
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from adwarm.store.engine import database_time, reading, writing

_WIDTH = {ScopeKind.ACCOUNT: 0, ScopeKind.APP: 1, ScopeKind.TOKEN: 2, ScopeKind.FLEET: 3}
_SWEEP_CHANCE = 0.02


class SqlAdmission:
    """Admission over the tables `capacity_scope`, `capacity_grant` and `breaker`. Safe to share between threads."""

    def __init__(
        self,
        engine: Engine,
        settings: BackpressureSettings,
        *,
        owner: str,
        rng: Random,
        database_time: Callable[[Connection], float] = database_time,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._owner = owner
        self._rng = rng
        self._time = database_time
        self._known: frozenset[str] = frozenset()
        self._breaker_rules = BreakerRules(
            error_rate=settings.breaker_error_rate,
            window_seconds=settings.breaker_window_seconds,
            min_calls=settings.breaker_min_calls,
            cooldown_seconds=settings.breaker_cooldown_seconds,
            probes=settings.breaker_probes,
        )

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Ask for one slot in every scope, the fleet included, and `cost` tokens of its rate.

        Raises:
            BadRequest: `cost` is not positive.
        """
        if not cost > 0:
            raise BadRequest(f"a call's cost must be above 0, not {cost}; count one per platform call")
        chain = _narrowest_first([*scopes, FLEET])
        self._introduce(chain, source)
        with writing(self._engine) as connection:
            states = self._lock(connection, chain)
            now = self._time(connection)
            question = Question(
                states=states,
                held=sql_rows.live_grants(connection, map(str, chain), now),
                breaker=sql_rows.load_breaker(connection, source),
                breaker_rules=self._breaker_rules,
                shares=self._settings.shares,
                priority=priority,
                cost=cost,
                source=source,
                now=now,
            )
            return self._decide(connection, question)

    def renew(self, grant: Grant) -> Grant:
        """Give the grant a fresh lease of `lease_seconds`.

        Raises:
            Transient: the lease had run out, so that others may hold its slot; stop and ask again.
        """
        with writing(self._engine) as connection:
            now = self._time(connection)
            expires_at = now + self._settings.lease_seconds
            if not sql_rows.renew_grant(connection, grant.id, now, expires_at):
                raise Transient("the grant expired before it was renewed; ask for a new one")
        return replace(grant, expires_at=expires_at)

    def settle(self, grant: Grant, outcome: Outcome) -> None:
        """Return the grant and learn from the outcome. Settling twice changes nothing more.

        A grant that expired meanwhile still teaches: its call was made.
        """
        heard = [*grant.scopes, *(sample.scope for sample in outcome.usage)]
        scopes = _narrowest_first(heard if outcome.parked_scope is None else [*heard, outcome.parked_scope])
        self._introduce(scopes, grant.source)
        with writing(self._engine) as connection:
            states = self._lock(connection, scopes)
            now = self._time(connection)
            held = sql_rows.live_grants(connection, map(str, scopes), now)
            if not sql_rows.remove_grant(connection, grant.id):
                return
            if self._rng.random() < _SWEEP_CHANCE:
                sql_rows.drop_expired(connection, now)
            learnt = [self._learnt(state, grant, outcome, held.get(str(state.scope), {}), now) for state in states]
            sql_rows.save_scopes(connection, learnt)
            before = sql_rows.load_breaker(connection, grant.source)
            after = self._judged(before, grant, outcome, now)
            sql_rows.save_breaker(connection, grant.source, before, after)

    def status(self) -> AdmissionStatus:
        """Return limits, calls in flight, parked scopes and breakers, as they are now."""
        with reading(self._engine) as connection:
            now = self._time(connection)
            rows = sql_rows.all_scopes(connection)
            states = [self._state(Scope.parse(row["scope"]), row) for row in rows]
            held = sql_rows.live_grants(connection, (row["scope"] for row in rows), now)
            breakers = sql_rows.all_breakers(connection)
        return status_of(states, held, breakers, self._breaker_rules, now)

    def _decide(self, connection: Connection, question: Question) -> Decision:
        """Answer, and store what the answer changed."""
        now = question.now
        if answer := blocked(question):
            return answer
        if answer := lacking(question):
            # Only who waits for this very scope may hold back others there: an account's own queue must not idle the
            # fleet.
            waited_for = [state for state in question.states if state.is_shared and str(state.scope) == answer.scope]
            sql_rows.save_scopes(connection, [state.asking(question.priority, now) for state in waited_for])
            return answer
        grant = self._grant(question)
        charged = [state.asking(question.priority, now).charged(question.cost, now) for state in question.states]
        sql_rows.save_scopes(connection, charged)
        sql_rows.add_grant(connection, grant, self._owner)
        passed = question.breaker.admitted(now, grant.id, grant.expires_at)
        sql_rows.save_breaker(connection, question.source, question.breaker, passed)
        return Granted(grant)

    def _grant(self, question: Question) -> Grant:
        return Grant(
            id=uuid4().hex,
            scopes=tuple(state.scope for state in question.states),
            priority=question.priority,
            cost=question.cost,
            granted_at=question.now,
            expires_at=question.now + self._settings.lease_seconds,
            source=question.source,
            probe=question.breaker.state is not BreakerState.CLOSED,
        )

    def _learnt(
        self, state: ScopeState, grant: Grant, outcome: Outcome, held: Mapping[Priority, int], now: float
    ) -> ScopeState:
        state = state.heard(outcome.usage, now, self._rng)
        used = state.scope in grant.scopes
        if outcome.kind is OutcomeKind.OK and used:
            return state.succeeded(outcome.latency_seconds, sum(held.values()), now)
        if outcome.kind is OutcomeKind.TIMEOUT and used:
            return state.overloaded(now)
        if outcome.kind is OutcomeKind.THROTTLED and state.scope == (outcome.parked_scope or grant.scopes[0]):
            return state.parked(outcome.park_seconds, "the platform throttled it", now, self._rng).overloaded(now)
        return state

    def _judged(self, before: Breaker, grant: Grant, outcome: Outcome, now: float) -> Breaker:
        """Return the breaker after the outcome. A throttle is a healthy upstream's answer: parking deals with it."""
        if outcome.kind in {OutcomeKind.SKIPPED, OutcomeKind.THROTTLED}:
            return before.forgotten(grant.id)
        failed = outcome.kind is not OutcomeKind.OK
        return before.recorded(self._breaker_rules, now, grant.id, failed=failed)

    def _introduce(self, scopes: Sequence[Scope], source: str) -> None:
        """Make sure that there is a row to lock for every scope, and one for the breaker."""
        names = {*map(str, scopes), f"source:{source}"}
        if names <= self._known:
            return
        with writing(self._engine) as connection:
            now = self._time(connection)
            fresh = [ScopeState.fresh(scope, ScopeRules.of(scope, self._settings), now) for scope in scopes]
            sql_rows.introduce(connection, fresh, source, now)
        self._known |= names

    def _lock(self, connection: Connection, scopes: Sequence[Scope]) -> list[ScopeState]:
        rows = sql_rows.lock_scopes(connection, map(str, scopes))
        if len(rows) < len(scopes):
            self._known = frozenset()
            raise Transient("the budget's rows were removed while they were in use; ask again", retry_after=0.1)
        return [self._state(scope, rows[str(scope)]) for scope in scopes]

    def _state(self, scope: Scope, row: RowMapping) -> ScopeState:
        return ScopeState.from_row(scope, ScopeRules.of(scope, self._settings), row)


def _narrowest_first(scopes: Sequence[Scope]) -> list[Scope]:
    """Return the scopes without repeats, the fleet last."""
    return sorted(dict.fromkeys(scopes), key=lambda scope: _WIDTH[scope.kind])
