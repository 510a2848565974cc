"""The recovery pipeline, which every operation on an upstream runs through.

| step       | when                                        | then                                                      |
|------------|---------------------------------------------|-----------------------------------------------------------|
| check      | always                                      | an isolated connection or account is not called           |
| run        | it is not isolated                          | the result is returned, or the failed attempt is recorded |
| retry      | the error is retryable, the budget allows it| run again after a wait                                    |
| heal       | a healer matches the error                  | fix the cause, once for all workers, and run once more    |
| fall back  | the operation still fails                   | the first fallback with a result, marked degraded; each   |
|            |                                             | has its own timeout, and isolated ones are skipped        |
| count      | the attempts ended                          | against the connection and the account, which may be      |
|            |                                             | isolated                                                  |
| alert      | any attempt failed, whatever the result     | an alert if the window holds enough errors                |
| raise      | no fallback has a result                    | the operation's own last error, with cause and notes      |

An attempt that adwarm itself did not admit (`own_refusal`) is not a failure: it is neither recorded nor counted. Errors
of the bookkeeping are logged and never replace the operation's own result.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from random import Random
from typing import Generic, TypeVar

from adwarm.foundation.clock import Clock, seconds_left
from adwarm.foundation.errors import AdwarmError, Isolated, TokenDead, VersionEnded
from adwarm.foundation.redaction import log_unexpected, redact
from adwarm.recovery.alerts import BuildAlert, StoredAlerts
from adwarm.recovery.call import Call, ErrorEvent, Failure, build_error_event
from adwarm.recovery.fallback import Fallback, FallbackChain
from adwarm.recovery.healing import Healed, Healer, heal
from adwarm.recovery.isolation import IsolationTracker, list_scopes, version_scope
from adwarm.recovery.retry import RETRY_BUDGET, Retrier, RetryBudget
from adwarm.recovery.run_outcomes import RunOutcomes
from adwarm.settings import RecoverySettings
from adwarm.store.error_events import ErrorLog
from adwarm.store.gates import SqlGates
from adwarm.store.healing_runs import HealingStore

log = logging.getLogger(__name__)
T = TypeVar("T")
_TOKEN_CHECK_SECONDS = 10.0
"""How often a process looks for a renewed token while a dead one isolates a connection."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The result of an operation.

    Attributes:
        source: where the value came from: the operation's own source, or the fallback's name.
        reason: why it is degraded, or what healed the operation; None when the operation succeeded without healing.
        attempts: how often the operation itself was called.
        as_of: when the data of a degraded result was fetched, if the fallback knows.
        error: the operation's error, when the result is degraded.
        actions: what the pipeline did, in order, such as `retried 2 times` and `fallback entry`.
    """

    value: T
    source: str
    is_degraded: bool = False
    reason: str | None = None
    attempts: int = 1
    as_of: datetime | None = None
    error: Exception | None = None
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one run of the pipeline does otherwise than the others of the process.

    Attributes:
        policy: attempts, delays, retryable errors, and whether to heal and isolate; None means the settings of the
            process.
        healers: tried in order instead of those of the process; None means those of the process.
    """

    policy: RecoverySettings | None = None
    healers: Sequence[Healer] | None = None


@dataclass
class _Run(Generic[T]):
    """The state of one run of the pipeline."""

    operation: Callable[[], T]
    call: Call
    policy: RecoverySettings
    healers: Sequence[Healer]
    attempts: int = 0
    last_event: ErrorEvent | None = None
    actions: list[str] = field(default_factory=list)


@dataclass(eq=False)
class RecoveryPipeline:
    """Runs operations through the steps above. Safe to share between threads.

    Attributes:
        alerts: decides which errors raise an alert.
        ledger: cool-downs of healers.
        gates: those of connections, accounts and fallbacks.
        healers: tried in order.
        is_source_failing: returns whether the circuit breaker of a whole source is not closed, so that its errors are
            nobody else's; by default none is known.
        owner: the process that heals.
    """

    settings: RecoverySettings
    journal: ErrorLog
    clock: Clock
    rng: Random
    _: KW_ONLY
    alerts: StoredAlerts
    ledger: HealingStore
    gates: SqlGates
    healers: Sequence[Healer] = ()
    is_source_failing: Callable[[str], bool] | None = None
    owner: str = ""

    def __post_init__(self) -> None:
        self._budget = RetryBudget(RETRY_BUDGET)
        self._token_checks: dict[str, float] = {}
        self._lock = threading.Lock()
        self._checking_token = threading.Lock()
        self._isolation = IsolationTracker(self.gates, self.settings, self.clock)
        self._outcomes = RunOutcomes(self._isolation, self.clock, self.is_source_failing)
        self._chain = FallbackChain(self._isolation, self.clock)

    def run(
        self,
        operation: Callable[[], T],
        *,
        call: Call,
        fallbacks: Sequence[Fallback[T]] = (),
        options: RunOptions | None = None,
    ) -> Outcome[T]:
        """Return the operation's result, or a fallback's, marked degraded.

        Args:
            operation: must be safe to repeat.
            call: what the operation is about; errors are counted by it.
            fallbacks: tried in order when the operation has failed for good.

        Raises:
            Isolated: the connection or the account is isolated, and no fallback has a result.
            Exception: the operation's own last error. Its cause chain ends in the first error if a healer ran between
                them, and its notes say what was done, and how each fallback failed.
        """
        options = options or RunOptions()
        healers = self.healers if options.healers is None else options.healers
        run = _Run(operation, call, options.policy or self.settings, healers)
        try:
            result = self._call(run)
            if isinstance(result, Outcome):
                return result
            degraded = self._fall_back(run, result, fallbacks)
            if degraded is not None:
                return degraded
            for note in run.actions:
                result.add_note(note)
            raise result
        finally:
            if run.last_event is not None:
                event = run.last_event
                self._best_effort("checking the alert threshold", lambda: self.alerts.observe(event))

    def alert(self, source: str, kind: str, message: str) -> None:
        """Alert a human about something other than a failed attempt; `message` is redacted here."""
        event = ErrorEvent(self.clock.now(), source, kind, redact(message))
        self._best_effort("the delivery of an alert", lambda: self.alerts.raise_once(event))

    def alert_about(self, build: BuildAlert) -> None:
        """Alert a human about an event that `build` describes, if any; see `adwarm.recovery.alerts.BuildAlert`."""
        self._best_effort("the delivery of an alert", lambda: self.alerts.raise_about(build))

    def record(self, error: Exception, *, call: Call) -> None:
        """Record an error that was met outside of `run`, and alert when there are enough of its kind."""
        event = build_error_event(error, call, self.clock.now())
        self._best_effort("recording an error", lambda: self.journal.record(event))
        self._best_effort("checking the alert threshold", lambda: self.alerts.observe(event))

    def heal(self, error: Exception, *, call: Call) -> str | None:
        """Record an error that was met outside of `run`, and try to heal its cause, once for all workers.

        Returns:
            The action that healed it, so that another attempt may succeed; None when none did.
        """
        self.record(error, call=call)
        run = _Run(lambda: None, call, self.settings, self.healers)
        healed = self._heal(run, error)
        return None if healed is None else healed.action

    def _call(self, run: _Run[T]) -> Outcome[T] | Exception:
        """Call the operation unless it is isolated, with retries and healing; return its result or its error."""
        refusal = self._find_isolation(run)
        if isinstance(refusal, VersionEnded):
            run.actions.append("not called: the version of the API has ended")
            return refusal
        if refusal is not None and not self._fix_token(run, refusal):
            run.actions.append(f"not called: {refusal.scope} is isolated for another {refusal.retry_after:.0f} s")
            return refusal
        started = self.clock.now()
        result: Outcome[T] | Exception
        try:
            result = self._attempt(run)
        except Exception as first:
            result = self._heal_and_retry(run, first)
        if run.policy.isolate:
            error = result if isinstance(result, Exception) else None
            self._best_effort("counting a run", lambda: self._outcomes.record(run.call, started, error))
        return result

    def _attempt(self, run: _Run[T]) -> Outcome[T]:
        """Call the operation, with retries."""
        retrier = Retrier(run.policy, self._budget, self.rng, self.clock.sleep, run.call.source)
        try:
            value = retrier.run(run.operation, lambda error: self._record(run, error))
        finally:
            run.attempts = retrier.attempts
            if run.attempts > 1:
                run.actions.append("retried once" if run.attempts == 2 else f"retried {run.attempts - 1} times")
        return Outcome(value, run.call.source, attempts=run.attempts, actions=tuple(run.actions))

    def _find_isolation(self, run: _Run[T]) -> Isolated | VersionEnded | None:
        if not run.policy.isolate:
            return None
        try:
            return self._isolation.find_isolation([*list_scopes(run.call), version_scope(run.call)])
        except Exception as problem:
            log_unexpected(log, problem, "could not read whether %s is isolated; it is called", run.call.source)
            return None

    def _fix_token(self, run: _Run[T], isolated: Isolated) -> bool:
        """Return whether a dead token, which isolated the connection, has been renewed since then."""
        # Otherwise a token that a human renews would wait for the end of an isolation of up to an hour.
        scope = isolated.scope
        if isolated.kind != TokenDead.__name__ or scope is None:
            return False
        with self._checking_token:  # threads that come meanwhile wait for the result, and use it
            if self._isolation.remaining_seconds(scope) <= 0:
                return True
            if not self._may_check_token(scope):
                return False
            dead = TokenDead(str(isolated))
            dead.credential = isolated.credential  # a process that started after the renewal knows no other
            healed = self._heal(run, dead)
            if healed:
                self._best_effort("ending an isolation", lambda: self._isolation.release(scope))
            return healed is not None

    def _may_check_token(self, scope: str) -> bool:
        """Return whether this process has not looked for a renewed token lately; thousands of keys may be refused."""
        now = self.clock.now().timestamp()
        with self._lock:
            if now - self._token_checks.get(scope, 0.0) < _TOKEN_CHECK_SECONDS:
                return False
            self._token_checks[scope] = now
        return True

    def _heal(self, run: _Run[T], error: Exception) -> Healed | None:
        """Run the healers that match the error, and return the one that succeeded."""
        if not run.policy.heal:
            return None
        try:
            healed = heal(run.healers, Failure(run.call, error), self.ledger, self.clock, self.owner)
        except Exception as problem:
            log_unexpected(log, problem, "healing could not be attempted")
            return None
        if healed is not None:
            run.actions.append(redact(str(healed)))
        return healed

    def _heal_and_retry(self, run: _Run[T], first: Exception) -> Outcome[T] | Exception:
        """Return the result after healing, or the error that remains."""
        healed = self._heal(run, first)
        if healed is None or seconds_left() <= 0:
            return first
        run.attempts += 1
        try:
            value = run.operation()
        except Exception as second:
            self._record(run, second)
            return _chained(second, first)
        reason = f"healed by {healed.action}"
        return Outcome(value, run.call.source, False, reason, run.attempts, actions=tuple(run.actions))

    def _fall_back(self, run: _Run[T], error: Exception, fallbacks: Sequence[Fallback[T]]) -> Outcome[T] | None:
        fallback_run = self._chain.run(fallbacks, error, isolates=run.policy.isolate)
        run.actions.extend(fallback_run.notes)
        if fallback_run.used is None:
            return None
        run.actions.append(f"fallback {fallback_run.used.name}")
        reason = redact(f"{type(error).__name__}: {error}")
        value: T = fallback_run.value  # type: ignore[assignment]  # a fallback that is used has a result
        return Outcome(
            value=value,
            source=fallback_run.used.name,
            is_degraded=True,
            reason=reason,
            attempts=run.attempts,
            as_of=fallback_run.as_of,
            error=error,
            actions=tuple(run.actions),
        )

    def _record(self, run: _Run[T], error: Exception) -> None:
        if _is_own_refusal(error):
            return
        event = build_error_event(error, run.call, self.clock.now())
        run.last_event = event
        self._best_effort("recording an error", lambda: self.journal.record(event))

    @staticmethod
    def _best_effort(what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as problem:
            log_unexpected(log, problem, "%s failed", what)


def _is_own_refusal(error: Exception) -> bool:
    return isinstance(error, AdwarmError) and error.own_refusal


def _chained(second: Exception, first: Exception) -> Exception:
    """Append the first error to the cause chain of the second."""
    root: BaseException = second
    seen = {id(second), id(first)}
    while root.__cause__ is not None and id(root.__cause__) not in seen:
        root = root.__cause__
        seen.add(id(root))
    if root is not first and second is not first:
        root.__cause__ = first
    return second
