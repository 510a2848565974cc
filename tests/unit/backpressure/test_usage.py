"""Tests of what usage figures mean."""

import pytest

from adwarm.backpressure.usage import Pace, pace_for


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (None, Pace.FREE),
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
def test_bands(percent: float | None, expected: Pace) -> None:
    """Slow from 75 %, only critical from 90 %, parked from 100 %; no figure is normal."""
    assert expected is pace_for(percent)
