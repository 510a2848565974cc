"""The recovery pipeline, which every operation on an upstream runs through.

| step       | when                                        | then                                                      |
|------------|---------------------------------------------|-----------------------------------------------------------|
| run        | always                                      | the result is returned, or the failed attempt is recorded |
| retry      | the error is transient, the budget allows it| run again after a wait with full jitter                   |
| heal       | a healer matches the error                  | fix the cause, once for all workers, and run once more    |
| fall back  | the operation still fails                   | the first fallback with a result, marked degraded; each   |
|            |                                             | has its own timeout, and isolated ones are skipped        |
| alert      | any attempt failed, whatever the result     | an alert if the window holds enough errors                |
| raise      | no fallback has a result                    | the operation's own last error, with cause and notes      |

An attempt that adwarm itself did not admit (`own_refusal`) is not a failure: it is neither recorded nor counted. Errors
of the bookkeeping are logged and never replace the operation's own result.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Generic, TypeVar

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, Permanent
from adwarm.foundation.redaction import redact
from adwarm.recovery.alerts import AlertPolicy, AlertSink, LogSink
from adwarm.recovery.call import Call, Failure
from adwarm.recovery.fallback import Fallback, call_with_timeout
from adwarm.recovery.healing import CooldownLedger, Healer, MemoryLedger, heal
from adwarm.recovery.isolation import IsolationStateStore, IsolationTracker, MemoryIsolationStore, isolation_rules
from adwarm.recovery.journal import ErrorEvent, ErrorJournal, build_error_event
from adwarm.recovery.retry import Retrier, RetryBudget
from adwarm.settings import RecoverySettings

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The result of an operation.

    Attributes:
        source: where the value came from: the operation's own source, or the fallback's name.
        is_degraded: whether a fallback provided the value.
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
    healers: Sequence[Healer]
    attempts: int = 0
    last_event: ErrorEvent | None = None
    fallback_notes: list[str] = field(default_factory=list)

    def attempt(self) -> T:
        self.attempts += 1
        return self.operation()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOptions:
    """The optional parts of a pipeline.

    Attributes:
        healers: tried in order until a matching one succeeds.
        alerts: where alerts go.
        ledger: cool-downs of healers and alerts; in this process's memory by default.
        isolation: states of isolated fallbacks; in this process's memory by default.
    """

    healers: Sequence[Healer] = ()
    alerts: AlertSink = field(default_factory=LogSink)
    ledger: CooldownLedger | None = None
    isolation: IsolationStateStore | None = None


class RecoveryPipeline:
    """Runs operations through the steps above. Safe to share between threads.

    Args:
        settings: attempts, delays, budget and thresholds.
        journal: where failed attempts are recorded and counted.
        clock: gives the time, and sleeps between attempts.
        rng: spreads the waits between attempts.
        options: healers, and where alerts and shared state go.
    """

    def __init__(
        self,
        settings: RecoverySettings,
        journal: ErrorJournal,
        clock: Clock,
        rng: Random,
        options: RecoveryOptions | None = None,
    ) -> None:
        options = options or RecoveryOptions()
        self._journal = journal
        self._clock = clock
        self._rng = rng
        self._healers = tuple(options.healers)
        self._ledger = options.ledger or MemoryLedger(clock)
        self._alerts = AlertPolicy(settings, journal, self._ledger, options.alerts)
        self._retrier = Retrier(settings, RetryBudget(settings.retry_budget), rng, clock.sleep)
        store = options.isolation or MemoryIsolationStore()
        self._isolation = IsolationTracker(store, isolation_rules(settings), clock)

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
            options: policy and healers of this run.

        Raises:
            Exception: the operation's own last error. Its cause chain ends in the first error if a healer ran between
                them, and its notes say how each fallback failed.
        """
        options = options or RunOptions()
        healers = self._healers if options.healers is None else options.healers
        run = _Run(operation, call, healers if options.policy is None or options.policy.heal else ())
        try:
            return self._run(run, fallbacks, self._retrier_for(options.policy))
        finally:
            if run.last_event is not None:
                event = run.last_event
                self._best_effort("checking the alert threshold", lambda: self._alerts.alert_if_over_threshold(event))

    def alert(self, source: str, kind: str, message: str) -> None:
        """Alert a human about something other than a failed attempt, once per window; `message` is redacted here."""
        event = ErrorEvent(self._clock.now(), source, kind, redact(message))
        self._best_effort("the delivery of an alert", lambda: self._alerts.alert_once(event))

    def heal(self, error: Exception, *, call: Call) -> str | None:
        """Record an error that was met outside of `run`, and try to heal its cause, once for all workers.

        Returns:
            The action that healed it, so that another attempt may succeed; None when none did.
        """
        event = build_error_event(error, call, self._clock.now())
        self._best_effort("recording an error", lambda: self._journal.record(event))
        self._best_effort("checking the alert threshold", lambda: self._alerts.alert_if_over_threshold(event))
        try:
            return heal(self._healers, Failure(call, error), self._ledger)
        except Exception:
            log.exception("healing could not be attempted")
            return None

    def _retrier_for(self, policy: RecoverySettings | None) -> Retrier:
        if policy is None:
            return self._retrier
        return Retrier(policy, RetryBudget(policy.retry_budget), self._rng, self._clock.sleep)

    def _run(self, run: _Run[T], fallbacks: Sequence[Fallback[T]], retrier: Retrier) -> Outcome[T]:
        try:
            value = retrier.run(run.attempt, lambda error: self._record(run, error))
            return Outcome(value, run.call.source, attempts=run.attempts)
        except Exception as error:
            first = error
        healed, last = self._heal_and_retry(run, first)
        if healed is not None:
            return healed
        degraded = self._fall_back(run, last, fallbacks)
        if degraded is not None:
            return degraded
        for note in run.fallback_notes:
            last.add_note(note)
        raise last

    def _heal_and_retry(self, run: _Run[T], first: Exception) -> tuple[Outcome[T] | None, Exception]:
        """Return the result after healing, or None and the error that remains."""
        try:
            name = heal(run.healers, Failure(run.call, first), self._ledger)
        except Exception:
            log.exception("healing could not be attempted")
            return None, first
        if name is None:
            return None, first
        try:
            value = run.attempt()
        except Exception as second:
            self._record(run, second)
            return None, _chained(second, first)
        return Outcome(value, run.call.source, reason=f"healed by {name}", attempts=run.attempts), first

    def _fall_back(self, run: _Run[T], error: Exception, fallbacks: Sequence[Fallback[T]]) -> Outcome[T] | None:
        for fallback in fallbacks:
            if seconds := self._isolated_for(fallback.name):
                run.fallback_notes.append(f"fallback {fallback.name} is isolated for another {seconds:.0f} s")
                continue
            try:
                value = call_with_timeout(fallback.call, fallback.timeout_seconds)
                as_of = fallback.as_of(value) if fallback.as_of else None
            except Exception as failure:
                run.fallback_notes.append(
                    redact(f"fallback {fallback.name} failed: {type(failure).__name__}: {failure}")
                )
                self._count(fallback.name, failed=_is_unhealthy(failure))
                continue
            self._count(fallback.name, failed=False)
            reason = redact(f"{type(error).__name__}: {error}")
            return Outcome(value, fallback.name, True, reason, run.attempts, as_of, error)
        return None

    def _isolated_for(self, source: str) -> float:
        try:
            return self._isolation.remaining_seconds(source)
        except Exception:
            log.exception("could not read whether %s is isolated; it is used", source)
            return 0.0

    def _count(self, source: str, *, failed: bool) -> None:
        self._best_effort(f"counting a call of {source}", lambda: self._isolation.record(source, failed=failed))

    def _record(self, run: _Run[T], error: Exception) -> None:
        if _is_own_refusal(error):
            return
        event = build_error_event(error, run.call, self._clock.now())
        run.last_event = event
        self._best_effort("recording an error", lambda: self._journal.record(event))

    @staticmethod
    def _best_effort(what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            log.exception("%s failed", what)


def _is_unhealthy(failure: Exception) -> bool:
    """Return whether the failure counts against the source; a regular response such as `NotFound` does not."""
    return not isinstance(failure, Permanent) and not _is_own_refusal(failure)


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
