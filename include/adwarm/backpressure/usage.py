"""What a share of the platform's quota asks for: free, slow, only critical calls, or parked."""

from enum import IntEnum

SLOW_PERCENT = 75.0
CEILING_PERCENT = 90.0
"""Calls that nobody waits for stop here."""
CRITICAL_CEILING_PERCENT = 98.0
"""Critical calls stop here: a figure is never exact, and the limit itself must not be met."""
FULL_PERCENT = 100.0


class Pace(IntEnum):
    """How a scope may be called; a larger number is stricter."""

    FREE = 0
    SLOW = 1
    CRITICAL_ONLY = 2
    PARK = 3


def pace_for(percent: float | None) -> Pace:
    """Return the pace that `percent` of the quota used asks for; None is a platform that says nothing."""
    if percent is None or percent < SLOW_PERCENT:
        return Pace.FREE
    if percent >= FULL_PERCENT:
        return Pace.PARK
    return Pace.CRITICAL_ONLY if percent >= CEILING_PERCENT else Pace.SLOW
