"""An adaptive concurrency limit by AIMD: up by one per limit's worth of successes, down by a cut at most once a second.

Always between `minimum` and `maximum`. It grows only while it is used: an idle limit that rose would be a guess.
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
        return int(self._bounded(rules, self.value) + 1e-9)

    def after_success(self, rules: LimitRules, in_flight: int) -> "ConcurrencyLimit":
        """Return the limit after a call succeeded while `in_flight` calls were running, itself included."""
        if in_flight * 2 < self.value:
            return self
        return ConcurrencyLimit(self._bounded(rules, self.value + 1 / max(1.0, self.value)), self.cut_at)

    def after_overload(self, rules: LimitRules, now: float) -> "ConcurrencyLimit":
        """Return the limit after a throttle or a timeout at `now`: many at once are one piece of news."""
        if 0 <= now - self.cut_at < rules.cut_interval_seconds:
            return self
        return ConcurrencyLimit(self._bounded(rules, self.value * rules.cut), now)

    @staticmethod
    def _bounded(rules: LimitRules, value: float) -> float:
        return min(rules.maximum, max(rules.minimum, value))
