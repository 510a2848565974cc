"""Reads the platform's usage figures as a budget: what is used now, how many calls are left, and how fast they may go.

A figure says what was used when it was sent. Own calls since then are added at what a call has cost so far, and those
that left the rolling window are taken off. So the budget is known between two figures, and the rate can be chosen so
that it lasts until calls come back: neither stop-and-go nor a fixed half. Pure: moments are handed in.
"""

from collections import deque
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

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


WINDOW_INTERVALS = 60
USAGE_FRESH_SECONDS = 60.0
"""A figure is news for so long; then it counts `FADING_POINTS` less for each further stretch of the same length."""
USAGE_DECAY_POINTS = 15.0
MAX_PERCENT_PER_CALL = 1.0
"""The most a call is taken to cost before many calls showed better."""


class UsageMeter:
    """Own calls in the rolling window, and the last figure. Counts are interpolated within the oldest slice.

    Attributes:
        percent: the platform's last figure, None before the first.
        heard_at: when it came.
        per_call: percent of the quota that one call takes.
    """

    __slots__ = (
        "_calls_after_report",
        "_calls_at_report",
        "_intervals",
        "_total",
        "percent",
        "percent_per_call",
        "reported_at",
        "window_seconds",
    )

    def __init__(self, window_seconds: float) -> None:
        self.window_seconds = window_seconds
        self.percent: float | None = None
        self.reported_at = 0.0
        self.percent_per_call = MAX_PERCENT_PER_CALL
        self._calls_at_report = 0.0
        self._calls_after_report = 0.0
        self._intervals: deque[list[float]] = deque()
        self._total = 0.0

    def record_calls(self, calls: float, now: float) -> None:
        """Count calls that are about to be made."""
        index = now // (self.window_seconds / WINDOW_INTERVALS)
        if not self._intervals or self._intervals[-1][0] < index:
            self._intervals.append([index, 0.0])
            self._drop(now)
        self._intervals[-1][1] += calls
        self._total += calls

    def refund_calls(self, calls: float, charged_at: float, now: float) -> None:
        """Forget calls that were counted at `charged_at` and not made; a figure that came since never held them."""
        self.record_calls(-calls, now)
        if charged_at <= self.reported_at:
            self._calls_at_report -= calls

    def calls(self, now: float) -> float:
        """Return own calls in the window that ends at `now`."""
        self._drop(now)
        if not self._intervals:
            return 0.0
        return self._total - self._intervals[0][1] * (1 - self._share_left(self._intervals[0][0], now))

    def record_usage(self, percent: float, in_flight: float, now: float) -> None:
        """Take in a figure that came with one answer while `in_flight` other calls had none yet.

        Whether the platform counted those already is unknown: half of them are taken to be in the figure.
        """
        counted = self.calls(now)
        self._calls_after_report = in_flight / 2
        self._calls_at_report = counted
        self.percent, self.reported_at = percent, now
        self.percent_per_call = (
            min(MAX_PERCENT_PER_CALL, percent / max(1.0, counted - self._calls_after_report)) or self.percent_per_call
        )

    def reset_usage(self) -> None:
        """Drop the figure; the count of own calls stays."""
        self.percent = None

    def estimate_percent(self, now: float) -> float | None:
        """Return the percent used at `now`, as far as can be told; None while nothing was heard."""
        if self.percent is None:
            return None
        since = self.calls(now) - self._calls_at_report + self._calls_after_report
        fading = max(0.0, now - self.reported_at - USAGE_FRESH_SECONDS) / USAGE_FRESH_SECONDS * USAGE_DECAY_POINTS
        return max(0.0, self.percent + self.percent_per_call * since - fading)

    def calls_left(self, ceiling: float, now: float) -> float:
        """Return the calls until `ceiling` percent are used; below zero when it is passed."""
        used = self.estimate_percent(now)
        return float("inf") if used is None else (ceiling - used) / self.percent_per_call

    def sustainable_rate(self, ceiling: float, now: float) -> float:
        """Return the highest steady rate, in calls a second, that never passes `ceiling` percent.

        What others use is taken to go on as it is: it comes back as evenly as it was spent.
        """
        left = self.calls_left(ceiling, now)
        own = self.calls(now)
        others = max(0.0, (self.estimate_percent(now) or 0.0) / self.percent_per_call - own)
        width, lowest, returned = (
            self.window_seconds / WINDOW_INTERVALS,
            (left + own + others) / self.window_seconds,
            0.0,
        )
        for index, count in self._intervals:
            # Calls come back while their slice leaves the window: it must last until that begins, and until it ends.
            begins = index * width + self.window_seconds - now
            for moment, back in ((begins, 0.0), (begins + width, count * self._share_left(index, now))):
                returned += back
                if moment >= width:  # within one slice it is not known when calls were made
                    lowest = min(lowest, (left + returned) / moment + others / self.window_seconds)
        return max(0.0, lowest)

    def to_list(self) -> list[Any]:
        """Return the meter as it is stored."""
        figures = [
            self.percent,
            self.reported_at,
            self.percent_per_call,
            self._calls_at_report,
            self._calls_after_report,
        ]
        return [*figures, [value for part in self._intervals for value in part]]

    @classmethod
    def from_list(cls, window_seconds: float, stored: Any) -> "UsageMeter":
        """Return the meter that was stored."""
        meter = cls(window_seconds)
        if stored:
            (
                meter.percent,
                meter.reported_at,
                meter.percent_per_call,
                meter._calls_at_report,
                meter._calls_after_report,
                flat,
            ) = stored
            meter._intervals = deque(_pairs(flat))
            meter._total = sum(count for _, count in meter._intervals)
        return meter

    def _drop(self, now: float) -> None:
        width = self.window_seconds / WINDOW_INTERVALS
        while self._intervals and (self._intervals[0][0] + 1) * width + self.window_seconds <= now:
            self._total -= self._intervals.popleft()[1]

    def _share_left(self, index: float, now: float) -> float:
        """Return how much of the slice is still inside the window."""
        width = self.window_seconds / WINDOW_INTERVALS
        return min(1.0, max(0.0, ((index + 1) * width + self.window_seconds - now) / width))


def _pairs(flat: Iterable[float]) -> Iterable[list[float]]:
    values = iter(flat)
    return ([index, count] for index, count in zip(values, values, strict=True))
