"""Admission with its state in SQL: every worker, run and process that uses the database shares one budget.

Guarantees, whichever process dies: the counted grants of a scope never exceed its limit, a parked scope is never
granted before its time, and the grants of a dead worker stop counting at their expiry.

Each operation is a short write transaction of its own, which locks the row of the fleet. All times are the database's
own.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from sqlalchemy import Connection, Engine

from adwarm.backpressure import budget_rows
from adwarm.backpressure.admission import (
    CallOutcome,
    CallRequest,
    Decision,
    Grant,
    Rejected,
    Wait,
)
from adwarm.backpressure.admission_rules import MAX_POLL_SECONDS
from adwarm.backpressure.breakers import breaker_names
from adwarm.backpressure.budget_rows import BudgetKeys
from adwarm.backpressure.machine_load import WAIT_SECONDS, count_free_calls
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.backpressure.status import AdmissionStatus
from adwarm.foundation.circuit import BreakerState
from adwarm.foundation.gate import OpenedBy, Rule, may_call
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings
from adwarm.store.database import database_time, read_transaction, write_transaction
from adwarm.store.gates import SqlGates
from adwarm.store.writer_queue import WriterQueue

log = logging.getLogger(__name__)
OnOverlongPark = Callable[[Scope, float], None]
T = TypeVar("T")


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

    def admit(self, call: CallRequest) -> Decision:
        """Request one slot in every scope of the call, the fleet included, and its tokens of the rate."""
        keys = BudgetKeys(frozenset(call.scopes), frozenset(breaker_names(call.source, call.scopes)))
        return self._run(keys, lambda budget, now: budget.admit(call, now))

    def renew(self, grant: Grant) -> Grant:
        """Extend the grant's lease by `lease_seconds` from now, and return the renewed grant.

        Raises:
            CallsStopped: calls are switched off.
            Transient: the lease had expired, so another caller may hold the slot; request admission again.
        """
        keys = BudgetKeys(grant_ids=frozenset([grant.id]))
        return self._run(keys, lambda budget, now: budget.renew(grant, now))

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Return the grant and learn from the outcome. A second release has no effect.

        The outcome of a grant that expired meanwhile still counts: its call was made.
        """
        reported = {sample.scope for sample in outcome.usage}
        if outcome.parked_scope is not None:
            reported.add(outcome.parked_scope)
        keys = BudgetKeys(
            frozenset({*grant.scopes, *reported}),
            frozenset(breaker_names(grant.source, grant.scopes)),
            released_ids=frozenset([grant.id]),
        )
        self._run(keys, lambda budget, now: budget.release(grant, outcome, now))

    def is_source_failing(self, source: str) -> bool:
        """Return whether the circuit breaker of a whole source is open or half-open. Only reads."""
        budget = SharedBudget(self._settings, self._rng)
        with read_transaction(self._engine) as connection:
            keys = BudgetKeys(breaker_names=frozenset([source]))
            budget_rows.load(connection, budget, keys, self._time(connection))
        breaker = budget.breakers.get(source)
        return breaker is not None and breaker.state is not BreakerState.CLOSED

    def unpark(self, scopes: Sequence[Scope], breaker_names: Sequence[str]) -> list[str]:
        """End the parks of scopes, and let open breakers test their upstream with the next calls.

        Returns:
            The names of the scopes and breakers that changed; none when nothing held them back any more.
        """
        keys = BudgetKeys(frozenset(scopes), frozenset(breaker_names))
        return self._run(keys, lambda budget, now: budget.unpark(scopes, breaker_names, now))

    def status(self, accounts: int | None = None, at: float | None = None) -> AdmissionStatus:
        """Return limits, calls in flight and quotas, as they are now.

        Args:
            accounts: of the accounts return those that are parked, and so many that use most of their quota; None
                means every account that was called.
            at: the time; the database's own by default.
        """
        budget = SharedBudget(self._settings, self._rng)
        with read_transaction(self._engine) as connection:
            now = self._time(connection) if at is None else at
            if accounts is None:
                budget_rows.load_all(connection, budget, now)
            else:
                budget_rows.load_notable(connection, budget, accounts, now)
        return budget.status(now)

    def _run(self, keys: BudgetKeys, run_on: Callable[[SharedBudget, float], T]) -> T:
        """Run an operation on the part of the budget that it needs, while the fleet's row is locked."""
        budget = SharedBudget(self._settings, self._rng)
        with self._writer_queue.acquire(), write_transaction(self._engine) as connection:
            now = budget_rows.lock(connection, budget, self._time)
            loaded = budget_rows.load(connection, budget, keys, now)
            result = run_on(budget, now)
            budget_rows.save(connection, budget, loaded, self._owner)
        for scope, seconds in budget.list_overlong_parks():
            self._on_overlong_park(scope, seconds)
        return result


@dataclass(frozen=True, slots=True)
class CapacityPreview:
    """Whether a call would be admitted now.

    Attributes:
        wait_seconds: 0 when it would be, else the time after which to check again.
        is_queueing: whether it lacks only a free slot or its turn, which may come at any time.
        free_calls: how many more calls its machine may have in flight; None for as many as other limits allow.
    """

    wait_seconds: float
    reason: str = ""
    is_queueing: bool = False
    free_calls: int | None = None


def preview_capacity(
    engine: Engine,
    settings: BackpressureSettings,
    calls: Sequence[CallRequest],
    *,
    database_time: Callable[[Connection], float] = database_time,
) -> list[CapacityPreview]:
    """Preview calls: whether each would be made now and, if not, when to check again. Only reads.

    Any number of calls takes the same few queries. Everything that may refuse a call is asked: admission by its own
    rules, the isolation of its connection and account, and the limit of its machine. So a previewed call is made unless
    another caller takes the capacity first.
    """
    budget = SharedBudget(settings, Random(0))  # noqa: S311 -- spreads the ends of parks, and a preview parks nothing
    keys = BudgetKeys(
        frozenset(scope for call in calls for scope in call.scopes),
        frozenset(name for call in calls for name in breaker_names(call.source, call.scopes)),
    )
    with read_transaction(engine) as connection:
        now = database_time(connection)
        budget_rows.load(connection, budget, keys, now)
    # A dead token may have been renewed, which only a call finds out.
    isolations = {
        gate.scope: gate
        for gate in SqlGates(engine).list_gates(now, Rule.ISOLATION)
        if gate.opened_by is not OpenedBy.CREDENTIAL
    }
    machines = {call.machine for call in calls} - {""}
    free_calls_of = {machine: count_free_calls(engine, machine, time=database_time) for machine in machines}
    previews = []
    for call in calls:
        refusal = budget.preview(call, now)
        names = [f"connection:{call.connection}", *map(str, call.scopes)]
        isolation = may_call((isolations[name] for name in names if name in isolations), now)
        if isolation is not None:
            refusal = Wait(isolation.remaining_seconds(now), f"{isolation.scope} is isolated", isolation.scope)
        free_calls = None if call.priority is Priority.CRITICAL else free_calls_of.get(call.machine)
        if refusal is None and free_calls == 0:
            refusal = Wait(WAIT_SECONDS, f"{call.machine} is loaded")
        previews.append(replace(_preview_of(refusal), free_calls=free_calls))
    return previews


def _preview_of(refusal: Wait | Rejected | None) -> CapacityPreview:
    if refusal is None:
        return CapacityPreview(0.0)
    if isinstance(refusal, Rejected):
        return CapacityPreview(refusal.retry_after, refusal.reason)
    return CapacityPreview(refusal.seconds, refusal.reason, is_queueing=refusal.seconds <= MAX_POLL_SECONDS)
