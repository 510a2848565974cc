"""The trend: slope, and days until critical."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.trend import days_until, slope_per_day


@given(start=st.floats(0, 100), pace=st.floats(-20, 20), days=st.integers(2, 10))
def test_the_slope_of_a_line(start: float, pace: float, days: int) -> None:
    """Totals on a line give the line's slope."""
    assert slope_per_day([start + pace * day for day in range(days)]) == pytest.approx(pace, abs=1e-6)


def test_missing_days_are_left_out() -> None:
    """A day without a total is left out of the fit, not shifted; fewer than two points give no slope."""
    assert slope_per_day([10.0, None, None, 40.0]) == pytest.approx(10.0)
    assert slope_per_day([None, None, None, 40.0]) is None
    assert slope_per_day([]) is None


def test_days_until_the_limit() -> None:
    """Above the limit it is 0 days; a falling or flat score never reaches it."""
    assert days_until(40.0, 5.0, 60.0) == 4.0
    assert days_until(60.1, -5.0, 60.0) == 0.0
    assert days_until(40.0, 0.0, 60.0) is None
    assert days_until(40.0, -1.0, 60.0) is None
    assert days_until(40.0, None, 60.0) is None
