"""The class of an error decides whether and when Airflow retries a task."""

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
        if vars(errors).get(child.__name__) is child:
            yield from _below(child)


SOON = datetime.now(UTC) + timedelta(hours=1)
TREE = {
    errors.AdwarmError: (errors.AdwarmError("every key failed"), "default"),
    errors.Transient: (errors.Transient("busy"), "default"),
    errors.DatabaseBusy: (errors.DatabaseBusy("busy"), "default"),
    errors.StorageError: (errors.StorageError("the disk is full"), "default"),
    errors.Throttled: (errors.Throttled("slow", scope="account:act_1", until=SOON), "retry"),
    errors.Blocked: (errors.Blocked("no capability", scope="app:1", until=SOON), "retry"),
    errors.NoCapacity: (errors.NoCapacity("full", scope="account:act_1", until=SOON), "retry"),
    errors.NotAdmitted: (errors.NotAdmitted("parked", scope="account:act_1", until=SOON), "retry"),
    errors.Permanent: (errors.Permanent("no"), "fail"),
    errors.TooMuchData: (errors.TooMuchData("much"), "fail"),
    errors.Denied: (errors.Denied("no", account_id="act_1"), "fail"),
    errors.TokenDead: (errors.TokenDead(), "retry"),
    errors.BadRequest: (errors.BadRequest("no"), "fail"),
    errors.FieldRefused: (errors.FieldRefused("no", fields=["spend"]), "fail"),
    errors.VersionEnded: (errors.VersionEnded("no"), "fail"),
    errors.NotFound: (errors.NotFound("no"), "fail"),
    errors.Refused: (errors.Refused("full", retry_after=9), "retry"),
    errors.Isolated: (errors.Isolated("failing", retry_after=300, scope="account:act_1"), "retry"),
    errors.Corrupt: (errors.Corrupt(), "fail"),
}


@pytest.mark.parametrize("kind", sorted(set(_below(errors.AdwarmError)), key=lambda kind: kind.__name__))
def test_every_class_of_the_tree_has_a_decision(kind: type[errors.AdwarmError]) -> None:
    """Every class of the error tree has a decision, also one that is added later; a retry has a delay and a reason."""
    error, action = TREE[kind]
    decision = _decide(error)

    assert decision.action.value == action
    assert (decision.retry_delay is not None) == (action == "retry")
    assert bool(decision.reason) == (action != "default")


@pytest.mark.parametrize(
    "error",
    [
        errors.Throttled("slow", scope="account:act_1", until=datetime.max.replace(tzinfo=UTC)),
        errors.Transient("busy", retry_after=6e10),
    ],
)
def test_a_delay_is_at_most_a_day(error: Exception) -> None:
    """A platform that asks for a billion minutes is called again after a day."""
    assert _decide(error).retry_delay == timedelta(days=1)


@pytest.mark.parametrize(
    "error",
    [
        errors.Denied("no", account_id="act_1"),
        errors.BadRequest("no"),
        errors.NotFound("no"),
        errors.TooMuchData(),
        errors.Corrupt(),
    ],
)
def test_permanent_errors_fail_without_a_retry(error: Exception) -> None:
    """A permanent error is not retried, and the reason names its class."""
    from airflow.sdk import RetryAction

    decision = _decide(error)
    assert decision.action == RetryAction.FAIL
    assert type(error).__name__ in decision.reason


def test_delays_are_those_of_the_platform() -> None:
    """The delay is the rest of the park, or the retry-after of the error."""
    parked = _decide(errors.Throttled("slow", scope="account:act_1", until=datetime.now(UTC) + timedelta(minutes=5)))
    past = _decide(errors.Throttled("slow", scope="account:act_1", until=datetime.now(UTC) - timedelta(minutes=5)))
    assert timedelta(minutes=4) < parked.retry_delay <= timedelta(minutes=5)
    assert past.retry_delay == timedelta(seconds=1)
    assert _decide(errors.Refused("full", retry_after=90)).retry_delay == timedelta(seconds=90)
    assert _decide(errors.Transient("busy", retry_after=7)).retry_delay == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("healers", "expected"),
    [
        (None, ("retry", timedelta(seconds=60))),
        (
            '[{"action": "token_refresh", "errors": ["TokenDead"], "cooldown_seconds": 5}]',
            ("retry", timedelta(seconds=5)),
        ),
        ('[{"action": "cache_clear", "errors": ["Corrupt"]}]', ("fail", None)),
    ],
)
def test_a_dead_token_waits_for_its_healer(
    monkeypatch: pytest.MonkeyPatch, healers: str | None, expected: tuple[str, timedelta | None]
) -> None:
    """A dead token is tried again after the cool-down of its healer; without one the task fails at once."""
    if healers:
        monkeypatch.setenv("ADWARM_RECOVERY__HEALERS", healers)
    decision = _decide(errors.TokenDead())
    assert (decision.action.value, decision.retry_delay) == expected
    monkeypatch.setenv("ADWARM_RECOVERY__HEAL", "false")
    assert _decide(errors.TokenDead()).action.value == "fail"


@pytest.mark.parametrize("error", [errors.Transient("busy"), ValueError("other")])
def test_other_errors_follow_the_task_settings(error: Exception) -> None:
    """For errors without a delay, and errors outside the tree, the task's own settings apply."""
    from airflow.sdk import RetryAction

    assert _decide(error).action == RetryAction.DEFAULT
