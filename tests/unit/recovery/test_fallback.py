"""Fallbacks: their conditions, ages and timeouts, and what is left of calls that took too long."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.clock import FrozenClock
from adwarm.foundation.errors import (
    AdwarmError,
    Corrupt,
    Denied,
    NotFound,
    Refused,
    Throttled,
    TokenDead,
    Transient,
)
from adwarm.recovery import fallback
from adwarm.recovery.fallback import (
    MAX_ABANDONED,
    Fallback,
    FallbackChain,
    FallbackRun,
    call_with_timeout,
    is_abandoned,
)
from adwarm.recovery.isolation import IsolationTracker
from adwarm.recovery.retry import matches_errors

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ERRORS: tuple[Exception, ...] = (
    Transient("t"),
    Throttled("slow", scope="fleet", until=NOW),
    TokenDead("dead"),
    Denied("no", account_id="act_1"),
    Corrupt("bits"),
    NotFound("none"),
    TimeoutError("late"),
    ConnectionError("gone"),
    ValueError("odd"),
)
NAMES = ("any", "AdwarmError", "Transient", "Throttled", "TokenDead", "Corrupt", "TimeoutError", "OSError", "NotFound")


@dataclass
class Isolation:
    """Isolates the fallbacks that a test names, and remembers what was counted."""

    isolated: dict[str, float] = field(default_factory=dict)
    counted: list[tuple[str, bool]] = field(default_factory=list)

    def remaining_seconds(self, scope: str) -> float:
        return self.isolated.get(scope.removeprefix("fallback:"), 0.0)

    def record(self, scope: str, *, failed: bool) -> None:
        self.counted.append((scope.removeprefix("fallback:"), failed))

    def record_failure(self, scope: str, error: Exception) -> None:
        self.record(scope, failed=True)


def run(
    fallbacks: list[Fallback[str]], error: Exception | None = None, isolation: Isolation | None = None
) -> FallbackRun[str]:
    """Run fallbacks at `NOW`."""
    return FallbackChain(cast("IsolationTracker", isolation or Isolation()), FrozenClock(NOW)).run(fallbacks, error)


def answering(name: str, **options: object) -> Fallback[str]:
    """A fallback whose result is its name."""
    return Fallback(name, lambda: name, 5.0, **options)  # type: ignore[arg-type]


def failing(name: str, error: Exception, **options: object) -> Fallback[str]:
    """A fallback that raises."""

    def fail() -> str:
        raise error

    return Fallback(name, fail, 5.0, **options)  # type: ignore[arg-type]


@pytest.fixture
def hanging() -> Iterator[Callable[[], str]]:
    """A call that ends when the test does."""
    release = threading.Event()

    def hang() -> str:
        release.wait(60)
        return "late"

    yield hang
    release.set()


def test_a_call_in_time_returns_or_raises() -> None:
    """Within its time the call's own result or error reaches the caller."""
    assert call_with_timeout(lambda: "rows", 5.0) == "rows"
    with pytest.raises(TokenDead):
        call_with_timeout(failing("x", TokenDead("dead")).call, 5.0)
    assert isinstance(call_with_timeout(ValueError, 5.0), ValueError)


def test_the_context_variables_of_the_caller_are_seen() -> None:
    """A fallback sees the context variables of its caller."""
    word = contextvars.ContextVar("word", default="cold")
    word.set("warm")
    assert call_with_timeout(word.get, 5.0) == "warm"


def test_an_abandoned_call_can_see_that_it_is() -> None:
    """A call that checks `is_abandoned` ends by itself; a call in time, and code outside, is never abandoned."""
    left, seen = threading.Event(), threading.Event()

    def work() -> None:
        left.wait(60)
        if is_abandoned():
            seen.set()

    with pytest.raises(TimeoutError, match="no answer within"):
        call_with_timeout(work, 0.01, "seen")
    left.set()
    assert seen.wait(60)
    assert call_with_timeout(is_abandoned, 5.0, "seen") is False
    assert is_abandoned() is False


def test_abandoned_calls_are_bounded_and_come_back() -> None:
    """Beyond the bound a name fails without a call; another name does not, and an ended call makes room."""
    release, ended = threading.Event(), [threading.Event() for _ in range(MAX_ABANDONED)]
    calls: list[int] = []

    def hang() -> None:
        number = len(calls)
        calls.append(number)
        release.wait(60)

    for _ in ended:
        with pytest.raises(TimeoutError, match="no answer"):
            call_with_timeout(hang, 0.01, "bounded")
    with pytest.raises(TimeoutError, match="still run"):
        call_with_timeout(hang, 0.01, "bounded")
    assert len(calls) == MAX_ABANDONED
    assert call_with_timeout(lambda: "rows", 5.0, "other") == "rows"
    threads = [item for item in threading.enumerate() if item.name == "adwarm-bounded"]
    release.set()
    for thread in threads:
        thread.join(60)
    assert call_with_timeout(lambda: "rows", 5.0, "bounded") == "rows"


def test_timeouts_of_a_cold_process_do_not_count_for_isolation(
    hanging: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a minute after the first call timeouts are left out and other failures count; then timeouts count too."""
    now = [1_000.0]
    monkeypatch.setattr(fallback, "_CALLS", fallback._RunningCalls(lambda: now[0]))
    isolation = Isolation()
    slow = Fallback("slow", hanging, 0.01)
    run([slow, failing("down", Transient("down"))], isolation=isolation)
    assert [name for name, _ in isolation.counted] == ["down"]
    now[0] += fallback.WARM_UP_SECONDS - 1
    run([slow], isolation=isolation)
    assert [name for name, _ in isolation.counted] == ["down"]
    now[0] += 1
    run([slow], isolation=isolation)
    assert [name for name, _ in isolation.counted] == ["down", "slow"]


def test_a_timeout_falls_to_the_next(hanging: Callable[[], str]) -> None:
    """A slow fallback has failed with `TimeoutError`, which is the error that the next one's condition sees."""
    isolation = Isolation()
    found = run(
        [
            Fallback("slow here only", hanging, 0.01),  # the first minute of a name counts in the whole process
            answering("a", errors=("Transient",)),
            answering("b", errors=("TimeoutError",)),
        ],
        isolation=isolation,
    )
    assert found.used is not None
    assert (found.used.name, found.value, found.attempts) == ("b", "b", 2)
    assert isolation.counted == [("b", False)], "the first minute of the slow one in this process"
    assert found.notes == ("fallback slow here only failed: TimeoutError: no answer within 0.01 s",)


def test_old_results_are_not_used(subtests: pytest.Subtests) -> None:
    """A result older than the limit is left out, and the note says how old it is; at the limit it is used."""
    for age_seconds in (59, 60, 61):
        with subtests.test(age_seconds=age_seconds):
            at = NOW - timedelta(seconds=age_seconds)
            isolation = Isolation()
            old = answering("old", as_of=lambda _, at=at: at, max_age_seconds=60)
            found = run([old, answering("new")], isolation=isolation)
            assert found.value == ("new" if age_seconds > 60 else "old")
            assert isolation.counted[0] == ("old", False)
            if age_seconds > 60:
                assert found.notes == ("fallback old is not used: its data is 61 s old, and 60 s is the limit",)


def test_a_result_of_unknown_age_is_used() -> None:
    """Where the age is not known, the limit does not apply."""
    assert run([answering("a", as_of=lambda _: None, max_age_seconds=1)]).value == "a"


def test_isolated_fallbacks_are_skipped_unless_they_are_exempt() -> None:
    """An isolated one is not called and the note says for how long; an exempt one is neither asked nor counted."""
    isolation = Isolation({"a": 90.0, "b": 90.0})
    found = run([answering("a"), answering("b", may_be_isolated=False)], isolation=isolation)
    assert (found.value, found.notes) == ("b", ("skipped fallback a: isolated for another 90 s",))
    assert isolation.counted == []


def test_what_counts_against_a_fallback(subtests: pytest.Subtests) -> None:
    """Permanent answers and calls that were not admitted say nothing about its health."""
    for error, is_failed in (
        (Transient("x"), True),
        (OSError("x"), True),
        (NotFound("x"), False),
        (Corrupt("x"), False),
        (Refused("x", retry_after=1), False),
    ):
        with subtests.test(error=error, is_failed=is_failed):
            isolation = Isolation()
            run([failing("a", error)], isolation=isolation)
            assert isolation.counted == [("a", is_failed)]


def test_no_result_is_no_error() -> None:
    """`NotFound` leaves the error before it as the last one, so that a condition on that still holds."""
    found = run([failing("a", NotFound("nothing")), answering("b", errors=("Throttled",))], ERRORS[1])
    assert (found.value, found.errors) == ("b", (ERRORS[1],))
    assert run([failing("a", NotFound("nothing")), answering("b", errors=("AdwarmError",))]).used is None


def test_notes_hide_secrets() -> None:
    """The note of a failure is redacted."""
    found = run([failing("a", Transient("https://x.example/?access_token=EAAB1234567890abcdef"))])
    assert "EAAB1234567890" not in "".join(found.notes)


@given(names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True), error=st.sampled_from((None, *ERRORS)))
def test_conditions_are_those_of_isinstance(names: list[str], error: Exception | None) -> None:
    """A name stands for its class and those below it; `any` for everything, also for no error."""
    kinds: list[type[BaseException]] = [AdwarmError, OSError, *(type(item) for item in ERRORS)]
    classes = {kind.__name__: kind for kind in kinds}
    expected = "any" in names or (
        error is not None and any(isinstance(error, classes[name]) for name in names if name != "any")
    )
    assert matches_errors(names, error) is expected
    assert answering("x", errors=tuple(names)).applies_to(error) is expected


@given(
    kinds=st.lists(
        st.tuples(st.sampled_from(("answer", "fail", "none")), st.sampled_from(NAMES), st.sampled_from(ERRORS)),
        max_size=6,
    ),
    first=st.sampled_from((None, *ERRORS)),
)
def test_the_first_that_applies_and_answers_is_used(
    kinds: list[tuple[str, str, Exception]], first: Exception | None
) -> None:
    """The order is that of the list, each condition sees the last error before it, and nothing runs after an answer."""
    called: list[int] = []

    def make(number: int, kind: str, name: str, error: Exception) -> Fallback[str]:
        def call() -> str:
            called.append(number)
            if kind == "fail":
                raise error
            if kind == "none":
                raise NotFound
            return str(number)

        return Fallback(str(number), call, 5.0, errors=(name,))

    found = run([make(number, *item) for number, item in enumerate(kinds)], first)
    expected, last, answer = [], first, None
    for number, (kind, name, error) in enumerate(kinds):
        if not matches_errors((name,), last):
            continue
        expected.append(number)
        if kind == "answer":
            answer = str(number)
            break
        if kind == "fail" and not isinstance(error, NotFound):
            last = error
    assert (called, found.value, found.error, found.attempts) == (expected, answer, last, len(expected))
