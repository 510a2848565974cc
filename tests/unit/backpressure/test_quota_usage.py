"""Tests of usage figures as a budget."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.quota_usage import (
    CEILING_PERCENT,
    CRITICAL_CEILING_PERCENT,
    WINDOW_INTERVALS,
    Pace,
    UsageMeter,
    pace_for,
)

WINDOW = 3600.0


def steady(rate: float, seconds: float, limit: float = 400.0) -> tuple[UsageMeter, float]:
    """Return a meter after calls at a steady rate, with the figure of a platform with that limit at the end."""
    meter, now = UsageMeter(WINDOW), 1_000_000.0
    made = 0
    while made < rate * seconds:
        meter.record_calls(1, now)
        made += 1
        now += 1 / rate
    meter.record_usage(100 * min(made, rate * WINDOW) / limit, 0, now)
    return meter, now


def test_without_a_figure_nothing_is_limited() -> None:
    """Platforms that send no usage are normal: nothing is estimated, nothing limits."""
    meter = UsageMeter(WINDOW)
    meter.record_calls(5, 10.0)

    assert meter.estimate_percent(10.0) is None
    assert meter.calls_left(90, 10.0) == float("inf")


def test_own_calls_count_between_figures() -> None:
    """Between two figures each call counts with the average cost of a call."""
    meter, now = steady(0.1, 3000)
    assert meter.estimate_percent(now) == pytest.approx(75)
    meter.record_calls(8, now)
    assert meter.estimate_percent(now) == pytest.approx(77)
    assert meter.calls_left(90, now) == pytest.approx(52)


def test_calls_leave_the_window() -> None:
    """Calls of an hour ago no longer count, without a new figure."""
    meter, now = steady(0.1, 3600)
    assert meter.calls(now) == pytest.approx(360, rel=0.02)
    assert meter.calls(now + 1800) == pytest.approx(180, rel=0.02)
    assert meter.calls(now + 3700) == 0


def test_at_the_ceiling_calls_go_as_fast_as_they_leave_the_window() -> None:
    """At 90 % after a steady hour, one call goes for each that leaves the window."""
    meter, now = steady(0.1, 3600)

    assert meter.estimate_percent(now) == pytest.approx(90)
    assert meter.sustainable_rate(90, now) == pytest.approx(0.1, rel=0.2)


def test_after_a_burst_the_rest_is_spread_until_the_burst_leaves_the_window() -> None:
    """75 % were used in five minutes: the next 15 % last for the other 55."""
    meter, now = steady(1.0, 300)

    assert meter.sustainable_rate(90, now) == pytest.approx(60 / 3300, rel=0.03)


def test_half_of_the_calls_in_flight_are_assumed_in_the_figure() -> None:
    """A figure that came while other calls were in flight may not include them yet."""
    meter, now = steady(0.1, 3000)
    meter.record_usage(75.0, 8, now)

    assert meter.estimate_percent(now) == pytest.approx(76, rel=0.01)


def test_calls_that_were_made_at_once_leave_at_once() -> None:
    """What is left until the ceiling lasts for the window, after which all of it is there again."""
    meter = UsageMeter(WINDOW)
    meter.record_calls(100, 3_600.0)
    meter.record_usage(50.0, 0, 3_600.0)
    assert meter.quota == 200
    assert meter.sustainable_rate(CEILING_PERCENT, 3_600.0) == pytest.approx(80 / WINDOW, rel=1e-9)
    assert meter.sustainable_rate(CRITICAL_CEILING_PERCENT, 3_600.0) == pytest.approx(96 / WINDOW, rel=1e-9)


def test_an_old_figure_decays() -> None:
    """A scope that may not be called is tried again although no newer figure came."""
    meter = UsageMeter(WINDOW)
    meter.record_usage(95.0, 0, 1000.0)

    assert [meter.estimate_percent(1000.0 + age) for age in (59, 120, 180)] == [95, 80, 65]


def test_a_stored_meter_is_unchanged() -> None:
    """A meter that was stored and loaded gives the same estimates."""
    meter, now = steady(0.1, 3000)
    again = msgspec.json.decode(msgspec.json.encode(meter), type=UsageMeter)

    assert again == meter
    assert again.sustainable_rate(90, now + 7) == meter.sustainable_rate(90, now + 7)


@given(st.lists(st.tuples(st.floats(0, 300), st.integers(1, 5)), max_size=60))
def test_the_sustainable_rate_never_passes_the_ceiling(spent: list[tuple[float, int]]) -> None:
    """Whatever was used before, calls at this rate stay under the ceiling for a window, up to one interval's calls."""
    limit, now = 400.0, 1_000_000.0
    meter, made = UsageMeter(WINDOW), []
    for pause, calls in spent:
        now += pause
        recent = sum(count for at, count in made if at > now - WINDOW)
        if recent + calls <= limit * 0.9:
            meter.record_calls(calls, now)
            made.append((now, calls))
    used = sum(count for at, count in made if at > now - WINDOW)
    meter.record_usage(100 * used / limit, 0, now)
    rate = meter.sustainable_rate(90, now)

    slice_most = max((count for _, count in meter.intervals), default=0.0)
    for step in range(1, WINDOW_INTERVALS + 1):
        later = now + step * WINDOW / WINDOW_INTERVALS
        assert meter.calls(later) + rate * (later - now) <= limit * 0.9 + 1 + slice_most


def test_paces(subtests: pytest.Subtests) -> None:
    """Slow from 75 %, only critical calls from 90 %, parked from 100 %; no figure means free; each is stricter."""
    assert [pace.name for pace in sorted(Pace)] == ["FREE", "SLOW", "CRITICAL_ONLY", "PARK"]
    for percent, expected in (
        (None, Pace.FREE),
        (0, Pace.FREE),
        (74.9, Pace.FREE),
        (75, Pace.SLOW),
        (89.9, Pace.SLOW),
        (90, Pace.CRITICAL_ONLY),
        (99.9, Pace.CRITICAL_ONLY),
        (100, Pace.PARK),
        (118, Pace.PARK),
    ):
        with subtests.test(percent=percent, expected=expected):
            assert expected is pace_for(percent)
