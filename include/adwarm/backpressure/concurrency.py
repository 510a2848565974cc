"""An adaptive concurrency limit by AIMD: up by one per limit's worth of successes, down by a cut at most once a second.

Always between `minimum` and `maximum`. It grows only while it is used: an idle limit that rose would be a guess. It is
cut by a throttle, a timeout, and a call far slower than calls have been over the last minutes.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LimitRules:
    """Bounds of a limit and how it moves."""

    maximum: float
    minimum: float = 1.0
    decrease_factor: float = 0.8
    cut_interval_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Calls that may be in flight at once."""

    value: float
    decreased_at: float = 0.0

    def slots(self, rules: LimitRules) -> int:
        """Return the whole calls that may be in flight."""
        return int(min(rules.maximum, max(rules.minimum, self.value)) + 1e-9)

    def after_success(self, rules: LimitRules, in_flight: int) -> "ConcurrencyLimit":
        """Return the limit after a call succeeded while `in_flight` calls were running, itself included."""
        if in_flight * 2 < self.value or rules.minimum <= self.value == rules.maximum:
            return self
        return ConcurrencyLimit(self._bounded(rules, self.value + 1 / max(1.0, self.value)), self.decreased_at)

    def after_overload(self, rules: LimitRules, now: float) -> "ConcurrencyLimit":
        """Return the limit after a throttle, a timeout or a slow call at `now`: many at once are one piece of news."""
        if 0 <= now - self.decreased_at < rules.cut_interval_seconds:
            return self
        return ConcurrencyLimit(self._bounded(rules, self.value * rules.decrease_factor), now)

    @staticmethod
    def _bounded(rules: LimitRules, value: float) -> float:
        return min(rules.maximum, max(rules.minimum, value))


_SLOW_SPREADS = 4.0
_LEAST_SPREAD = 0.5
_MEMORY_SECONDS = 300.0
_REFERENCE_SECONDS = 900.0
_FIRST_CALLS = 20
_HEAVIEST = 0.05


class LatencyBaseline:
    """How long calls have taken over the last minutes, and by how much they differ; seconds.

    A call is slow beside the best stretch of the last quarters of an hour: under an overload that builds up, a level
    that kept pace would find nothing slow.

    Attributes:
        level, spread: moving average of the calls, and of how far they are off it.
        best, earlier: (level, spread) where the level was lowest, in this stretch of time and in the one before.
        began: when this stretch did.
    """

    __slots__ = ("call_count", "deviation", "last_call_at", "mean", "period_best", "period_start", "previous_best")

    def __init__(self) -> None:
        self.mean = self.deviation = self.last_call_at = self.period_start = 0.0
        self.call_count = 0
        self.period_best = self.previous_best = (float("inf"), 0.0)

    def observe(self, seconds: float, now: float) -> bool:
        """Learn from one call, and return whether it was far slower than calls are."""
        if self.call_count < _FIRST_CALLS:
            self.call_count += 1
            self._move(1 / self.call_count, seconds)
            self.last_call_at = self.period_start = now
            return False
        self._turn(now)
        level, spread = min(self.period_best, self.previous_best)
        is_slow = seconds > level + _SLOW_SPREADS * max(spread, _LEAST_SPREAD * level)
        self._move(min(_HEAVIEST, max(0.0, now - self.last_call_at) / _MEMORY_SECONDS), seconds)
        self.last_call_at = now
        return is_slow

    def _move(self, weight: float, seconds: float) -> None:
        off = abs(seconds - self.mean) if self.call_count > 1 else 0.0
        self.mean += weight * (seconds - self.mean)
        self.deviation += weight * (off - self.deviation)

    def _turn(self, now: float) -> None:
        if now - self.period_start >= _REFERENCE_SECONDS:
            self.period_best, self.previous_best, self.period_start = (float("inf"), 0.0), self.period_best, now
        self.period_best = min(self.period_best, (self.mean, self.deviation))

    def to_list(self) -> list[Any]:
        """Return it as it is stored."""
        bests = [
            None if level == float("inf") else [level, spread]
            for level, spread in (self.period_best, self.previous_best)
        ]
        return [self.mean, self.deviation, self.last_call_at, self.period_start, self.call_count, *bests]

    @classmethod
    def from_list(cls, stored: Any) -> "LatencyBaseline":
        """Return what was stored."""
        found = cls()
        if stored:
            found.mean, found.deviation, found.last_call_at, found.period_start, found.call_count, *bests = stored
            found.period_best, found.previous_best = (tuple(pair) if pair else (float("inf"), 0.0) for pair in bests)
        return found
