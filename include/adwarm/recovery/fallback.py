"""The fallback chain: other sources of a result, tried in order, each with its condition, timeout and largest age.

| a fallback                                           | then                                                         |
|------------------------------------------------------|--------------------------------------------------------------|
| does not apply to the last error                     | is skipped                                                   |
| is isolated                                          | is skipped; the note says for how long                       |
| has `MAX_ABANDONED` abandoned calls that still run   | fails at once, without a call                                |
| takes longer than its timeout                        | fails, and its call is abandoned; in its first minute in a   |
|                                                      | process that does not count for isolation: libraries load    |
| raises `NotFound`                                    | has no result; that is not an error                          |
| raises any other error                               | fails; its error is the last one                             |
| returns a result that is too old                     | is not used; the note says how old it is                     |
| returns any other result                             | the result is used, and the rest is not tried                |
"""

import contextvars
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from adwarm.foundation.clock import SHORT_SECONDS, Clock, TimeLimit, limited
from adwarm.foundation.errors import AdwarmError, NotFound, Permanent
from adwarm.foundation.redaction import log_unexpected, redact
from adwarm.foundation.wording import format_duration
from adwarm.recovery.isolation import IsolationTracker, fallback_scope
from adwarm.recovery.retry import matches_errors
from adwarm.settings.recovery_sections import ANY_ERROR

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_ABANDONED: Final = 4
"""Abandoned calls of one fallback that may still run in this process; beyond them it fails at once."""
WARM_UP_SECONDS: Final = 60.0
"""How long after its first call in a process the timeouts of a fallback do not count: imports and caches are cold."""
_NEVER = threading.Event()
_is_abandoned: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("is_abandoned", default=_NEVER)


@dataclass(frozen=True, slots=True)
class Fallback(Generic[T]):
    """Another source of the result.

    Attributes:
        name: the source of the outcome; it is isolated as `fallback:NAME`.
        call: returns the result, or raises (`NotFound` when the source has none).
        timeout_seconds: how long the call may take. It is abandoned then, so it must be safe to leave it running; see
            `call_with_timeout`.
        as_of: returns from the result when its data was fetched; None when that is unknown.
        errors: names of the classes of errors after which it is used; `any` also before there is an error.
        max_age_seconds: older results are not used; None for any age. A result of unknown age is used.
        may_be_isolated: whether its failures isolate it; not where something else decides when it is called.
    """

    name: str
    call: Callable[[], T]
    timeout_seconds: float
    as_of: Callable[[T], datetime | None] | None = None
    errors: tuple[str, ...] = (ANY_ERROR,)
    max_age_seconds: float | None = None
    may_be_isolated: bool = True

    def applies_to(self, error: Exception | None) -> bool:
        """Whether it is used after `error`, by the names of the error's class and its base classes."""
        return matches_errors(self.errors, error)


@dataclass(frozen=True, slots=True)
class FallbackRun(Generic[T]):
    """The outcome of a chain of fallbacks.

    Attributes:
        used: the fallback whose result is used; None when none has one.
        as_of: when the data of the result was fetched, if the fallback knows.
        errors: the error before them and those of failed fallbacks, in order; `NotFound` is left out.
        notes: the outcomes of the others, in their order, without secrets.
    """

    used: Fallback[T] | None = None
    value: T | None = None
    as_of: datetime | None = None
    errors: tuple[Exception, ...] = ()
    notes: tuple[str, ...] = ()
    attempts: int = 0

    @property
    def error(self) -> Exception | None:
        """The last error."""
        return self.errors[-1] if self.errors else None


class FallbackChain:
    """Runs fallbacks in order, and isolates those that keep failing. Safe to share between threads.

    Nothing is retried, recorded or alerted: that belongs to whoever runs the operation.
    """

    def __init__(self, isolation: IsolationTracker, clock: Clock) -> None:
        self._isolation = isolation
        self._clock = clock

    def run(
        self, fallbacks: Sequence[Fallback[T]], error: Exception | None = None, *, isolates: bool = True
    ) -> FallbackRun[T]:
        """Return the result of the first fallback that has one; see the table of this module.

        Args:
            fallbacks: tried in order.
            error: why a fallback is needed; None before there is an error.
            isolates: whether isolated ones are skipped, and calls counted.
        """
        notes: list[str] = []
        errors = [] if error is None else [error]
        attempts = 0
        for fallback in fallbacks:
            if not fallback.applies_to(errors[-1] if errors else None):
                continue
            is_counted = isolates and fallback.may_be_isolated
            if is_counted and (seconds := self._isolated_seconds(fallback.name)):
                notes.append(f"skipped fallback {fallback.name}: isolated for another {seconds:.0f} s")
                continue
            attempts += 1
            try:
                value = call_with_timeout(fallback.call, fallback.timeout_seconds, fallback.name)
                as_of = fallback.as_of(value) if fallback.as_of else None
            except Exception as failure:
                notes.append(redact(f"fallback {fallback.name} failed: {type(failure).__name__}: {failure}"))
                if not isinstance(failure, NotFound):
                    errors.append(failure)
                if is_counted and not _is_cold(fallback.name, failure):
                    self._count(fallback.name, failure if is_unhealthy(failure) else None)
                continue
            if is_counted:
                self._count(fallback.name, None)
            if text := _describe_age(fallback, as_of, self._clock.now()):
                notes.append(text)
                continue
            return FallbackRun(
                used=fallback, value=value, as_of=as_of, errors=tuple(errors), notes=tuple(notes), attempts=attempts
            )
        return FallbackRun(errors=tuple(errors), notes=tuple(notes), attempts=attempts)

    def _isolated_seconds(self, name: str) -> float:
        try:
            return self._isolation.remaining_seconds(fallback_scope(name))
        except Exception as problem:
            log_unexpected(log, problem, "could not read whether the fallback %s is isolated; it is used", name)
            return 0.0

    def _count(self, name: str, failure: Exception | None) -> None:
        try:
            if failure is None:
                self._isolation.record(fallback_scope(name), failed=False)
            else:
                self._isolation.record_failure(fallback_scope(name), failure)
        except Exception as problem:
            log_unexpected(log, problem, "counting a call of the fallback %s failed", name)


def is_unhealthy(failure: Exception) -> bool:
    """Whether a failure counts against its source.

    A regular response such as `NotFound` does not, nor does a call that adwarm itself did not admit.
    """
    own_refusal = isinstance(failure, AdwarmError) and failure.own_refusal
    return not isinstance(failure, Permanent) and not own_refusal


def _is_cold(name: str, failure: Exception) -> bool:
    """Whether the failure is a timeout of a fallback that this process has just begun to use."""
    return isinstance(failure, TimeoutError) and _CALLS.is_warming_up(name)


def is_abandoned() -> bool:
    """Whether the caller of the running fallback has stopped waiting for it; check it between two steps of a call."""
    return _is_abandoned.get().is_set()


def call_with_timeout(call: Callable[[], T], timeout_seconds: float, name: str = "call") -> T:
    """Return what `call` returns, in the caller's context variables.

    Python cannot stop a thread, so a call that takes too long is abandoned: its daemon thread goes on, and its result
    is dropped. `is_abandoned` is true in it from then on, and a call that checks it ends early: the fetches of the read
    chain do, before their next call of the platform. A statement of SQL or a request that is under way is not canceled;
    its wait ends soon after, since the call runs in a `TimeLimit`. At most `MAX_ABANDONED` abandoned calls of one name
    may run at a time.

    Args:
        name: under which abandoned calls are counted.

    Raises:
        TimeoutError: it took longer than `timeout_seconds`, or too many abandoned calls of this name still run.
    """
    ticket = _CALLS.start(name)
    outcome: queue.SimpleQueue[tuple[bool, T | BaseException]] = queue.SimpleQueue()
    context = contextvars.copy_context()
    context.run(_is_abandoned.set, ticket.abandoned)

    def run() -> T:
        with limited(TimeLimit(timeout_seconds + SHORT_SECONDS, name)):
            return call()

    def work() -> None:
        try:
            outcome.put((True, context.run(run)))
        except BaseException as error:  # handed to the caller's thread, whatever it is
            outcome.put((False, error))
        finally:
            _CALLS.end(ticket)

    threading.Thread(target=work, name=f"adwarm-{name}", daemon=True).start()
    try:
        succeeded, value = outcome.get(timeout=timeout_seconds)
    except queue.Empty:
        _CALLS.abandon(ticket)
        raise TimeoutError(f"no answer within {timeout_seconds:g} s") from None
    if not succeeded and isinstance(value, BaseException):
        raise value
    return value  # type: ignore[return-value]  # the flag says which of the two it is


@dataclass(eq=False, slots=True)
class _Ticket:
    name: str
    abandoned: threading.Event
    has_ended: bool = False


class _RunningCalls:
    """Counts the abandoned calls of this process that still run, by name."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._abandoned: Counter[str] = Counter()
        self._first_at: dict[str, float] = {}

    def start(self, name: str) -> _Ticket:
        with self._lock:
            self._first_at.setdefault(name, self._monotonic())
            count = self._abandoned[name]
        if count >= MAX_ABANDONED:
            raise TimeoutError(f"{count} earlier calls took too long and still run; it is called again when one ends")
        return _Ticket(name, threading.Event())

    def is_warming_up(self, name: str) -> bool:
        with self._lock:
            return self._monotonic() - self._first_at.get(name, 0.0) < WARM_UP_SECONDS

    def abandon(self, ticket: _Ticket) -> None:
        with self._lock:
            ticket.abandoned.set()
            if not ticket.has_ended:
                self._abandoned[ticket.name] += 1

    def end(self, ticket: _Ticket) -> None:
        with self._lock:
            ticket.has_ended = True
            if ticket.abandoned.is_set():
                self._abandoned[ticket.name] -= 1


_CALLS: Final = _RunningCalls()


def _describe_age(fallback: Fallback[T], as_of: datetime | None, now: datetime) -> str | None:
    """Return why a result is too old; None when it is not."""
    if as_of is None or fallback.max_age_seconds is None:
        return None
    age = (now - as_of).total_seconds()
    if age <= fallback.max_age_seconds:
        return None
    limit = format_duration(fallback.max_age_seconds)
    return f"fallback {fallback.name} is not used: its data is {format_duration(age)} old, and {limit} is the limit"
