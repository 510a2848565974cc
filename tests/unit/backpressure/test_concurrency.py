"""Tests of the adaptive concurrency limit."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.concurrency import ConcurrencyLimit, LatencyBaseline, LimitRules

RULES = LimitRules(maximum=20)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5), st.integers(0, 40)), max_size=60))
def test_the_limit_stays_in_bounds_and_is_cut_at_most_once_a_second(
    steps: list[tuple[bool, float, int]],
) -> None:
    """Whatever the outcomes, the limit is 1 to maximum, and simultaneous throttles are one cut."""
    limit, now, cuts = ConcurrencyLimit(10.0), 100.0, []
    for success, passed, in_flight in steps:
        now += passed
        before = limit
        limit = limit.after_success(RULES, in_flight) if success else limit.after_overload(RULES, now)
        assert 1 <= limit.slots(RULES) <= 20
        if limit.decreased_at != before.decreased_at:
            cuts.append(now)

    assert all(later - earlier >= 1 for earlier, later in pairwise(cuts))


def test_it_grows_by_one_in_a_limits_worth_of_successes() -> None:
    """Additive increase: about ten successes with ten in flight make eleven."""
    limit = ConcurrencyLimit(10.0)
    for _ in range(11):
        limit = limit.after_success(RULES, 10)

    assert limit.slots(RULES) == 11


def test_an_idle_limit_does_not_grow() -> None:
    """Successes at low use do not show that more would work."""
    assert ConcurrencyLimit(10.0) == ConcurrencyLimit(10.0).after_success(RULES, 2)


def test_a_smaller_setting_takes_effect_at_once() -> None:
    """A stored value above the maximum counts as the maximum."""
    assert ConcurrencyLimit(500.0).slots(RULES) == 20


def observe_calls(
    calls: int, seconds: float, running: LatencyBaseline, now: float, every: float = 1.0
) -> tuple[int, float]:
    """Return how many of the calls were slow, and the time after them; every second call takes a fifth less."""
    slow = 0
    for index in range(calls):
        now += every
        slow += running.observe(seconds * (1.0 if index % 2 else 0.8), now)
    return slow, now


def test_usual_calls_are_not_slow() -> None:
    """The usual variation of latency cuts nothing."""
    assert observe_calls(500, 2.0, LatencyBaseline(), 1e9)[0] == 0


def test_kinds_of_calls_that_differ_are_not_slow() -> None:
    """Polls of a tenth of a second beside fetches of two seconds."""
    running, now, slow = LatencyBaseline(), 1e9, 0
    for index in range(2000):
        now += 0.5
        slow += running.observe(2.0 if index % 5 == 0 else 0.1, now)

    assert slow <= 2


def test_a_slowly_growing_overload_is_detected() -> None:
    """Latency that doubles every few minutes is far above the best period, however slowly it grew."""
    running, now = LatencyBaseline(), 1e9
    _, now = observe_calls(300, 2.0, running, now)
    late = 0
    for minute in range(10):
        late, now = observe_calls(60, 2.0 * (1 + minute / 2), running, now)

    assert late >= 50


def test_a_platform_that_stays_slower_is_normal_after_half_an_hour() -> None:
    """Old periods are dropped, so the limit is not held down forever."""
    running, now = LatencyBaseline(), 1e9
    _, now = observe_calls(300, 2.0, running, now)
    _, now = observe_calls(2400, 8.0, running, now)

    assert observe_calls(60, 8.0, running, now)[0] == 0


def test_a_stored_baseline_is_unchanged() -> None:
    """A baseline that was stored and loaded is equal."""
    running = LatencyBaseline()
    observe_calls(50, 2.0, running, 1e9)

    assert msgspec.convert(msgspec.to_builtins(running), LatencyBaseline) == running
