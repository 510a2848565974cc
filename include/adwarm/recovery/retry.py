"""Retries of errors that pass by themselves: spread by jitter, the cap applied last, and within a retry budget.

`Throttled` is not retried here but raised at once, because waiting for a quota is up to admission and Airflow. Neither
is a call that adwarm itself did not admit, nor an error that asks for a longer wait than the cap allows: an earlier
call would only cost quota. Nor is a call repeated whose own time, or that of its account, would be over by then.

The retry budget keeps retries a small part of the first attempts (10 % by default), so that they cannot double the load
on a failing upstream.
"""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, TypeVar

from adwarm.foundation.clock import seconds_left
from adwarm.foundation.errors import AdwarmError, Refused, Throttled, Transient
from adwarm.settings import HealerSettings, RecoverySettings
from adwarm.settings.recovery_sections import ANY_ERROR

if TYPE_CHECKING:
    from tenacity import Retrying


def matches_errors(names: Sequence[str], error: BaseException | None) -> bool:
    """Whether `names` has the class of `error` or one of its base classes; `any` also stands for no error."""
    if ANY_ERROR in names:
        return True
    return error is not None and not {kind.__name__ for kind in type(error).__mro__}.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class ErrorFilter:
    """Classes of errors, and what their code or message must contain.

    Attributes:
        errors: names of classes; an error of a class below one of them is meant too, and `any` is every error.
        pattern: a regular expression that the code or the message must contain; None for any.
    """

    errors: tuple[str, ...] = (ANY_ERROR,)
    pattern: str | None = None

    @classmethod
    def of(cls, healer: HealerSettings) -> "ErrorFilter":
        """Return the filter of a healer in the settings."""
        return cls(healer.errors, healer.pattern)

    def matches(self, error: BaseException) -> bool:
        """Return whether the error is one of those; a call that adwarm itself did not admit has not failed."""
        if isinstance(error, AdwarmError) and error.own_refusal:
            return False
        if not matches_errors(self.errors, error):
            return False
        code = error.code if isinstance(error, AdwarmError) else None
        return self.pattern is None or any(re.search(self.pattern, text) for text in (code or "", str(error)))


T = TypeVar("T")
_INITIAL_RETRIES = 10.0
"""Lets a process with few calls retry at all."""
_MAX_RETRIES = 100.0
_PROPORTIONAL_SPREAD = 0.25
RETRY_BUDGET = 0.1
"""Retries per first attempt: an upstream that fails every call gets a tenth more calls, not three times as many."""


class RetryBudget:
    """Retries that this process may still make. Safe to share between threads.

    Args:
        ratio: retries earned per first attempt; 0 means that nothing is ever retried.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._balance = _INITIAL_RETRIES if ratio > 0 else 0.0
        self._lock = threading.Lock()

    def record_first_attempt(self) -> None:
        """Add the share of a retry that a first attempt earns."""
        with self._lock:
            self._balance = min(_MAX_RETRIES, self._balance + self._ratio)

    def try_acquire(self) -> bool:
        """Use one retry; False when the budget is used up."""
        with self._lock:
            # Ten tenths add up to slightly less than one.
            if self._balance < 1 - 1e-9:
                return False
            self._balance -= 1
            return True


def is_retryable(settings: RecoverySettings, source: str, error: BaseException) -> bool:
    """Return whether the settings let a call of `source` be repeated after `error`."""
    if isinstance(error, Throttled) or (isinstance(error, AdwarmError) and error.own_refusal):
        return False
    if isinstance(error, Transient) and (error.retry_after or 0.0) > settings.max_delay_seconds:
        return False
    return matches_errors(settings.retryable.get(source, settings.retryable["*"]), error)


def backoff_seconds(settings: RecoverySettings, attempt: int, error: BaseException | None, rng: Random) -> float:
    """Return the seconds to wait after the `attempt`-th failed attempt (from 1): never above the cap.

    The delay is added to the wait that the platform asked for.
    """
    delay = min(settings.max_delay_seconds, settings.initial_delay_seconds * settings.multiplier ** (attempt - 1))
    if settings.jitter == "full":
        delay = rng.uniform(0, delay)
    elif settings.jitter == "proportional":
        delay *= rng.uniform(1 - _PROPORTIONAL_SPREAD, 1 + _PROPORTIONAL_SPREAD)
    requested = error.retry_after or 0.0 if isinstance(error, Transient) else 0.0
    return min(settings.max_delay_seconds, requested + delay)


@dataclass(eq=False)
class Retrier:
    """Runs an operation as often as the settings and the budget allow."""

    settings: RecoverySettings
    budget: RetryBudget
    rng: Random
    sleep: Callable[[float], None]
    source: str = "*"
    attempts: int = field(default=0, init=False)
    """How often the operation was called."""

    def run(self, operation: Callable[[], T], on_failure: Callable[[Exception], None]) -> T:
        """Return the operation's result, or raise its last error unchanged.

        When admission refuses a further attempt, the error of the attempt before it is raised.

        Args:
            operation: must be safe to repeat.
            on_failure: called with the error of every failed attempt, the last one included.
        """
        errors: list[Exception] = []

        def attempt() -> T:
            self.attempts += 1
            try:
                return operation()
            except Exception as error:
                on_failure(error)
                errors.append(error)
                raise

        self.budget.record_first_attempt()
        try:
            return attempt()
        except Exception as error:
            if not self._is_retryable(error):
                raise
        retrying = self._build_retrying(errors)

        def attempt_again() -> T:
            if retrying.statistics["attempt_number"] == 1:  # it has been made
                raise errors[0]
            return attempt()

        try:
            return retrying(attempt_again)
        except AdwarmError as error:
            if isinstance(error, Refused):
                raise errors[-2] from error
            if error.own_refusal:
                error.__cause__ = error.__cause__ or errors[-2]  # the reason of the retry
            raise

    def _is_retryable(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and is_retryable(self.settings, self.source, error)

    def _build_retrying(self, errors: Sequence[Exception]) -> "Retrying":
        """Return the loop, which is imported after a failure only: that takes a tenth of a second."""
        from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

        is_last = stop_after_attempt(self.settings.max_attempts)

        def stop(state: RetryCallState) -> bool:
            # The budget comes last, so that it is used only by retries that happen.
            return is_last(state) or state.upcoming_sleep >= seconds_left() or not self.budget.try_acquire()

        return Retrying(
            retry=retry_if_exception(self._is_retryable),
            wait=lambda state: backoff_seconds(self.settings, state.attempt_number, errors[-1], self.rng),
            stop=stop,
            sleep=self.sleep,
            reraise=True,
        )
