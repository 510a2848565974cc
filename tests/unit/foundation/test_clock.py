"""Clocks: aware UTC times, real or no waits, and flooring."""

import math
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.clock import (
    SystemClock,
    TimeLimit,
    TimeLimitReached,
    VirtualClock,
    add_seconds,
    check_limits,
    floor_to,
    limited,
    seconds_left,
    start_limits,
    utc,
)

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def test_the_system_clock_is_aware() -> None:
    """It returns UTC and does not wait for a negative time."""
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    clock.sleep(-1)
    assert clock.now() >= clock.now() - timedelta(seconds=1)


def test_the_virtual_clock_moves_only_by_sleep_and_set() -> None:
    """`sleep` moves it without waiting; only `set` moves it backward."""
    clock = VirtualClock(NOON)
    clock.sleep(90)
    clock.sleep(-5)
    assert clock.now() == NOON + timedelta(seconds=90)
    clock.set(NOON - timedelta(days=1))
    assert clock.now() == NOON - timedelta(days=1)


def test_a_clock_accepts_any_zone_and_returns_utc() -> None:
    """A start in another zone, or without one, is returned in UTC."""
    berlin = datetime(2026, 11, 25, 13, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert VirtualClock(berlin).now() == NOON
    assert VirtualClock(berlin).now().tzinfo is UTC
    assert VirtualClock(NOON.replace(tzinfo=None)).now().tzinfo is UTC


@given(moment=MOMENTS, hours=st.integers(-14, 14))
def test_utc_keeps_the_point_in_time(moment: datetime, hours: int) -> None:
    """Conversion from another zone does not change the point in time."""
    assert utc(moment.astimezone(timezone(timedelta(hours=hours)))) == moment
    assert utc(moment.replace(tzinfo=None)) == moment


@given(moment=MOMENTS, minutes=st.sampled_from([1, 5, 15, 60, 360, 1440]))
def test_flooring_returns_the_last_step(moment: datetime, minutes: int) -> None:
    """The result is a multiple of the step, at most one step earlier, and floors to itself."""
    step = timedelta(minutes=minutes)
    found = floor_to(moment, step)
    assert timedelta(0) <= moment - found < step
    assert found.timestamp() % step.total_seconds() == 0
    assert floor_to(found, step) == found


@given(MOMENTS, st.floats())
def test_external_waits_are_limited(moment: datetime, seconds: float) -> None:
    """External numbers are used up to a year and limited to it; negative ones are 0."""
    found = add_seconds(moment, seconds)

    assert moment <= found <= moment + timedelta(days=366)
    if 0 <= seconds <= 86_400:
        assert found == moment + timedelta(seconds=seconds)


@dataclass
class Seconds:
    """A monotonic clock that a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


def test_the_nearest_end_counts() -> None:
    """Within two limits the one that ends first holds; outside of both there is no limit."""
    clock = Seconds()
    with limited(TimeLimit(10, "the account", "A", monotonic=clock)):
        with limited(TimeLimit(3, "the call", "B", monotonic=clock)):
            assert seconds_left() == 3
            clock.now = 4
            with pytest.raises(TimeLimitReached, match=r"the call took longer than 3 s \(B\)"):
                check_limits()
        assert seconds_left() == 6
        check_limits()
    assert seconds_left() == math.inf


def test_the_time_of_a_call_begins_with_its_first_attempt() -> None:
    """Waiting for admission does not count; a second attempt does not begin anew."""
    clock = Seconds()
    with limited(TimeLimit(5, "the call", "B", waits_for_call=True, monotonic=clock)):
        clock.now = 100
        assert seconds_left() == math.inf
        start_limits()
        clock.now = 103
        start_limits()
        assert seconds_left() == 2


def test_threads_in_a_copy_of_the_context_share_the_limit() -> None:
    """A thread has the limits of the context that it runs in, and its own stay its own."""
    clock = Seconds()

    def inside() -> float:
        with limited(TimeLimit(1, "the call", "B", monotonic=clock)):
            return seconds_left()

    with limited(TimeLimit(10, "the account", "A", monotonic=clock)), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, inside).result() == 1
        assert pool.submit(copy_context().run, seconds_left).result() == 10
        assert pool.submit(seconds_left).result() == math.inf
