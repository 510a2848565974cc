"""Intervals by resampling accounts and weeks."""

import numpy as np
import pytest

from adwarm.replay.cache_simulation import SimulationCounts
from adwarm.replay.intervals import confidence_interval, curve_points, resampled_ratio


def _tally(cells: int) -> SimulationCounts:
    rng = np.random.default_rng(5)
    tally = SimulationCounts.empty(cells, 1, 3)
    tally.opens[:] = tally.first_opens[:] = rng.integers(5, 20, cells)
    for column, share in enumerate((0.3, 0.5, 0.9)):
        tally.first_hits[:, column] = np.round(tally.first_opens * share)
        tally.warms[:, column] = tally.first_opens * column
        tally.misses[:, column] = tally.first_opens - tally.first_hits[:, column]
    return tally


def test_the_curve_is_read_between_its_points() -> None:
    """Multiples are of the first column's calls; between thresholds the ratio is interpolated."""
    tally = _tally(50)
    found = curve_points(tally, tally.calls(), np.array([1.0, 9.0]))

    assert found.multiple[0] == 1.0
    assert found.ratio_at[0] == pytest.approx(found.ratio[0])
    assert found.ratio_at[1] == pytest.approx(found.ratio[2])


def test_equal_logs_are_resampled_alike() -> None:
    """The same draws for every policy, and in every run."""
    tally = _tally(30)
    first, second = (curve_points(tally, tally.calls(), np.array([1.5])).resampled for _ in range(2))

    assert np.array_equal(first, second)
    low, high = confidence_interval(resampled_ratio(tally, 1))
    assert low <= tally.first_hits[:, 1].sum() / tally.first_opens.sum() <= high


def test_calls_of_a_week_without_an_open_count() -> None:
    """Warms that nobody could use are not lost with their empty week."""
    tally = _tally(10)
    before = curve_points(tally, tally.calls(), np.array([1.0])).multiple[1]
    tally.opens[0] = tally.first_opens[0] = 0
    tally.first_hits[0] = tally.misses[0] = 0
    tally.warms[0] = (0, 500, 500)

    assert curve_points(tally, tally.calls(), np.array([1.0])).multiple[1] > before + 1


def test_nothing_to_resample_gives_zeros() -> None:
    """A log without opens has a ratio of 0, not an error."""
    tally = SimulationCounts.empty(0, 1, 2)

    assert curve_points(tally, tally.calls(), np.array([1.0])).ratio_at.tolist() == [0.0]
    assert confidence_interval(resampled_ratio(tally, 0)) == [0.0, 0.0]


def test_foresight_that_saves_calls_is_read_as_such() -> None:
    """A policy that makes fewer calls than none and serves all is worth what it serves, at any budget."""
    tally = SimulationCounts.empty(5, 1, 2)
    tally.opens[:] = tally.first_opens[:] = 10
    tally.misses[:] = (10, 0)
    tally.warms[:] = (0, 9)
    tally.first_hits[:] = (0, 10)

    assert curve_points(tally, tally.calls(), np.array([1.5, 2.0])).ratio_at.tolist() == [1.0, 1.0]
