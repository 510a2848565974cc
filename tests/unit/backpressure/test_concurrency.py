"""Tests of the adaptive concurrency limit."""

from itertools import pairwise

import msgspec
import pytest
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
        assert 1 <= limit.value <= 20
        if limit.decreased_at != before.decreased_at:
            cuts.append(now)

    assert all(later - earlier >= 1 for earlier, later in pairwise(cuts))


def test_it_grows_by_one_in_a_limits_worth_of_successes() -> None:
    """Additive increase: about ten successes with ten in flight make eleven."""
    limit = ConcurrencyLimit(10.0)
    for _ in range(11):
        limit = limit.after_success(RULES, 10)

    assert 11 <= limit.value < 12


def test_an_idle_limit_does_not_grow() -> None:
    """Successes at low use do not show that more would work."""
    assert ConcurrencyLimit(10.0) == ConcurrencyLimit(10.0).after_success(RULES, 2)


def test_it_grows_when_half_of_it_is_in_use() -> None:
    """By one by the limit, within its bounds."""
    assert ConcurrencyLimit(10.0) == ConcurrencyLimit(10.0, 0.0)
    assert ConcurrencyLimit(10.0, 5.0).after_success(RULES, 5) == ConcurrencyLimit(10.1, 5.0)
    assert ConcurrencyLimit(10.0).after_success(RULES, 4) == ConcurrencyLimit(10.0)
    assert ConcurrencyLimit(0.5).after_success(RULES, 1).value == 1.5
    assert ConcurrencyLimit(19.99).after_success(RULES, 15).value == 20


def test_it_is_cut_by_a_fifth_once_a_second() -> None:
    """A second later it is cut again, and also when the clock was set back; never below the minimum."""
    limit = ConcurrencyLimit(10.0, 100.0)
    assert limit.after_overload(RULES, 100.0) == limit.after_overload(RULES, 100.9) == limit
    assert limit.after_overload(RULES, 101.0) == ConcurrencyLimit(8.0, 101.0)
    assert limit.after_overload(RULES, 99.0) == ConcurrencyLimit(8.0, 99.0)
    assert ConcurrencyLimit(1.1).after_overload(RULES, 100.0).value == 1.0


def test_latencies_are_stored_as_a_list() -> None:
    """The row of a scope holds the values of the fields without their names."""
    assert isinstance(msgspec.to_builtins(LatencyBaseline()), list)


def learned(seconds: float = 2.0, at: float = 1_000.0) -> LatencyBaseline:
    """Return a baseline after its first twenty calls."""
    running = LatencyBaseline()
    assert not any(running.observe(seconds, at) for _ in range(20))
    return running


def test_the_first_twenty_calls_are_averaged() -> None:
    """With equal weights; the distance of the first one from the mean is none."""
    running = LatencyBaseline()
    assert running == LatencyBaseline(0.0, 0.0, 0.0, 0.0, 0)
    for seconds, mean, deviation in ((2.0, 2.0, 0.0), (4.0, 3.0, 1.0), (6.0, 4.0, 5 / 3)):
        assert not running.observe(seconds, 1_000.0)
        assert (running.mean, running.deviation) == (pytest.approx(mean), pytest.approx(deviation))
    assert [learned().observe(seconds, 1_001.0) for seconds in (100.0,)] == [True]
    nineteen = LatencyBaseline()
    assert not any(nineteen.observe(2.0, 1_000.0) for _ in range(19))
    assert not nineteen.observe(100.0, 1_000.0)


def test_a_call_is_slow_beyond_four_deviations() -> None:
    """Of the mean at least half: six seconds are not slow where two are usual, a little more is."""
    assert [learned().observe(seconds, 1_001.0) for seconds in (6.0, 6.01)] == [False, True]
    running = learned()
    running.deviation = 2.0
    assert [running.observe(seconds, 1_000.0) for seconds in (10.0, 10.1)] == [False, True]


def test_a_call_weighs_by_the_time_since_the_last() -> None:
    """A hundredth after three seconds, a twentieth at most, nothing when the clock was set back."""
    for passed, weight in ((3.0, 0.01), (15.0, 0.05), (60.0, 0.05), (-5.0, 0.0)):
        running = learned()
        running.observe(4.0, 1_000.0 + passed)
        assert running.mean == pytest.approx(2.0 + weight * 2.0)
        assert running.deviation == pytest.approx(weight * 2.0)
        assert running.last_call_at == 1_000.0 + passed


def test_the_best_of_two_periods_is_the_measure() -> None:
    """A quarter of an hour after its start a period becomes the previous one; the one before it is forgotten."""
    running = learned()
    running.observe(2.0, 1_899.0)
    assert (running.period_best, running.previous_best, running.period_start) == ([2.0, 0.0], None, 1_000.0)
    running.mean = 5.0
    assert running.observe(7.0, 1_900.0)
    assert (running.period_best, running.previous_best, running.period_start) == ([5.0, 0.0], [2.0, 0.0], 1_900.0)
    running.mean = 4.0
    assert not running.observe(12.0, 2_800.0)
    assert (running.period_best, running.previous_best) == ([4.0, pytest.approx(2 / 300)], [5.0, 0.0])


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
