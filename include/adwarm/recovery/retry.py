"""Retries of errors that pass by themselves: full jitter, the cap applied last, and within a retry budget.

`Throttled` is not retried here but raised at once, because waiting for a quota is up to admission and Airflow. Neither
is an error that asks for a longer wait than the cap allows: an earlier call would only cost quota.

The retry budget keeps retries a small part of the first attempts (10 % by default), so that they cannot double the load
on a failing upstream.
"""

import threading
from collections.abc import Callable
from random import Random
from typing import TypeVar

from tenacity import RetryCallState, Retrying, stop_never

from adwarm.foundation.errors import AdwarmError, Refused, Throttled, Transient
from adwarm.settings import RecoverySettings

T = TypeVar("T")
_INITIAL_RETRIES = 10.0
"""Lets a process with few calls retry at all."""
_MAX_RETRIES = 100.0


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


def is_retryable(error: BaseException, max_delay_seconds: float) -> bool:
    """Return whether the same call may succeed within the cap; any lost connection counts."""
    if isinstance(error, Throttled):
        return False
    if isinstance(error, Transient):
        return (error.retry_after or 0.0) <= max_delay_seconds
    return isinstance(error, ConnectionError | TimeoutError)


def backoff_seconds(settings: RecoverySettings, attempt: int, error: BaseException | None, rng: Random) -> float:
    """Return the seconds to wait after the `attempt`-th failed attempt (from 1): never above the cap.

    The jitter is added to the wait that the platform asked for.
    """
    ceiling = min(settings.max_delay_seconds, settings.initial_delay_seconds * settings.multiplier ** (attempt - 1))
    requested = error.retry_after or 0.0 if isinstance(error, Transient) else 0.0
    return min(settings.max_delay_seconds, requested + rng.uniform(0, ceiling))


class Retrier:
    """Runs an operation as often as the settings and the budget allow."""

    def __init__(
        self, settings: RecoverySettings, budget: RetryBudget, rng: Random, sleep: Callable[[float], None]
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._rng = rng
        self._sleep = sleep

    def run(self, operation: Callable[[], T], on_failure: Callable[[Exception], None]) -> T:
        """Return the operation's result, or raise its last error unchanged.

        When admission refuses a further attempt, the error of the attempt before it is raised.

        Args:
            operation: must be safe to repeat.
            on_failure: called with the error of every failed attempt, the last one included.
        """
        last_error: Exception | None = None

        def attempt() -> T:
            nonlocal last_error
            try:
                return operation()
            except Exception as error:
                on_failure(error)
                if isinstance(error, Refused):
                    raise
                if last_error is not None and isinstance(error, AdwarmError) and error.own_refusal:
                    error.__cause__ = error.__cause__ or last_error  # keeps the reason of the retry visible
                last_error = error
                raise

        self._budget.record_first_attempt()
        retrying = Retrying(
            retry=self._may_retry,
            stop=stop_never,
            wait=lambda state: backoff_seconds(self._settings, state.attempt_number, _error(state), self._rng),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except Refused as refused:
            if last_error is None:
                raise
            raise last_error from refused

    def _may_retry(self, state: RetryCallState) -> bool:
        """Return whether to retry; the budget comes last, so that it is used only by retries that happen."""
        error = _error(state)
        return (
            error is not None
            and is_retryable(error, self._settings.max_delay_seconds)
            and state.attempt_number < self._settings.max_attempts
            and self._budget.try_acquire()
        )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
