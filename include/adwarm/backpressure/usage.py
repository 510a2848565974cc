"""What the platform's own usage figures make of a scope: free, slow, only critical calls, or parked.

A figure is news for a minute. Then it counts one band less for each further minute, so that a scope nobody may call
for its usage is tried again although no newer figure came.
"""

from enum import IntEnum

FIGURE_SECONDS = 60.0
SLOW_FACTOR = 0.5


class Pace(IntEnum):
    """How a scope may be called; a larger number is stricter."""

    FREE = 0
    SLOW = 1
    CRITICAL_ONLY = 2
    PARK = 3


def band(percent: float) -> Pace:
    """Return the pace that `percent` of the quota used asks for."""
    if percent >= 100:
        return Pace.PARK
    if percent >= 90:
        return Pace.CRITICAL_ONLY
    return Pace.SLOW if percent >= 75 else Pace.FREE


def pace(percent: float | None, age_seconds: float) -> Pace:
    """Return the pace a figure of that age still asks for.

    Parking has its own end, so a figure by itself never asks for more than critical calls only.
    """
    if percent is None:
        return Pace.FREE
    bands_off = int(max(0.0, age_seconds) // FIGURE_SECONDS)
    return Pace(max(0, min(Pace.CRITICAL_ONLY, band(percent)) - bands_off))


def seconds_to_next_band(age_seconds: float) -> float:
    """Return the seconds until the figure counts one band less."""
    return FIGURE_SECONDS - max(0.0, age_seconds) % FIGURE_SECONDS
