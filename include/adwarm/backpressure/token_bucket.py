"""A token bucket that four classes share: over any T seconds at most `burst + rate x T` tokens leave it.

Each class earns credit at its share of the rate. A token goes to whoever has credit for it; what classes that do not
wait leave over is lent. A class above that waits goes ahead of those below by up to a second of either's share, and
pays it back: so the urgent wait little and the patient lose nothing. A moment before the last one refills nothing.
Pure: the moment is handed in.
"""

from dataclasses import dataclass
from typing import Any

from adwarm.backpressure.shares import CLASSES, Askers, Shares

# Seconds since the epoch carry about a quarter of a microsecond, so that an exact wait may come a hair early.
_TOLERANCE = 1e-4
_LEAST_CREDIT = 2.0
_PRECEDENCE_SECONDS = 1.0
_LONGEST_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BucketRules:
    """Tokens per second, and the most the bucket holds."""

    rate: float
    burst: float


class SharedBucket:
    """The bucket at the moment `refilled_at`. Below zero after a request larger than the bucket."""

    __slots__ = ("credits", "refilled_at", "tokens")

    def __init__(self, tokens: float, refilled_at: float, credits_: list[float] | None = None) -> None:
        self.tokens = tokens
        self.refilled_at = refilled_at
        self.credits = credits_ or [1.0] * len(CLASSES)

    def refill(self, rules: BucketRules, shares: Shares, now: float) -> None:
        """Let the time up to `now` fill the bucket."""
        gain = max(0.0, now - self.refilled_at) * rules.rate
        self.refilled_at = max(now, self.refilled_at)
        self.tokens = min(rules.burst, self.tokens + gain)
        depth = max(rules.burst, rules.rate)
        for index in CLASSES:
            most = max(_LEAST_CREDIT, shares[index] * depth)
            self.credits[index] = min(most, self.credits[index] + shares[index] * gain)

    def wait(
        self, rules: BucketRules, shares: Shares, priority: int, cost: float, askers: Askers | None, now: float
    ) -> float:
        """Return the seconds until `cost` may be taken; 0 when it may be taken now. Call `refill` first.

        A cost above the burst goes when the bucket is full, and leaves a debt that later callers wait for.

        Args:
            rules: of the bucket.
            shares: of the four classes.
            priority: the class that asks.
            cost: tokens.
            askers: who waits at this bucket; None when its rate is not divided.
            now: the moment.
        """
        need = min(cost, rules.burst)
        missing = need - self.tokens
        if missing > _TOLERANCE:
            return missing / rules.rate
        if askers is None or self._has_turn(rules, shares, priority, need, askers, now):
            return 0.0
        earning = shares[priority] * rules.rate
        seconds = (self._due(rules, shares, priority, need, askers, now) - self.credits[priority]) / earning
        return min(_LONGEST_POLL_SECONDS, max(_TOLERANCE, seconds)) if earning > 0 else _LONGEST_POLL_SECONDS

    def take(
        self, rules: BucketRules, shares: Shares, priority: int, cost: float, askers: Askers | None, now: float
    ) -> None:
        """Take `cost`; call it only where `wait` is 0."""
        kept = 0.0 if askers is None else self._reserved(shares, priority, askers, now, lead=0.0)
        if self.credits[priority] >= cost or self.tokens - kept < cost:
            self.credits[priority] -= cost
        self.tokens -= cost

    def give_back(self, rules: BucketRules, priority: int, cost: float) -> None:
        """Return tokens that were taken and not used."""
        self.tokens = min(rules.burst, self.tokens + cost)
        self.credits[priority] += cost

    def _has_turn(
        self, rules: BucketRules, shares: Shares, priority: int, need: float, askers: Askers, now: float
    ) -> bool:
        if self.credits[priority] >= self._due(rules, shares, priority, need, askers, now) - _TOLERANCE:
            return True
        if self.tokens - self._reserved(shares, priority, askers, now, lead=0.0) >= need:
            return True
        lead = rules.rate * _PRECEDENCE_SECONDS
        if self.credits[priority] - need < -max(1.0, shares[priority] * lead):
            return False
        return self.tokens - self._reserved(shares, priority, askers, now, lead=lead) >= need

    def _due(self, rules: BucketRules, shares: Shares, priority: int, need: float, askers: Askers, now: float) -> float:
        """Return the credit with which the class goes whoever else waits."""
        if not any(askers.waits(other, now) for other in CLASSES[:priority]):
            return need
        most = max(_LEAST_CREDIT, shares[priority] * max(rules.burst, rules.rate))
        return min(most, need + shares[priority] * rules.rate * _PRECEDENCE_SECONDS)

    def _reserved(self, shares: Shares, priority: int, askers: Askers, now: float, *, lead: float) -> float:
        """Return the credit of the other classes that wait; those below lend a lead to who is above them."""
        kept = 0.0
        for other in CLASSES:
            if other != priority and askers.waits(other, now):
                lent = shares[other] * lead if other > priority else 0.0
                kept += max(0.0, self.credits[other] - lent)
        return kept

    def to_list(self) -> list[float]:
        """Return the credits as they are stored beside tokens and moment."""
        return [round(credit, 6) for credit in self.credits]

    @classmethod
    def from_row(cls, tokens: float, refilled_at: float, stored: Any) -> "SharedBucket":
        """Return the bucket that was stored."""
        return cls(tokens, refilled_at, [float(credit) for credit in stored] if stored else None)
