"""Clocks: aware UTC moments, waits that are real or none, and flooring."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.clock import AnchoredClock, SystemClock, VirtualClock, add_seconds, floor_to, utc

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def test_the_system_clock_is_aware() -> None:
    """It tells UTC and does not wait for a negative time."""
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    clock.sleep(-1)
    assert clock.now() >= clock.now() - timedelta(seconds=1)


def test_the_virtual_clock_moves_only_when_told_to() -> None:
    """Sleeping moves it at once, backwards only by `set`."""
    clock = VirtualClock(NOON)
    clock.sleep(90)
    clock.sleep(-5)
    assert clock.now() == NOON + timedelta(seconds=90)
    clock.set(NOON - timedelta(days=1))
    assert clock.now() == NOON - timedelta(days=1)


def test_the_anchored_clock_runs_on_from_its_anchor() -> None:
    """It adds what the machine's monotonic clock has counted since it was made."""
    ticks = iter([100.0, 100.0, 107.5])
    clock = AnchoredClock(NOON, monotonic=lambda: next(ticks))
    assert clock.now() == NOON
    assert clock.now() == NOON + timedelta(seconds=7.5)
    clock.sleep(-1)


@pytest.mark.parametrize("make", [VirtualClock, AnchoredClock])
def test_clocks_take_any_zone_and_tell_utc(make: type[VirtualClock] | type[AnchoredClock]) -> None:
    """An anchor in another zone, or without one, is told in UTC."""
    berlin = datetime(2026, 11, 25, 13, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert make(berlin).now() - NOON < timedelta(seconds=60)
    assert make(berlin).now().tzinfo is UTC
    assert make(NOON.replace(tzinfo=None)).now().tzinfo is UTC


@given(moment=MOMENTS, hours=st.integers(-14, 14))
def test_utc_keeps_the_moment(moment: datetime, hours: int) -> None:
    """Another zone's name for a moment is the same moment."""
    assert utc(moment.astimezone(timezone(timedelta(hours=hours)))) == moment
    assert utc(moment.replace(tzinfo=None)) == moment


@given(moment=MOMENTS, minutes=st.sampled_from([1, 5, 15, 60, 360, 1440]))
def test_flooring_goes_back_to_the_last_step(moment: datetime, minutes: int) -> None:
    """The result is a multiple of the step, not later, less than a step away, and floors to itself."""
    step = timedelta(minutes=minutes)
    found = floor_to(moment, step)
    assert timedelta(0) <= moment - found < step
    assert found.timestamp() % step.total_seconds() == 0
    assert floor_to(found, step) == found


@given(MOMENTS, st.floats())
def test_no_wait_is_beyond_what_a_date_can_say(moment: datetime, seconds: float) -> None:
    """Numbers from outside are taken as they are within a year, and end there; a time in the past is now."""
    found = add_seconds(moment, seconds)

    assert moment <= found <= moment + timedelta(days=366)
    if 0 <= seconds <= 86_400:
        assert found == moment + timedelta(seconds=seconds)
