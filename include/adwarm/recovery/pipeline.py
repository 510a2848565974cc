"""The one way an operation fails: record, retry, heal and try once more, fall back, alert, raise.

```
operation --ok--> answer
    | every failed attempt is recorded; what adwarm itself put off (`own_refusal`) was no attempt
    +-- transient: again, with full jitter, within the budget
    +-- a healer matches: heal (once for all workers), then one more try
    +-- fallbacks, each within its time, isolated ones skipped --> answer, marked degraded
    +-- the threshold is looked at, whichever way it ended
    +-- the operation's own error is raised, with what came before and after it attached
```
Bookkeeping that fails is logged and never takes the place of the operation's own outcome.
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
    """What came of an operation.

    Attributes:
        source: where the value came from: the operation's own source, or the fallback's name.
        degraded: whether a fallback answered.
        reason: why it is degraded, or what healed the operation; None when all went well.
        attempts: how often the operation itself was called.
        as_of: when the data of a degraded answer was fetched, if the fallback knows.
        error: what the operation failed with, when the answer is degraded.
    """

    value: T
    source: str
    is_degraded: bool = False
    reason: str | None = None
    attempts: int = 1
    as_of: datetime | None = None
    error: Exception | None = None


@dataclass
class _Run(Generic[T]):
    """One pass through the pipeline."""

    operation: Callable[[], T]
    source: str
    subject: str | None
    attempts: int = 0
    last_event: ErrorEvent | None = None
    fallback_notes: list[str] = field(default_factory=list)

    def attempt(self) -> T:
        self.attempts += 1
        return self.operation()


class RecoveryPipeline:
    """Runs operations through the steps above. Safe to share between threads.

    Args:
        settings: attempts, delays, budget and thresholds.
        journal: where failed attempts are recorded and counted.
        healers: tried in order; all that match get their turn until one succeeds.
        alerts: where alerts go.
        sleep: waits between attempts; the clock's by default.
        ledger: cool-downs of healing and alerts; this process's own by default.
        isolation: states of isolated sources; this process's own by default.
    """

    def __init__(
        self,
        settings: RecoverySettings,
        journal: ErrorJournal,
        clock: Clock,
        rng: Random,
        healers: Sequence[Healer] = (),
        alerts: AlertSink | None = None,
        sleep: Callable[[float], None] | None = None,
        ledger: CooldownLedger | None = None,
        isolation: IsolationStateStore | None = None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._healers = tuple(healers)
        self._ledger = ledger or MemoryLedger(clock)
        self._alerts = AlertPolicy(settings, journal, self._ledger, alerts or LogSink())
        self._retrier = Retrier(settings, RetryBudget(settings.retry_budget), rng, sleep or clock.sleep)
        self._isolation = IsolationTracker(isolation or MemoryIsolationStore(), isolation_rules(settings), clock)

    def run(
        self,
        operation: Callable[[], T],
        *,
        source: str,
        subject: str | None = None,
        fallbacks: Sequence[Fallback[T]] = (),
    ) -> Outcome[T]:
        """Return the operation's answer, or a fallback's, marked degraded.

        Args:
            operation: must be safe to repeat.
            source: what the operation calls; errors are counted by it.
            subject: what it is about, for the journal.
            fallbacks: tried in order when the operation is past saving.

        Raises:
            Exception: the operation's own last error. Its cause leads back to the first one when healing lay between,
                and its notes say how each fallback failed.
        """
        run = _Run(operation, source, subject)
        try:
            return self._answer(run, fallbacks)
        finally:
            if run.last_event is not None:
                event = run.last_event
                self._best_effort("looking at the alert threshold", lambda: self._alerts.alert_if_over_threshold(event))

    def alert(self, source: str, kind: str, message: str) -> None:
        """Alert a person about something that is no failed attempt, once in a window; `message` is redacted here."""
        event = ErrorEvent(self._clock.now(), source, kind, redact(message))
        self._best_effort("an alert", lambda: self._alerts.alert_once(event))

    def _answer(self, run: _Run[T], fallbacks: Sequence[Fallback[T]]) -> Outcome[T]:
        try:
            value = self._retrier.run(run.attempt, lambda error: self._record(run, error))
            return Outcome(value, run.source, attempts=run.attempts)
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
        """Return the answer after healing, or none and the error that stands."""
        try:
            name = heal(self._healers, first, self._ledger)
        except Exception:
            log.exception("healing could not be tried")
            return None, first
        if name is None:
            return None, first
        try:
            value = run.attempt()
        except Exception as second:
            self._record(run, second)
            return None, _chained(second, first)
        return Outcome(value, run.source, reason=f"healed by {name}", attempts=run.attempts), first

    def _fall_back(self, run: _Run[T], error: Exception, fallbacks: Sequence[Fallback[T]]) -> Outcome[T] | None:
        for fallback in fallbacks:
            if left := self._isolated_for(fallback.name):
                run.fallback_notes.append(f"fallback {fallback.name} is isolated for another {left:.0f} s")
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
            log.exception("the isolation of %s is unknown; it is used", source)
            return 0.0

    def _count(self, source: str, *, failed: bool) -> None:
        self._best_effort(
            f"counting for the isolation of {source}", lambda: self._isolation.record(source, failed=failed)
        )

    def _record(self, run: _Run[T], error: Exception) -> None:
        if _is_own_refusal(error):
            return
        event = build_error_event(error, run.source, run.subject, self._clock.now())
        run.last_event = event
        self._best_effort("recording an error", lambda: self._journal.record(event))

    @staticmethod
    def _best_effort(what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            log.exception("%s failed", what)


def _is_unhealthy(failure: Exception) -> bool:
    """An answer in good order, such as `NotFound`, says nothing against the place it came from."""
    return not isinstance(failure, Permanent) and not _is_own_refusal(failure)


def _is_own_refusal(error: Exception) -> bool:
    return isinstance(error, AdwarmError) and error.own_refusal


def _chained(second: Exception, first: Exception) -> Exception:
    """Attach the first error as the cause of the second, keeping a cause it has already."""
    root: BaseException = second
    seen = {id(second), id(first)}
    while root.__cause__ is not None and id(root.__cause__) not in seen:
        root = root.__cause__
        seen.add(id(root))
    if root is not first and second is not first:
        root.__cause__ = first
    return second
