"""Tests of retries."""

import builtins
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation import errors
from adwarm.foundation.clock import TimeLimit, limited
from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Corrupt,
    NotAdmitted,
    Refused,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.recovery.retry import ErrorFilter, Retrier, RetryBudget, backoff_seconds, is_retryable, matches_errors
from adwarm.settings import RecoverySettings
from adwarm.settings.recovery_sections import DEFAULT_HEALERS, ERROR_NAMES
from tests.unit.conftest import NOW

SETTINGS = RecoverySettings()
LATER = datetime(2026, 11, 25, 13, tzinfo=UTC)


class Flaky:
    """Fails with the given errors, then returns rows."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "rows"


def run(
    operation: Flaky, settings: RecoverySettings = SETTINGS, ratio: float = 1.0
) -> tuple[object, list[float], list[Exception]]:
    """Run it and return the result or the error, the waits and the reported failures."""
    waits: list[float] = []
    failures: list[Exception] = []
    retrier = Retrier(settings, RetryBudget(ratio), Random(3), waits.append)
    try:
        return retrier.run(operation, failures.append), waits, failures
    except Exception as error:
        return error, waits, failures


JITTERS: tuple[Literal["full", "proportional", "none"], ...] = ("full", "proportional", "none")


@given(
    st.sampled_from(JITTERS),
    st.integers(1, 10),
    st.floats(0, 100),
    st.floats(0, 200),
    st.floats(0.1, 60),
    st.integers(),
)
def test_the_delay_never_exceeds_the_cap(
    jitter: Literal["full", "proportional", "none"], attempt: int, initial: float, asked: float, cap: float, seed: int
) -> None:
    """The cap is applied last, after the jitter and the requested wait."""
    settings = RecoverySettings(initial_delay_seconds=initial, max_delay_seconds=cap, jitter=jitter)

    assert 0 <= backoff_seconds(settings, attempt, Transient(retry_after=asked), Random(seed)) <= cap


def test_the_jitter_is_full() -> None:
    """Delays spread over the whole range, so workers do not return together."""
    rng = Random(5)
    delays = [backoff_seconds(SETTINGS, 4, Transient(), rng) for _ in range(400)]

    assert min(delays) < 0.5
    assert max(delays) > 7.5


def test_proportional_jitter_stays_within_a_quarter() -> None:
    """Delays spread over 25 % below and above the full one."""
    settings = RecoverySettings(jitter="proportional")
    rng = Random(5)
    delays = [backoff_seconds(settings, 3, Transient(), rng) for _ in range(400)]

    assert 3.0 <= min(delays) < 3.1
    assert 4.9 < max(delays) <= 5.0


def test_without_jitter_delays_grow_exactly() -> None:
    """Each is twice the one before, up to the cap."""
    settings = RecoverySettings(jitter="none")

    assert [backoff_seconds(settings, n, Transient(), Random(1)) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_the_requested_wait_is_a_lower_bound() -> None:
    """The jitter is added to `retry_after`."""
    assert backoff_seconds(SETTINGS, 1, Transient(retry_after=12), Random(1)) >= 12


def test_a_transient_error_is_tried_again() -> None:
    """Two failures, two waits, one result; both failures are reported."""
    answer, waits, failures = run(Flaky(Transient("down"), Transient("down")))

    assert answer == "rows"
    assert (len(waits), len(failures)) == (2, 2)


def test_the_last_error_is_raised_unchanged() -> None:
    """No wrapper hides it, and there is no wait after the last attempt."""
    last = Transient("third")
    answer, waits, failures = run(Flaky(Transient("first"), Transient("second"), last))

    assert answer is last
    assert (len(waits), len(failures)) == (2, 3)


def test_permanent_errors_are_not_retried(subtests: pytest.Subtests) -> None:
    """Throttles, long waits and deterministic failures are raised at once."""
    for error in (
        Throttled(scope="account:act_1", until=LATER),
        Transient("come back in an hour", retry_after=3600),
        TooMuchData(),
        BadRequest("no such field"),
        ValueError("a bug"),
    ):
        with subtests.test(error=error):
            answer, waits, failures = run(Flaky(error))

            assert answer is error
            assert (waits, failures) == ([], [error])


def test_a_lost_connection_is_retryable(subtests: pytest.Subtests) -> None:
    """Operations of other libraries need not raise adwarm's errors."""
    for error in (ConnectionResetError(), TimeoutError()):
        with subtests.test(error=error):
            assert is_retryable(SETTINGS, "meta", error)


def test_each_source_has_its_retryable_classes(subtests: pytest.Subtests) -> None:
    """Those of the source replace those of `*`; a quota and a call that was not admitted are never retried."""
    for source, error, is_retried in (
        ("warehouse", OSError("disk"), True),
        ("warehouse", ConnectionResetError(), True),
        ("warehouse", Transient(), False),
        ("everything", KeyError("a bug"), True),
        ("everything", Throttled(scope="account:act_1", until=LATER), False),
        ("everything", Refused(retry_after=1), False),
        ("everything", Transient(retry_after=31), False),
        ("platform", Corrupt(), True),
        ("platform", TokenDead(), False),
        ("meta", Transient(), True),
        ("meta", OSError("disk"), False),
        ("meta", Corrupt(), False),
    ):
        with subtests.test(source=source, error=error, is_retried=is_retried):
            classes = {"warehouse": ("OSError",), "everything": ("any",), "platform": ("Transient", "Corrupt")}
            settings = RecoverySettings(retryable=classes)

            assert is_retryable(settings, source, error) == is_retried


def test_every_name_that_settings_accept_is_a_class() -> None:
    """No valid setting names an error that never occurs."""
    for name in ERROR_NAMES - {"any"}:
        kind = vars(errors).get(name) or getattr(builtins, name)
        assert issubclass(kind, Exception)
        assert matches_errors((name,), kind.__new__(kind))


def test_one_attempt_means_no_retry() -> None:
    """`max_attempts` of 1 switches retries off."""
    answer, waits, _ = run(Flaky(Transient("down")), RecoverySettings(max_attempts=1))

    assert isinstance(answer, Transient)
    assert waits == []


def test_the_budget_ends_retries_of_an_outage() -> None:
    """When everything fails, retries stop although attempts are left."""
    waits: list[float] = []
    retrier = Retrier(SETTINGS, RetryBudget(0.1), Random(3), waits.append)
    for _ in range(100):
        operation = Flaky(*[Transient("down")] * 5)
        with pytest.raises(Transient):
            retrier.run(operation, lambda error: None)

    assert len(waits) <= 20


def test_interrupts_are_not_failures() -> None:
    """Ctrl-C and Airflow's own signals are passed through, also from a retry, whatever the settings let retry."""
    settings = RecoverySettings(retryable={"*": ("any",)})
    for first in ([], [Transient("down")]):
        failures: list[Exception] = []
        retrier, left = Retrier(settings, RetryBudget(1.0), Random(3), lambda seconds: None), iter(first)

        def interrupted(left: Iterator[Exception] = left) -> str:
            raise next(left, KeyboardInterrupt)

        with pytest.raises(KeyboardInterrupt):
            retrier.run(interrupted, failures.append)
        assert failures == first


def test_a_refused_retry_keeps_the_first_error() -> None:
    """A refusal between two attempts is the cause; a first refusal is raised as it is."""
    down, refused = Transient("the platform is down"), Refused("given up for now", retry_after=60)

    found, waits, failures = run(Flaky(down, refused))
    assert (found, len(waits), failures) == (down, 1, [down, refused])
    assert down.__cause__ is refused
    assert run(Flaky(refused))[0] is refused


@given(st.lists(st.booleans(), max_size=400))
def test_retries_stay_within_a_tenth_of_first_attempts_and_the_reserve(steps: list[bool]) -> None:
    """However attempts and retries interleave, at most ten more than a tenth are allowed."""
    budget, tries, retries = RetryBudget(0.1), 0, 0
    for first in steps:
        if first:
            budget.record_first_attempt()
            tries += 1
        else:
            retries += budget.try_acquire()

    assert retries <= 10 + tries / 10 + 1e-6


def test_a_ratio_of_zero_never_retries() -> None:
    """The setting can switch retries off."""
    budget = RetryBudget(0.0)
    budget.record_first_attempt()

    assert not budget.try_acquire()


def test_ten_first_attempts_earn_exactly_one_retry() -> None:
    """Tenths add up in spite of floating point."""
    budget = RetryBudget(0.1)
    while budget.try_acquire():
        pass
    for _ in range(10):
        budget.record_first_attempt()

    assert budget.try_acquire()
    assert not budget.try_acquire()


def test_a_call_is_not_repeated_beyond_its_time() -> None:
    """A retry that would come after the end of a time limit is left out, and costs none of the budget."""
    settings = RecoverySettings(initial_delay_seconds=4, jitter="none")
    for seconds, waits in ((3.0, []), (7.0, [4.0]), (0.0, [])):
        operation, limit = Flaky(*[Transient(code="timeout")] * 9), TimeLimit(seconds, "the call", "SETTING")
        with limited(limit):
            error, slept, failures = run(operation, settings)
        assert isinstance(error, Transient)
        assert (slept, len(failures)) == (waits, len(waits) + 1)


ONLY_AFTER_A_FAILURE = """
import random, sys
import adwarm.prefetch.warm_batch, adwarm.runtime
from adwarm.foundation.errors import Transient
from adwarm.recovery.retry import Retrier, RetryBudget
from adwarm.settings import RecoverySettings
retrier = Retrier(RecoverySettings(), RetryBudget(1.0), random.Random(3), lambda seconds: None)
errors = [Transient("down")]
def fail_once():
    if errors:
        raise errors.pop()
    return "rows"
print(retrier.run(str, print), "tenacity" in sys.modules)
print(retrier.run(fail_once, print), "tenacity" in sys.modules)
"""


@pytest.mark.slow
def test_without_a_failure_no_library_of_retries_is_loaded() -> None:
    """A process that warms imports tenacity at its first failure, since that takes a tenth of a second."""
    done = subprocess.run([sys.executable, "-c", ONLY_AFTER_A_FAILURE], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [" False", "down", "rows True"]


SESSION = next(item for item in DEFAULT_HEALERS if item.action == "session_restart")


def test_class_and_pattern(subtests: pytest.Subtests) -> None:
    """An error matches by its class or a base class, when code or message contains the pattern; refusals never do."""
    for names, pattern, error, expected in (
        (("any",), None, ValueError("x"), True),
        (("Transient",), None, Transient("busy"), True),
        (("Transient",), None, Throttled("slow", scope="app:1", until=NOW), True),
        (("Transient",), None, TokenDead(), False),
        (("ConnectionError",), None, ConnectionResetError("reset by peer"), True),
        (("Permanent", "TimeoutError"), None, TimeoutError(), True),
        (("Transient",), "^connection$", Transient("x", code="connection"), True),
        (("Transient",), "^connection$", Transient("the connection failed"), False),
        (("any",), "(?i)BROKEN", AdwarmError("a broken pipe"), True),
        (("any",), None, NotAdmitted("parked", scope="app:1", until=NOW), False),
    ):
        with subtests.test(names=names, pattern=pattern, error=error, expected=expected):
            assert ErrorFilter(names, pattern).matches(error) is expected


def test_the_default_for_sessions_knows_a_lost_connection() -> None:
    """Lost connections match the default healer of sessions, a busy platform does not."""
    errors = ErrorFilter.of(SESSION)
    assert errors.matches(Transient("the connection to Meta failed (ConnectionError)", code="connection"))
    assert errors.matches(BrokenPipeError(32, "Broken pipe"))
    assert not errors.matches(Transient("(#2) Service temporarily unavailable", code="2"))
