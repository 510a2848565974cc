"""Admission with its state in SQL: every worker, run and process that uses the database shares one budget.

Guarantees, whatever dies: the live grants of a scope never exceed its limit; a parked scope is never granted before its
time; a dead worker's grants stop counting at their expiry. The threads of a process ask together: one short write
transaction, which locks the fleet's row, answers all that came meanwhile, and every moment in it is the database's own.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from adwarm.backpressure import budget_rows
from adwarm.backpressure.admission import CallOutcome, Decision, Grant, Rejected, ReturnedBlock, Wait
from adwarm.backpressure.admission_rules import MAX_POLL_SECONDS
from adwarm.backpressure.breakers import breaker_names
from adwarm.backpressure.budget_rows import BudgetKeys
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.backpressure.status import AdmissionStatus
from adwarm.foundation.errors import AdwarmError
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings
from adwarm.store.database import database_time, read_transaction, write_transaction
from adwarm.store.writer_queue import WriterQueue

Job = TypeVar("Job")
MAX_JOBS = 64


@dataclass(slots=True, eq=False)
class _Entry(Generic[Job]):
    job: Job
    error: BaseException | None = None
    is_done: bool = False


class GroupCommitter(Generic[Job]):
    """Collects the jobs of all threads and has them done in batches, in the order they came.

    Args:
        work: does the jobs that the callable handed to it returns. It calls that once, as late as it can, so that a
            batch holds whoever came while it waited for its turn. What it raises, every job of the batch raises.
    """

    def __init__(self, work: Callable[[Callable[[], list[Job]]], None]) -> None:
        self._work = work
        self._waiting: list[_Entry[Job]] = []
        self._changed = threading.Condition()
        self._is_led = False

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
        """Wait until the entry is done, or nobody works on what waits; True in the latter case."""
        with self._changed:
            self._changed.wait_for(lambda: entry.is_done or not self._is_led)
            if entry.is_done:
                return False
            self._is_led = True
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
        if not batch:
            take()
        with self._changed:
            self._is_led = False
            for entry in batch:
                entry.error, entry.is_done = error, True
            self._changed.notify_all()


log = logging.getLogger(__name__)
OnOverlongPark = Callable[[Scope, float], None]
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One question to the budget, and what became of it."""

    keys: BudgetKeys
    operation: Callable[[SharedBudget, float], T]
    result: T | None = None
    error: AdwarmError | None = None

    def run(self, budget: SharedBudget, now: float) -> None:
        try:
            self.result = self.operation(budget, now)
        except AdwarmError as error:
            self.error = error


def log_overlong_park(scope: Scope, seconds: float) -> None:
    """Say that the platform asked for a silence that is longer than it gets."""
    log.warning(
        "%s: the platform asked for %.3g s of silence; it gets the longest park that is allowed", scope, seconds
    )


class SqlAdmission:
    """Admission over the tables `capacity_scope`, `capacity_grant` and `breaker`. Safe to share between threads.

    Args:
        engine: the database.
        settings: of the budget.
        owner: names this process in grants.
        rng: spreads the ends of parkings.
        database_time: tells the moment; the database's own by default.
        on_overlong: hears, after the commit, of each scope that the platform asked to be left alone for longer than
            `longest_park_seconds`, with the seconds it asked for.
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
        self._on_overlong = on_overlong_park
        self._writer_queue = WriterQueue(engine)
        self._committer: GroupCommitter[_Job[Any]] = GroupCommitter(self._work)

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Ask for one slot in every scope, the fleet included, and `cost` tokens of its rate.

        Raises:
            BadRequest: `cost` is not positive.
        """

        def ask(budget: SharedBudget, now: float) -> Decision:
            return budget.admit(scopes, priority, cost, source=source, now=now)

        return self._submit(_keys_of_request(scopes, source), ask)

    def acquire_block(
        self,
        scopes: Sequence[Scope],
        priority: Priority,
        *,
        source: str,
        permits: int,
        returned: Sequence[ReturnedBlock] = (),
    ) -> Decision:
        """Give `back` blocks, and ask for one of up to `permits` calls, one at a time, within the next seconds."""

        def ask(budget: SharedBudget, now: float) -> Decision:
            budget.release_blocks(returned, now)
            return budget.acquire_block(scopes, priority, source=source, now=now, permits=permits)

        return self._submit(_keys_of_blocks(returned) | _keys_of_request(scopes, source), ask)

    def release_blocks(self, blocks: Sequence[ReturnedBlock]) -> None:
        """Return blocks and learn from the outcomes of their calls. A block returned twice changes nothing more."""
        self._submit(_keys_of_blocks(blocks), lambda budget, now: budget.release_blocks(blocks, now))

    def renew(self, grant: Grant) -> Grant:
        """Give the grant a fresh lease of `lease_seconds`.

        Raises:
            Transient: the lease had run out, so that others may hold its slot; stop and ask again.
        """
        return self._submit(BudgetKeys(grant_ids=frozenset([grant.id])), lambda budget, now: budget.renew(grant, now))

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Return the grant and learn from the outcome. Settling twice changes nothing more.

        A grant that expired meanwhile still teaches: its call was made.
        """
        self.release_blocks(((grant, (outcome,), 0),))

    def check_hard_limits(self, scopes: Sequence[Scope], priority: Priority, *, source: str) -> Wait | Rejected | None:
        """Return what forbids such a call now, whoever holds a slot; None when nothing does. Only reads."""
        budget = SharedBudget(self._settings, self._rng)
        with read_transaction(self._engine) as connection:
            now = self._time(connection)
            budget_rows.load(connection, budget, _keys_of_request(scopes, source), now)
        return budget.check_hard_limits(scopes, priority, source=source, now=now)

    def status(self) -> AdmissionStatus:
        """Return limits, calls in flight, parked scopes and breakers, as they are now."""
        budget = SharedBudget(self._settings, self._rng)
        with read_transaction(self._engine) as connection:
            now = self._time(connection)
            budget_rows.load_all(connection, budget)
        return budget.status(now)

    def _submit(self, needs: BudgetKeys, ask: Callable[[SharedBudget, float], T]) -> T:
        job: _Job[T] = _Job(needs, ask)
        self._committer.submit(job)
        if job.error is not None:
            raise job.error
        answer: T = job.result  # type: ignore[assignment]  # the job was run, or submit raised
        return answer

    def _work(self, take: Callable[[], list[_Job[Any]]]) -> None:
        """Answer every question that waits, in one transaction."""
        budget = SharedBudget(self._settings, self._rng)
        with self._writer_queue.acquire(), write_transaction(self._engine) as connection:
            now = budget_rows.lock(connection, budget, self._time)
            jobs = take()
            needs = BudgetKeys()
            for job in jobs:
                needs |= job.keys
            loaded = budget_rows.load(connection, budget, needs, now)
            for job in jobs:
                job.run(budget, now)
            budget_rows.save(connection, budget, loaded, self._owner)
        for scope, seconds in budget.pop_overlong_parks():
            self._on_overlong(scope, seconds)


def _keys_of_request(scopes: Sequence[Scope], source: str) -> BudgetKeys:
    return BudgetKeys(frozenset(scopes), frozenset(breaker_names(source, scopes)))


def _keys_of_blocks(blocks: Sequence[ReturnedBlock]) -> BudgetKeys:
    needs = BudgetKeys()
    for grant, outcomes, _ in blocks:
        taught = {sample.scope for outcome in outcomes for sample in outcome.usage}
        taught.update(outcome.parked_scope for outcome in outcomes if outcome.parked_scope is not None)
        names = frozenset(breaker_names(grant.source, grant.scopes))
        needs |= BudgetKeys(frozenset(grant.scopes) | taught, names, frozenset([grant.id]))
    return needs


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call that waits: what it draws on, its class, and whose breaker judges it."""

    scopes: tuple[Scope, ...]
    priority: Priority
    source: str


@dataclass(frozen=True, slots=True)
class CapacityPreview:
    """What a waiter may expect.

    Attributes:
        seconds: 0 when it would be let in now, else the time after which it is worth asking again.
        why: what it waits for.
        is_queueing: whether it lacks but a free slot or its turn, which may come at any moment.
    """

    wait_seconds: float
    reason: str = ""
    is_queueing: bool = False


def preview_capacity(
    engine: Engine,
    settings: BackpressureSettings,
    calls: Sequence[CallRequest],
    *,
    database_time: Callable[[Connection], float] = database_time,
) -> list[CapacityPreview]:
    """Return the outlook of each waiter, in order, at the database's present moment."""
    budget = SharedBudget(settings, Random(0))  # noqa: S311 -- spreads parkings, of which a look makes none
    needs = BudgetKeys(
        frozenset(scope for waiter in calls for scope in waiter.scopes),
        frozenset(name for waiter in calls for name in breaker_names(waiter.source, waiter.scopes)),
    )
    with read_transaction(engine) as connection:
        now = database_time(connection)
        budget_rows.load(connection, budget, needs, now)
    return [
        _preview_of(budget.preview(waiter.scopes, waiter.priority, source=waiter.source, now=now)) for waiter in calls
    ]


def _preview_of(answer: Wait | Rejected | None) -> CapacityPreview:
    if answer is None:
        return CapacityPreview(0.0)
    if isinstance(answer, Rejected):
        return CapacityPreview(answer.retry_after, answer.reason)
    return CapacityPreview(answer.seconds, answer.reason, is_queueing=answer.seconds <= MAX_POLL_SECONDS)
