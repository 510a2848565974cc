"""The trend: slope, its uncertainty, and days until critical."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.usual import measure_slopes, project


def _last_slope(values: list[float], kinds: list[float] | None = None) -> float:
    array = np.array([values], float)
    slope, _ = measure_slopes(array, np.array([kinds or [0.0] * len(values)], float))
    return float(slope[0, -1])


@given(start=st.floats(0, 100), pace=st.floats(-20, 20), days=st.integers(3, 10))
def test_the_slope_of_a_line(start: float, pace: float, days: int) -> None:
    """Values on a line give the line's slope, without an error."""
    values = np.array([[start + pace * day for day in range(days)]])
    slope, error = measure_slopes(values, np.zeros_like(values))
    assert slope[0, -1] == pytest.approx(pace, abs=1e-6)
    assert error[0, -1] == pytest.approx(0, abs=1e-4)


def test_missing_days_and_other_kinds_are_left_out() -> None:
    """A day without a value, or of another kind than the last one, is left out; two values give no slope."""
    assert _last_slope([10.0, np.nan, 30.0, 40.0]) == pytest.approx(10.0)
    assert _last_slope([999.0, 20.0, 30.0, 40.0], [1, 0, 0, 0]) == pytest.approx(10.0)
    assert np.isnan(_last_slope([np.nan, np.nan, 30.0, 40.0]))
    assert np.isnan(_last_slope([10.0, 20.0, 30.0, np.nan]))


def test_the_slope_is_of_the_last_seven_days() -> None:
    """Earlier values, and later ones, change nothing."""
    values = [5.0, 90.0, *(float(day) for day in range(7))]
    assert _last_slope(values) == pytest.approx(1.0)
    slopes, _ = measure_slopes(np.array([[*values, 1_000.0]]), np.zeros((1, 10)))
    assert slopes[0, -2] == pytest.approx(1.0)


def test_the_error_of_moving_means_is_that_of_the_slope() -> None:
    """Over many series of pure noise the standard error equals the scatter of the slopes, though days overlap."""
    noise = np.random.default_rng(4).normal(0, 1, (20_000, 13))
    means = np.stack([noise[:, day : day + 7].mean(axis=1) for day in range(7)], axis=1)
    slope, error = measure_slopes(means, np.zeros_like(means))
    assert np.sqrt((error[:, -1] ** 2).mean()) == pytest.approx(slope[:, -1].std(), rel=0.03)


def test_days_until_the_limit() -> None:
    """Above the limit it is 0 days; a falling, flat or slow score never reaches it; the interval contains the days."""
    totals = np.array([40.0, 60.1, 40.0, 40.0, 40.0, 40.0])
    slopes = np.array([5.0, -5.0, 0.0, -1.0, np.nan, 0.01])
    days, earliest, latest = project(totals, slopes, np.ones(6), 60.0)
    np.testing.assert_allclose(days, [4.0, 0.0, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(earliest, [20 / 6.476, 0.0, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(latest, [20 / 3.524, 0.0, np.nan, np.nan, np.nan, np.nan])
    _, _, open_end = project(np.array([40.0]), np.array([1.0]), np.array([2.0]), 60.0)
    assert np.isnan(open_end[0])
