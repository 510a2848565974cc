"""Tests of what usage figures mean."""

import pytest

from adwarm.backpressure.usage import Pace, band, pace


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (0, Pace.FREE),
        (74.9, Pace.FREE),
        (75, Pace.SLOW),
        (89.9, Pace.SLOW),
        (90, Pace.CRITICAL_ONLY),
        (99.9, Pace.CRITICAL_ONLY),
        (100, Pace.PARK),
        (118, Pace.PARK),
    ],
)
def test_bands(percent: float, expected: Pace) -> None:
    """Slow from 75 %, only critical from 90 %, parked from 100 %."""
    assert expected is band(percent)


def test_an_old_figure_loosens_step_by_step() -> None:
    """A scope that nobody may call is tried again although no newer figure came."""
    assert [pace(95, age) for age in (59, 61, 121)] == [Pace.CRITICAL_ONLY, Pace.SLOW, Pace.FREE]


def test_no_figure_means_free() -> None:
    """Platforms that send no usage are normal."""
    assert Pace.FREE is pace(None, 0)
