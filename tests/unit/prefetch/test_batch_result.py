"""An error keeps its class from the source to the decision about a batch; the most severe one represents many."""

import gc
import weakref
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Blocked,
    Corrupt,
    Denied,
    NotAdmitted,
    NotFound,
    Refused,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
    clear_tracebacks,
)
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import BatchResult, KeyOutcome, KeyRequest, KeyStatus
from adwarm.prefetch.batch_result import most_severe_error, with_message
from adwarm.sources.protocol import FetchUnit, ResultPage
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness

SOON = Throttled("slow", scope="account:act_1", until=NOW + timedelta(minutes=5), retry_after=300)
LATER = Throttled("slower", scope="account:act_2", until=NOW + timedelta(hours=5))
ORDER: list[AdwarmError] = [
    TokenDead(),
    SOON,
    LATER,
    Refused("full", retry_after=9),
    Transient("down"),
    Transient("busy", retry_after=60),
    AdwarmError("odd"),
    Denied("no", account_id="act_1"),
    BadRequest("no such field"),
]
PERMANENT = [BadRequest("no"), NotFound("no"), Corrupt(), TooMuchData(), Denied("no", account_id="act_1")]


@given(st.permutations(range(len(ORDER))), st.integers(1, len(ORDER)))
def test_the_order_of_severity_is_fixed(indexes: list[int], count: int) -> None:
    """In any mix and order: dead token, requested waits, transient failures, permanent errors last."""
    assert most_severe_error(ORDER[index] for index in indexes[:count]) is ORDER[min(indexes[:count])]


def test_a_permanent_error_does_not_hide_a_transient_one() -> None:
    """One bad key among transient failures leaves the batch its next attempt."""
    for error in PERMANENT:
        for pair in permutations((error, Transient("down"))):
            assert isinstance(most_severe_error(pair), Transient)
    assert most_severe_error([]) is None


def test_another_message_changes_nothing_else(subtests: pytest.Subtests) -> None:
    """The class and all attributes stay; the original error is the cause."""
    for error in (*ORDER, *PERMANENT, SOON):
        with subtests.test(error=error):
            copy = with_message(error, "every key failed")
            assert (type(copy), str(copy), copy.__cause__) == (type(error), "every key failed", error)
            assert vars(copy) == vars(error)


def _ended(status: KeyStatus, error: AdwarmError | None) -> KeyOutcome:
    return KeyOutcome(KeyRequest(ReportKey("act_1", "today")), status, reason=str(error), error=error)


def test_a_batch_fails_when_no_key_is_fresh() -> None:
    """Stale, parked and denied keys are not fresh; one fetched or fresh key is enough; an empty batch is fine."""
    bad = [
        _ended(KeyStatus.STALE, Transient("down")),
        _ended(KeyStatus.PARKED, SOON),
        _ended(KeyStatus.FAILED, None),
    ]
    failure = BatchResult(bad).failure()

    assert isinstance(failure, Throttled)
    assert (failure.until, str(failure).count("act_1 today: ")) == (SOON.until, 3)
    assert type(BatchResult(bad[2:]).failure()) is AdwarmError
    for good in (KeyStatus.FETCHED, KeyStatus.FRESH):
        assert BatchResult([*bad, _ended(good, None)]).failure() is None
    assert BatchResult().failure() is None


def test_older_data_is_no_substitute_for_a_correction(subtests: pytest.Subtests) -> None:
    """Data of a fallback counts for errors that pass by themselves; one key with another error fails the batch."""
    for error, fails in (
        (Transient("down"), False),
        (SOON, False),
        (Blocked("ended by a human", scope="app:1", until=SOON.until), True),
        (TokenDead("renew it"), True),
        (BadRequest("no such day"), True),
        (Denied("no access", account_id="act_1"), True),
    ):
        with subtests.test(error=error, fails=fails):
            older = replace(_ended(KeyStatus.STALE, error), source="entry")
            down = replace(_ended(KeyStatus.STALE, Transient("down")), source="entry")
            assert (BatchResult([older]).failure() is not None) == fails
            assert (BatchResult([down, older]).failure() is not None) == fails


def test_a_failure_tells_each_reason_once_and_its_own_first() -> None:
    """A dead token represents the batch, so its reason comes before those of denied accounts."""
    denied = [_ended(KeyStatus.DENIED, Denied("no access", account_id="act_1")) for _ in range(4)]
    failure = BatchResult([*denied, _ended(KeyStatus.FAILED, TokenDead("renew it"))]).failure()

    assert isinstance(failure, TokenDead)
    assert str(failure).endswith(
        "the first reasons: act_1 today: renew it | act_1 today, act_1 today and 2 more: no access"
    )


def test_a_stored_error_holds_no_frame() -> None:
    """The objects in the frames of an error and its causes can be freed."""

    class Answer:
        """Stands for a large response."""

    def fail() -> AdwarmError:
        answer = Answer()
        references.append(weakref.ref(answer))
        try:
            try:
                raise ValueError("odd")
            except ValueError as first:
                raise Transient("down") from first
        except Transient as error:
            return error

    references: list[Any] = []
    gc.freeze()  # what other tests have left takes a second to look through
    error = clear_tracebacks(fail())
    gc.collect(1)
    assert (str(error), references[0]()) == ("down", None)


@SQLITE_ONLY
def test_every_outcome_of_the_engine_carries_its_error(harness: PrefetchHarness) -> None:
    """Each failure keeps its own class and attributes, also the second time."""
    raised: dict[str, AdwarmError] = {
        "act_1": Denied("no access", account_id="act_1"),
        "act_2": LATER,
        "act_3": BadRequest("no such field"),
        "act_4": Transient("down"),
    }

    def failing(unit: FetchUnit) -> ResultPage:
        raise raised[unit.account_id]

    harness.source.script = dict.fromkeys(raised, failing)
    requests = [KeyRequest(ReportKey(name, "yesterday")) for name in [*raised, "act_5"]]
    for waits in (Throttled, NotAdmitted):  # the second time admission itself keeps the throttled account waiting
        result = harness.prefetch.run(requests, Priority.LOW, wait_seconds=0).outcomes
        assert [type(outcome.error) for outcome in result] == [Denied, waits, BadRequest, Transient, type(None)]
        assert all(outcome.error.__traceback__ is None for outcome in result if outcome.error)
    harness.source.script = {"act_5": lambda unit: _raise(TokenDead())}
    harness.clock.sleep(86_400)
    (last,) = harness.prefetch.run(requests[-1:], Priority.LOW).outcomes
    assert (last.status, type(last.error)) == (KeyStatus.STALE, TokenDead)


def _raise(error: Exception) -> ResultPage:
    raise error
