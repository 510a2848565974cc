"""Counts, lists and durations as text for logs and commands."""

from collections.abc import Sequence
from datetime import datetime

from adwarm_client.wording import format_duration

__all__ = ["format_bytes", "format_count", "format_duration", "format_some", "format_utc"]


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
