"""What Airflow tries again, and when, is read off the class of the error."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adwarm import errors


def _decide(error: BaseException) -> Any:
    from adwarm_airflow.retry_policy import AdwarmRetryPolicy

    return AdwarmRetryPolicy().evaluate(error, 1, 3)


@pytest.mark.parametrize("error", [
    errors.Denied("no", account_id="act_1"), errors.TokenDead(), errors.BadRequest("no"), errors.NotFound("no"),
    errors.TooMuchData(), errors.Corrupt(),
])  # fmt: skip
def test_what_would_fail_again_fails_at_once(error: Exception) -> None:
    """A permanent error uses up no further try, and the reason names its class."""
    from airflow.sdk import RetryAction

    found = _decide(error)
    assert found.action == RetryAction.FAIL
    assert type(error).__name__ in found.reason


def test_waits_are_those_that_were_asked_for() -> None:
    """A park is waited out, a refusal and a retry-after as long as they say."""
    parked = _decide(errors.Throttled("slow", scope="account:act_1", until=datetime.now(UTC) + timedelta(minutes=5)))
    past = _decide(errors.Throttled("slow", scope="account:act_1", until=datetime.now(UTC) - timedelta(minutes=5)))
    assert timedelta(minutes=4) < parked.retry_delay <= timedelta(minutes=5)
    assert past.retry_delay == timedelta(seconds=1)
    assert _decide(errors.Refused("full", retry_after=90)).retry_delay == timedelta(seconds=90)
    assert _decide(errors.Transient("busy", retry_after=7)).retry_delay == timedelta(seconds=7)


@pytest.mark.parametrize("error", [errors.Transient("busy"), ValueError("other")])
def test_the_rest_is_left_to_the_task(error: Exception) -> None:
    """Without a wait of its own, and outside the tree, the task's own settings decide."""
    from airflow.sdk import RetryAction

    assert _decide(error).action == RetryAction.DEFAULT
