"""What the platform's headers say about time: its own clock, and how long it wants to be left alone."""

from collections import deque
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import median

from adwarm.foundation.clock import Clock

MAX_WAIT_SECONDS = 365 * 86_400.0
"""Longer times are not taken at their word: no moment has to be computed beyond the calendar."""

_REMEMBERED = 9


class ClockOffset:
    """How far the platform's clock is ahead of ours: the median of the last answers, to a second or so.

    One answer with a wrong date moves it by nothing. Used by one thread at a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: deque[float] = deque(maxlen=_REMEMBERED)

    def record(self, date: str | None) -> None:
        """Take the `Date` header of an answer that has just come; one that is no date is left out."""
        moment = _moment(date)
        if moment is not None:
            self._last.append((moment - self._clock.now()).total_seconds())

    @property
    def seconds(self) -> float | None:
        """The offset; None before any answer told."""
        return median(self._last) if self._last else None


def parse_retry_after(retry_after: str | None, date: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None when it is missing, past or cannot be read.

    Args:
        retry_after: seconds, or a date.
        date: the answer's own `Date`, by which such a date is meant.
        now: our time, where it has none.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:12])
    else:
        until = _moment(text)
        seconds = 0.0 if until is None else (until - (_moment(date) or now)).total_seconds()
    return min(seconds, MAX_WAIT_SECONDS) if seconds > 0 else None


def _moment(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime((text or "")[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
