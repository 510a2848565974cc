"""Durations as text."""

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


def format_duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: `0.4 s`, `45 s`, `5 min`, `2.5 h`, `3 days`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 1.5 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.0f} days"
