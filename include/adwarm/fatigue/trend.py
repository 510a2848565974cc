"""The trend of a score: its slope over the last days, and when it becomes critical at that pace."""

from collections.abc import Sequence
from typing import Final

TREND_DAYS: Final = 4
"""Days in the slope, the day of the score included."""


def slope_per_day(totals: Sequence[float | None]) -> float | None:
    """Return the least-squares slope of daily totals, oldest first, in points a day.

    Days without a total are left out; None when fewer than two are left.
    """
    points = [(day, value) for day, value in enumerate(totals) if value is not None]
    if len(points) < 2:
        return None
    mean_day = sum(day for day, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((day - mean_day) ** 2 for day, _ in points)
    return sum((day - mean_day) * (value - mean) for day, value in points) / spread


def days_until(total: float, slope: float | None, limit: float) -> float | None:
    """Return in how many days `total` reaches `limit` at `slope` points a day: 0 when it is above it, None if never."""
    if total > limit:
        return 0.0
    if slope is None or slope <= 0:
        return None
    return (limit - total) / slope
