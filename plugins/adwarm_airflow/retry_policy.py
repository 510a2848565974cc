"""Decides by the type of an error, see `adwarm.foundation.errors`, whether and when Airflow retries a task."""

from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import (
    AdwarmError,
    Isolated,
    NoCapacity,
    Permanent,
    Refused,
    Throttled,
    TokenDead,
    Transient,
)
from adwarm.settings import load_settings

_MAX_RETRY_DELAY = timedelta(days=1)
"""Upper limit of a delay that the platform asks for: a wait of years is a fault in its response."""


class AdwarmRetryPolicy(RetryPolicy):
    """Fails permanent errors at once, and delays a retry by what the platform asked for.

    A dead token is tried again after the cool-down of the healer `token_refresh`, if there is one: a token that a human
    or the user's hook renews meanwhile then ends the run green. The recovery pipeline retries calls inside a task,
    within a minute; this policy retries the task after that.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return the decision for `exception`; errors of other types follow the task's own settings."""
        if isinstance(exception, Refused):
            verb = "is isolated" if isinstance(exception, Isolated) else "refuses further work for now"
            why = f"{exception.scope or 'admission'} {verb}"
            return RetryDecision.retry(timedelta(seconds=max(1.0, exception.retry_after)), why)
        if isinstance(exception, TokenDead) and (seconds := _token_refresh_seconds()) is not None:
            return RetryDecision.retry(timedelta(seconds=max(1.0, seconds)), "the token may be renewed meanwhile")
        if isinstance(exception, Permanent):
            return RetryDecision.fail(f"{type(exception).__name__} would fail again")
        if isinstance(exception, NoCapacity):
            wait = min(_MAX_RETRY_DELAY, max(timedelta(seconds=1), exception.until - SystemClock().now()))
            why = (
                "is throttled by the platform"
                if isinstance(exception, Throttled)
                else "has no capacity by adwarm's own limits"
            )
            return RetryDecision.retry(wait, f"{exception.scope} {why}")
        if isinstance(exception, Transient) and exception.retry_after:
            wait = min(_MAX_RETRY_DELAY, timedelta(seconds=exception.retry_after))
            return RetryDecision.retry(wait, "the upstream asked to wait")
        return RetryDecision.default()


class DrainRetryPolicy(AdwarmRetryPolicy):
    """Fails a dead token at once: the requests have ended with it, so a retry would find none and end green."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return the decision for `exception`; errors of other types as in other tasks."""
        if isinstance(exception, TokenDead):
            return RetryDecision.fail("the requests have ended with it")
        return super().evaluate(exception, try_number, max_tries, context)


def _token_refresh_seconds() -> float | None:
    """Return the cool-down of the healer of dead tokens in the settings; None when there is none."""
    try:
        recovery = load_settings().recovery
    except AdwarmError:
        return None
    of_tokens = (item for item in recovery.healers if item.action == "token_refresh" and recovery.heal)
    return next((item.cooldown_seconds for item in of_tokens), None)
