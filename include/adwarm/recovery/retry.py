"""Retries of what passes by itself: full jitter, the cap applied last, within the budget.

`Throttled` is not retried here: it surfaces at once, because waiting for a quota belongs to admission and to Airflow.
Neither is an error that asks for a longer wait than the cap allows: calling early would only cost quota.
"""

import threading
from collections.abc import Callable
from random import Random
from typing import TypeVar

from tenacity import RetryCallState, Retrying, stop_never

from adwarm.foundation.errors import AdwarmError, Refused, Throttled, Transient
from adwarm.settings import RecoverySettings

_RESERVE = 10.0
_MOST = 100.0


class RetryBudget:
    """Retries that this process may still make. Safe to share between threads.

    Args:
        ratio: retries earned per first try; 0 means that nothing is ever retried.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._balance = _RESERVE if ratio > 0 else 0.0
        self._lock = threading.Lock()

    def record_first_attempt(self) -> None:
        """Earn for a first try."""
        with self._lock:
            self._balance = min(_MOST, self._balance + self._ratio)

    def try_acquire(self) -> bool:
        """Take one retry; False when the budget is used up."""
        with self._lock:
            # Ten tenths add up to a hair below one.
            if self._balance < 1 - 1e-9:
                return False
            self._balance -= 1
            return True


T = TypeVar("T")


def is_retryable(error: BaseException, max_delay_seconds: float) -> bool:
    """Return whether the same call may succeed within the cap; a lost connection counts, whoever raised it."""
    if isinstance(error, Throttled):
        return False
    if isinstance(error, Transient):
        return (error.retry_after or 0.0) <= max_delay_seconds
    return isinstance(error, ConnectionError | TimeoutError)


def backoff_seconds(settings: RecoverySettings, attempt: int, error: BaseException | None, rng: Random) -> float:
    """Return the seconds to wait after the `attempt`-th failed try (from 1): never above the cap.

    What the platform asked for is a floor, and the jitter comes on top.
    """
    ceiling = min(settings.max_delay_seconds, settings.initial_delay_seconds * settings.multiplier ** (attempt - 1))
    asked = error.retry_after or 0.0 if isinstance(error, Transient) else 0.0
    return min(settings.max_delay_seconds, asked + rng.uniform(0, ceiling))


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
        """Return what the operation returns; the last error is raised as it came.

        A further attempt that admission refuses is not one: what the attempt before it failed with is raised.

        Args:
            operation: must be safe to repeat.
            on_failure: hears of every failed attempt, the last one included.
        """
        own: Exception | None = None

        def attempt() -> T:
            nonlocal own
            try:
                return operation()
            except Exception as error:
                on_failure(error)
                if isinstance(error, Refused):
                    raise
                if own is not None and isinstance(error, AdwarmError) and error.own_refusal:
                    error.__cause__ = error.__cause__ or own  # a wait does not hide what it was wanted for
                own = error
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
            if own is None:
                raise
            raise own from refused

    def _may_retry(self, state: RetryCallState) -> bool:
        """Judge attempts before the budget, so that nothing is spent on a retry that will not happen."""
        error = _error(state)
        return (
            error is not None
            and is_retryable(error, self._settings.max_delay_seconds)
            and state.attempt_number < self._settings.max_attempts
            and self._budget.try_acquire()
        )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
