"""An adaptive concurrency limit by AIMD: up by one per limit's worth of successes, down by a cut at most once a second.

Always between `minimum` and `maximum`. It grows only while it is used: an idle limit that rose would be a guess. It is
cut by a throttle, a timeout, and a call far slower than calls have been over the last minutes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitRules:
    """Bounds of a limit and how it moves."""

    maximum: float
    minimum: float = 1.0
    cut: float = 0.7
    cut_interval_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Calls that may be in flight at once."""

    value: float
    cut_at: float = 0.0

    def slots(self, rules: LimitRules) -> int:
        """Return the whole calls that may be in flight."""
        return int(min(rules.maximum, max(rules.minimum, self.value)) + 1e-9)

    def after_success(self, rules: LimitRules, in_flight: int) -> "ConcurrencyLimit":
        """Return the limit after a call succeeded while `in_flight` calls were running, itself included."""
        if in_flight * 2 < self.value or rules.minimum <= self.value == rules.maximum:
            return self
        return ConcurrencyLimit(self._bounded(rules, self.value + 1 / max(1.0, self.value)), self.cut_at)

    def after_overload(self, rules: LimitRules, now: float) -> "ConcurrencyLimit":
        """Return the limit after a throttle, a timeout or a slow call at `now`: many at once are one piece of news."""
        if 0 <= now - self.cut_at < rules.cut_interval_seconds:
            return self
        return ConcurrencyLimit(self._bounded(rules, self.value * rules.cut), now)

    @staticmethod
    def _bounded(rules: LimitRules, value: float) -> float:
        return min(rules.maximum, max(rules.minimum, value))


_SLOW_SPREADS = 4.0
_MEMORY_SECONDS = 300.0
_FIRST_CALLS = 20
_HEAVIEST = 0.05


class RunningLatency:
    """How long calls have taken over the last minutes, and by how much they differ; seconds.

    It follows within minutes, not within calls: under an overload that builds up, a level that kept pace would find
    nothing slow.
    """

    __slots__ = ("calls", "level", "seen_at", "spread")

    def __init__(self, level: float = 0.0, spread: float = 0.0, seen_at: float = 0.0, calls: int = 0) -> None:
        self.level = level
        self.spread = spread
        self.seen_at = seen_at
        self.calls = calls

    def take(self, seconds: float, now: float) -> bool:
        """Learn from one call, and return whether it was far slower than the others."""
        off = abs(seconds - self.level)
        is_slow = self.calls >= _FIRST_CALLS and seconds > self.level + _SLOW_SPREADS * max(self.spread, self.level / 2)
        weight = min(_HEAVIEST, max(0.0, now - self.seen_at) / _MEMORY_SECONDS)
        if self.calls < _FIRST_CALLS:
            self.calls += 1
            weight = max(weight, 1 / self.calls)
        self.level += weight * (seconds - self.level)
        self.spread += weight * (off - self.spread) if self.calls > 1 else 0.0
        self.seen_at = now
        return is_slow
