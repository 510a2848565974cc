"""The platform's usage figures as a budget: the share of the quota in use, the calls left, and the rate that lasts.

A figure is the percentage that was used when the platform sent it. The meter adds the calls made since, each at the
average percentage that a call has cost, and takes off the calls that left the rolling window. So the usage is known
between two figures, and the rate can be set so that the quota lasts until calls leave the window again.

What a percentage demands (`Pace`):

| percent used | pace          | effect                                                            |
|--------------|---------------|-------------------------------------------------------------------|
| below 75     | free          | the configured rate                                               |
| 75 to 90     | slow          | the rate that lasts, steered a little below 90 %                  |
| 90 to 100    | critical only | critical calls up to 98 %, at the rate that lasts                 |
| 100 or more  | park          | the scope is parked for what the platform says, or by default     |

The module is pure: callers pass the time in seconds.
"""

from enum import IntEnum

import msgspec

SLOW_PERCENT = 75.0
CEILING_PERCENT = 90.0
"""Calls below the critical class stop here."""
CRITICAL_CEILING_PERCENT = 98.0
"""Critical calls stop here: figures are not exact, and the quota itself must not be reached."""
FULL_PERCENT = 100.0


class Pace(IntEnum):
    """How a scope may be called; a larger number is stricter."""

    FREE = 0
    SLOW = 1
    CRITICAL_ONLY = 2
    PARK = 3


def pace_for(percent: float | None) -> Pace:
    """Return the pace for `percent` of the quota used; None means that the platform sends no figures."""
    if percent is None or percent < SLOW_PERCENT:
        return Pace.FREE
    if percent >= FULL_PERCENT:
        return Pace.PARK
    return Pace.CRITICAL_ONLY if percent >= CEILING_PERCENT else Pace.SLOW


WINDOW_INTERVALS = 60
USAGE_FRESH_SECONDS = 60.0
"""A figure counts in full for this long, then `USAGE_DECAY_POINTS` less for each further period of the same length."""
USAGE_DECAY_POINTS = 15.0
MAX_PERCENT_PER_CALL = 1.0
"""The assumed cost of a call until many calls have shown a lower one."""


class UsageMeter(msgspec.Struct, array_like=True):
    """Own calls in the rolling window, and the last figure; stored as a list of its fields.

    Counts are interpolated within the oldest interval.

    Attributes:
        window_seconds: length of the rolling window in which the platform counts.
        percent: the platform's last figure, None before the first.
        reported_at: when that figure came.
        percent_per_call: percent of the quota that one call takes.
        calls_at_report: own calls in the window when that figure came.
        calls_after_report: those of the calls in flight then that are assumed not to be in it.
        intervals: number and calls of each sixtieth of the window, the oldest first.
    """

    window_seconds: float
    percent: float | None = None
    reported_at: float = 0.0
    percent_per_call: float = MAX_PERCENT_PER_CALL
    calls_at_report: float = 0.0
    calls_after_report: float = 0.0
    intervals: list[tuple[float, float]] = []

    def record_calls(self, calls: float, now: float) -> None:
        """Count calls that are about to be made."""
        number = now // (self.window_seconds / WINDOW_INTERVALS)
        last = self.intervals[-1] if self.intervals else (-1.0, 0.0)
        if last[0] >= number:
            self.intervals[-1] = (last[0], last[1] + calls)
            return
        self.intervals.append((number, calls))
        self._drop_old(now)

    def calls(self, now: float) -> float:
        """Return own calls in the window that ends at `now`."""
        self._drop_old(now)
        if not self.intervals:
            return 0.0
        oldest, count = self.intervals[0]
        return sum(calls for _, calls in self.intervals) - count * (1 - self._share_in_window(oldest, now))

    def record_usage(self, percent: float, in_flight: float, now: float) -> None:
        """Take in a figure that came with one response while `in_flight` other calls had none yet.

        Whether the platform has counted those calls is unknown: half of them are assumed to be in the figure.
        """
        counted = self.calls(now)
        self.calls_after_report = in_flight / 2
        self.calls_at_report = counted
        self.percent, self.reported_at = percent, now
        measured = percent / max(1.0, counted - self.calls_after_report)
        self.percent_per_call = min(MAX_PERCENT_PER_CALL, measured) or self.percent_per_call

    def estimate_percent(self, now: float) -> float | None:
        """Return the estimated percentage used at `now`; None before the first figure."""
        if self.percent is None:
            return None
        since = self.calls(now) - self.calls_at_report + self.calls_after_report
        decay = max(0.0, now - self.reported_at - USAGE_FRESH_SECONDS) / USAGE_FRESH_SECONDS * USAGE_DECAY_POINTS
        return max(0.0, self.percent + self.percent_per_call * since - decay)

    @property
    def quota(self) -> float | None:
        """Calls per window that the platform's figures allow; None before many calls have shown what one costs."""
        is_measured = self.percent is not None and 0 < self.percent_per_call < MAX_PERCENT_PER_CALL
        return FULL_PERCENT / self.percent_per_call if is_measured else None

    def calls_left(self, ceiling: float, now: float) -> float:
        """Return the calls until `ceiling` percent are used; negative above it, infinite before the first figure."""
        used = self.estimate_percent(now)
        return float("inf") if used is None else (ceiling - used) / self.percent_per_call

    def sustainable_rate(self, ceiling: float, now: float) -> float:
        """Return the highest steady rate, in calls per second, that never passes `ceiling` percent.

        Usage by other clients is assumed to continue: it leaves the window as evenly as it entered.
        """
        left = self.calls_left(ceiling, now)
        own = self.calls(now)
        others = max(0.0, (self.estimate_percent(now) or 0.0) / self.percent_per_call - own)
        window, width = self.window_seconds, self.window_seconds / WINDOW_INTERVALS
        lowest, returned = (left + own + others) / window, 0.0
        for number, count in self.intervals:
            # Calls leave the window together with their interval: the rate must last until that begins and ends.
            begins = number * width + window - now
            for moment, leaving in ((begins, 0.0), (begins + width, count * self._share_in_window(number, now))):
                returned += leaving
                if moment >= width:  # within one interval the times of calls are unknown
                    lowest = min(lowest, (left + returned) / moment + others / window)
        return max(0.0, lowest)

    def _drop_old(self, now: float) -> None:
        width = self.window_seconds / WINDOW_INTERVALS
        while self.intervals and (self.intervals[0][0] + 1) * width + self.window_seconds <= now:
            self.intervals.pop(0)

    def _share_in_window(self, number: float, now: float) -> float:
        """Return the part of the interval that is still inside the window, from 0 to 1."""
        width = self.window_seconds / WINDOW_INTERVALS
        return min(1.0, max(0.0, ((number + 1) * width + self.window_seconds - now) / width))
