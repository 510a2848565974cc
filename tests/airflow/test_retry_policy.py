"""What Airflow tries again, and when, is read off the class of the error."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adwarm.foundation import errors


def _decide(error: BaseException) -> Any:
    from adwarm_airflow.retry_policy import AdwarmRetryPolicy

    return AdwarmRetryPolicy().evaluate(error, 1, 3)


def _below(kind: type[errors.AdwarmError]) -> Iterator[type[errors.AdwarmError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _below(child)


SOON = datetime.now(UTC) + timedelta(hours=1)
TREE = {
    errors.AdwarmError: (errors.AdwarmError("every key failed"), "default"),
    errors.Transient: (errors.Transient("busy"), "default"),
    errors.Throttled: (errors.Throttled("slow", scope="account:act_1", until=SOON), "retry"),
    errors.Blocked: (errors.Blocked("no capability", scope="app:1", until=SOON), "retry"),
    errors.NotAdmitted: (errors.NotAdmitted("parked", scope="account:act_1", until=SOON), "retry"),
    errors.Permanent: (errors.Permanent("no"), "fail"),
    errors.TooMuchData: (errors.TooMuchData("much"), "fail"),
    errors.Denied: (errors.Denied("no", account_id="act_1"), "fail"),
    errors.TokenDead: (errors.TokenDead(), "fail"),
    errors.BadRequest: (errors.BadRequest("no"), "fail"),
    errors.NotFound: (errors.NotFound("no"), "fail"),
    errors.Refused: (errors.Refused("full", retry_after=9), "retry"),
    errors.Corrupt: (errors.Corrupt(), "fail"),
}


@pytest.mark.parametrize("kind", sorted(set(_below(errors.AdwarmError)), key=lambda kind: kind.__name__))
def test_every_class_of_the_tree_has_its_reaction(kind: type[errors.AdwarmError]) -> None:
    """No error of the tree is left to chance, also one that is added later; a retry carries a delay and its reason."""
    error, wanted = TREE[kind]
    found = _decide(error)

    assert found.action.value == wanted
    assert (found.retry_delay is not None) == (wanted == "retry")
    assert bool(found.reason) == (wanted != "default")


@pytest.mark.parametrize(
    "error",
    [
        errors.Throttled("slow", scope="account:act_1", until=datetime.max.replace(tzinfo=UTC)),
        errors.Transient("busy", retry_after=6e10),
    ],
)
def test_nobody_waits_for_years(error: Exception) -> None:
    """A platform that asks for a billion minutes is asked again after a day."""
    assert _decide(error).retry_delay == timedelta(days=1)


@pytest.mark.parametrize(
    "error",
    [
        errors.Denied("no", account_id="act_1"),
        errors.TokenDead(),
        errors.BadRequest("no"),
        errors.NotFound("no"),
        errors.TooMuchData(),
        errors.Corrupt(),
    ],
)
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
