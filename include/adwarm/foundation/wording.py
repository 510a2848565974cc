"""Counts, lists and durations as text for logs and commands."""

from collections.abc import Sequence
from datetime import datetime

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """Return `count` with its noun, such as `1 report` or `1,200 reports`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def format_some(names: Sequence[str], shown: int, separator: str = ", ") -> str:
    """Return the first names and how many more there are, such as `act_1, act_2 and 14 more`; `none` without names."""
    if not names:
        return "none"
    more = len(names) - shown
    text = separator.join(names[:shown])
    return f"{text} and {more:,} more" if more > 0 else text


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


def format_bytes(count: int) -> str:
    """Return a number of bytes in the unit that suits it: `512 B`, `66 kB`, `1.5 MB`, `20 GB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1_000
    return f"{size:,.3g} GB" if size < 999.5 else f"{size:,.0f} GB"


def format_utc(moment: datetime | None) -> str:
    """Return a UTC time to the minute, such as `2026-11-25 09:00 UTC`; says so when it is not recorded."""
    return "a time that is not recorded" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
