"""Which task failures Airflow tries again, and when: read off the tree of `adwarm.foundation.errors`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from adwarm.foundation.errors import Permanent, Refused, Throttled, Transient

_MAX_RETRY_DELAY = timedelta(days=1)
"""A task asks again after a day, whatever it was told: a wait of years is a fault of the answer."""


class AdwarmRetryPolicy(RetryPolicy):
    """Fails at once what would fail again, and waits as long as the platform asked where it asked.

    The wait of a call inside a task is the recovery pipeline's business; this is the time scale above it.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return what to do about `exception`; anything from outside the tree is left to the task's own settings."""
        if isinstance(exception, Refused):
            return RetryDecision.retry(timedelta(seconds=max(1.0, exception.retry_after)), "refused by admission")
        if isinstance(exception, Permanent):
            return RetryDecision.fail(f"{type(exception).__name__} would fail again")
        if isinstance(exception, Throttled):
            wait = min(_MAX_RETRY_DELAY, max(timedelta(seconds=1), exception.until - datetime.now(UTC)))
            return RetryDecision.retry(wait, f"{exception.scope} is parked")
        if isinstance(exception, Transient) and exception.retry_after:
            wait = min(_MAX_RETRY_DELAY, timedelta(seconds=exception.retry_after))
            return RetryDecision.retry(wait, "the upstream asked to wait")
        return RetryDecision.default()
