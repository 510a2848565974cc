"""An adaptive concurrency limit by AIMD: additive increase on success, multiplicative decrease on overload.

Transitions of the limit, always within `minimum` and `maximum`:

| event                                                   | next limit                                              |
|---------------------------------------------------------|---------------------------------------------------------|
| a call succeeds while at least half the limit is in use | limit + 1 / limit: one more per limit's worth of calls  |
| a call succeeds while less is in use                    | unchanged: growth of an idle limit would be a guess     |
| a throttle, a timeout, or a call that is far too slow   | limit x `decrease_factor`                               |
| the same within `cut_interval_seconds` of the last cut  | unchanged: simultaneous errors are one event            |

`LatencyBaseline` decides which calls are far too slow. The module is pure: callers pass the time.
"""

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class LimitRules:
    """Bounds of a limit, in calls in flight, and how it decreases."""

    maximum: float
    minimum: float = 1.0
    decrease_factor: float = 0.8
    cut_interval_seconds: float = 1.0


class ConcurrencyLimit(msgspec.Struct, frozen=True, array_like=True):
    """Calls that may be in flight at once, and when the limit was last cut; stored as a list of its fields."""

    value: float
    decreased_at: float = 0.0

    def after_success(self, rules: LimitRules, in_flight: int) -> "ConcurrencyLimit":
        """Return the limit after a call succeeded while `in_flight` calls were running, itself included."""
        if in_flight * 2 < self.value:
            return self
        return ConcurrencyLimit(_bounded(rules, self.value + 1 / max(1.0, self.value)), self.decreased_at)

    def after_overload(self, rules: LimitRules, now: float) -> "ConcurrencyLimit":
        """Return the limit after a throttle, a timeout or a slow call at `now`."""
        if 0 <= now - self.decreased_at < rules.cut_interval_seconds:
            return self
        return ConcurrencyLimit(_bounded(rules, self.value * rules.decrease_factor), now)


def _bounded(rules: LimitRules, value: float) -> float:
    return min(rules.maximum, max(rules.minimum, value))


_SLOW_DEVIATIONS = 4.0
_MIN_RELATIVE_DEVIATION = 0.5
_AVERAGING_SECONDS = 300.0
_PERIOD_SECONDS = 900.0
_FIRST_CALLS = 20
_MAX_WEIGHT = 0.05


class LatencyBaseline(msgspec.Struct, array_like=True):
    """How long calls took over the last minutes, in seconds; stored as a list of its fields.

    A call is slow compared with the best averages of the current and the previous quarter of an hour. Compared with the
    current average alone, an overload that builds up slowly would go unnoticed.

    Attributes:
        mean, deviation: moving averages of the latency and of its distance from the mean.
        period_start: when the current quarter of an hour began.
        call_count: calls observed, counted up to the first twenty.
        period_best, previous_best: the lowest mean of the current and the previous period, with its deviation.
    """

    mean: float = 0.0
    deviation: float = 0.0
    last_call_at: float = 0.0
    period_start: float = 0.0
    call_count: int = 0
    period_best: list[float] | None = None
    previous_best: list[float] | None = None

    def observe(self, seconds: float, now: float) -> bool:
        """Add the latency of one call, and return whether it was far slower than calls usually are."""
        if self.call_count < _FIRST_CALLS:
            self.call_count += 1
            self._average(1 / self.call_count, seconds)
            self.last_call_at = self.period_start = now
            return False
        mean, deviation = self._best(now)
        is_slow = seconds > mean + _SLOW_DEVIATIONS * max(deviation, _MIN_RELATIVE_DEVIATION * mean)
        # Weighted by time, so that a burst of calls does not replace the average of minutes.
        self._average(min(_MAX_WEIGHT, max(0.0, now - self.last_call_at) / _AVERAGING_SECONDS), seconds)
        self.last_call_at = now
        return is_slow

    def _average(self, weight: float, seconds: float) -> None:
        distance = abs(seconds - self.mean) if self.call_count > 1 else 0.0
        self.mean += weight * (seconds - self.mean)
        self.deviation += weight * (distance - self.deviation)

    def _best(self, now: float) -> list[float]:
        """Return the lowest mean of both periods with its deviation, after the current average was taken in."""
        if now - self.period_start >= _PERIOD_SECONDS:
            self.previous_best, self.period_best, self.period_start = self.period_best, None, now
        current = [self.mean, self.deviation]
        self.period_best = current if self.period_best is None else min(self.period_best, current)
        return self.period_best if self.previous_best is None else min(self.period_best, self.previous_best)
