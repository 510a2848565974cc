"""Admission with its state in SQL: every worker, run and process that uses the database shares one budget.

Guarantees, whichever process dies: the counted grants of a scope never exceed its limit, a parked scope is never
granted before its time, and the grants of a dead worker stop counting at their expiry.

The threads of a process share transactions (`GroupCommitter`): one short write transaction locks the row of the fleet
and runs every operation that was submitted meanwhile. All times are the database's own.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from adwarm.backpressure import budget_rows
from adwarm.backpressure.admission import (
    CallOutcome,
    CallRequest,
    Decision,
    Grant,
    Rejected,
    ReturnedBlock,
    Wait,
)
from adwarm.backpressure.admission_rules import MAX_POLL_SECONDS
from adwarm.backpressure.breakers import breaker_names
from adwarm.backpressure.budget_rows import BudgetKeys
from adwarm.backpressure.machine_load import WAIT_SECONDS, count_free_calls
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.backpressure.status import AdmissionStatus
from adwarm.foundation.circuit import BreakerState
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.gate import Lift, Rule, may_call
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings
from adwarm.store.database import database_time, read_transaction, write_transaction
from adwarm.store.gates import SqlGates
from adwarm.store.writer_queue import WriterQueue

log = logging.getLogger(__name__)
OnOverlongPark = Callable[[Scope, float], None]
T = TypeVar("T")
Job = TypeVar("Job")
MAX_JOBS = 64


@dataclass(slots=True, eq=False)
class _Entry(Generic[Job]):
    job: Job
    error: BaseException | None = None
    is_done: bool = False


class GroupCommitter(Generic[Job]):
    """Runs the jobs of all threads in batches, in the order in which they came, so that a batch costs one commit.

    The first thread that finds no batch running becomes the leader and runs the waiting jobs of all threads. No thread
    returns before the transaction with its result is committed.

    Args:
        work: runs the jobs that the callable passed to it returns. It calls that once, as late as possible, so that the
            batch includes the jobs that came while it waited for the database. Every job of the batch raises what
            `work` raises.
    """

    def __init__(self, work: Callable[[Callable[[], list[Job]]], None]) -> None:
        self._work = work
        self._waiting: list[_Entry[Job]] = []
        self._changed = threading.Condition()
        self._has_leader = False

    def submit(self, job: Job) -> None:
        """Return when `job` is done, by this thread or by another."""
        entry = _Entry(job)
        with self._changed:
            self._waiting.append(entry)
        while self._must_lead(entry):
            self._lead()
        if entry.error is not None:
            raise entry.error

    def _must_lead(self, entry: _Entry[Job]) -> bool:
        """Wait until the entry is done or there is no leader; return whether this thread became the leader."""
        with self._changed:
            self._changed.wait_for(lambda: entry.is_done or not self._has_leader)
            if entry.is_done:
                return False
            self._has_leader = True
            return True

    def _lead(self) -> None:
        batch: list[_Entry[Job]] = []

        def take() -> list[Job]:
            with self._changed:
                batch.extend(self._waiting[:MAX_JOBS])
                del self._waiting[:MAX_JOBS]
            return [entry.job for entry in batch]

        error: BaseException | None = None
        try:
            self._work(take)
        except BaseException as raised:
            error = raised
        if not batch:  # `work` failed before it took any; they must not wait forever
            take()
        with self._changed:
            self._has_leader = False
            for entry in batch:
                entry.error, entry.is_done = error, True
            self._changed.notify_all()


@dataclass(slots=True, eq=False)
class _Operation(Generic[T]):
    """One operation on the budget, the rows it needs, and its result."""

    keys: BudgetKeys
    run_on: Callable[[SharedBudget, float], T]
    result: T | None = None
    error: AdwarmError | None = None

    def run(self, budget: SharedBudget, now: float) -> None:
        try:
            self.result = self.run_on(budget, now)
        except AdwarmError as error:
            self.error = error


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
        self._committer: GroupCommitter[_Operation[Any]] = GroupCommitter(self._run_operations)

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Request one slot in every scope, the fleet included, and `cost` tokens of the rate.

        Raises:
            BadRequest: `cost` is not positive.
        """

        def operation(budget: SharedBudget, now: float) -> Decision:
            return budget.admit(scopes, priority, cost, source=source, now=now)

        return self._submit(_keys_of_call(scopes, source), operation)

    def acquire_block(
        self,
        scopes: Sequence[Scope],
        priority: Priority,
        *,
        source: str,
        permits: int,
        returned: Sequence[ReturnedBlock] = (),
    ) -> Decision:
        """Release the `returned` blocks, and request a block of up to `permits` calls, to be made one at a time."""

        def operation(budget: SharedBudget, now: float) -> Decision:
            budget.release_blocks(returned, now)
            return budget.acquire_block(scopes, priority, source=source, now=now, permits=permits)

        return self._submit(_keys_of_blocks(returned) | _keys_of_call(scopes, source), operation)

    def release_blocks(self, blocks: Sequence[ReturnedBlock]) -> None:
        """Return blocks and learn from the outcomes of their calls. A second release has no effect."""
        self._submit(_keys_of_blocks(blocks), lambda budget, now: budget.release_blocks(blocks, now))

    def renew(self, grant: Grant) -> Grant:
        """Extend the grant's lease by `lease_seconds` from now, and return the renewed grant.

        Raises:
            CallsStopped: calls are switched off.
            Transient: the lease had expired, so another caller may hold the slot; request admission again.
        """
        keys = BudgetKeys(grant_ids=frozenset([grant.id]))
        return self._submit(keys, lambda budget, now: budget.renew(grant, now))

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Return the grant and learn from the outcome. A second release has no effect.

        The outcome of a grant that expired meanwhile still counts: its call was made.
        """
        self.release_blocks(((grant, (outcome,), 0),))

    def check_hard_limits(self, scopes: Sequence[Scope], priority: Priority, *, source: str) -> Wait | Rejected | None:
        """Return what forbids such a call now, whoever holds a slot; None when nothing does. Only reads."""
        budget = SharedBudget(self._settings, self._rng)
        with read_transaction(self._engine) as connection:
            now = self._time(connection)
            budget_rows.load(connection, budget, _keys_of_call(scopes, source), now)
        return budget.check_hard_limits(scopes, priority, source=source, now=now)

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
        return self._submit(keys, lambda budget, now: budget.unpark(scopes, breaker_names, now))

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

    def _submit(self, keys: BudgetKeys, run_on: Callable[[SharedBudget, float], T]) -> T:
        operation: _Operation[T] = _Operation(keys, run_on)
        self._committer.submit(operation)
        if operation.error is not None:
            raise operation.error
        result: T = operation.result  # type: ignore[assignment]  # the operation ran, or submit raised
        return result

    def _run_operations(self, take: Callable[[], list[_Operation[Any]]]) -> None:
        """Run every submitted operation on the loaded budget, while the fleet's row is locked."""
        budget = SharedBudget(self._settings, self._rng)
        with self._writer_queue.acquire(), write_transaction(self._engine) as connection:
            now = budget_rows.lock(connection, budget, self._time)
            operations = take()
            keys = BudgetKeys()
            for operation in operations:
                keys |= operation.keys
            loaded = budget_rows.load(connection, budget, keys, now)
            for operation in operations:
                operation.run(budget, now)
            budget_rows.save(connection, budget, loaded, self._owner)
        for scope, seconds in budget.pop_overlong_parks():
            self._on_overlong_park(scope, seconds)


def _keys_of_call(scopes: Sequence[Scope], source: str) -> BudgetKeys:
    return BudgetKeys(frozenset(scopes), frozenset(breaker_names(source, scopes)))


def _keys_of_blocks(blocks: Sequence[ReturnedBlock]) -> BudgetKeys:
    keys = BudgetKeys()
    for grant, outcomes, _ in blocks:
        reported = {sample.scope for outcome in outcomes for sample in outcome.usage}
        reported.update(outcome.parked_scope for outcome in outcomes if outcome.parked_scope is not None)
        names = frozenset(breaker_names(grant.source, grant.scopes))
        keys |= BudgetKeys(frozenset(grant.scopes) | reported, names, released_ids=frozenset([grant.id]))
    return keys


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
    keys = BudgetKeys()
    for call in calls:
        keys |= _keys_of_call(call.scopes, call.source)
    with read_transaction(engine) as connection:
        now = database_time(connection)
        budget_rows.load(connection, budget, keys, now)
    # A dead token may have been renewed, which only a call finds out.
    isolations = {
        gate.scope: gate
        for gate in SqlGates(engine).list_gates(now, Rule.ISOLATION)
        if gate.lifted_by is not Lift.CREDENTIAL
    }
    machines = {call.machine for call in calls} - {""}
    free_calls_of = {machine: count_free_calls(engine, machine, time=database_time) for machine in machines}
    previews = []
    for call in calls:
        refusal = budget.preview(call.scopes, call.priority, source=call.source, now=now)
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
