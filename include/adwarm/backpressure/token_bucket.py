"""A token bucket that four classes share: over any T seconds at most `burst + rate x T` tokens leave it.

Each class earns credit at its share of the rate. A token goes to whoever has credit for it, the class that is most
behind its share first; what classes that do not wait leave over is lent. Half the burst is kept for the first class,
which may use it ahead of its credit and pays it back: so the urgent wait little and the patient lose nothing. A moment
before the last one refills nothing. Pure: the moment is handed in.
"""

from dataclasses import dataclass
from typing import Any

from adwarm.backpressure.shares import PRIORITY_CLASSES, ClassDemand, Shares, is_recent

# Seconds since the epoch carry about a quarter of a microsecond, so that an exact wait may come a hair early.
_TOLERANCE = 1e-4
_LEAST_CREDIT = 2.0
_CREDIT_SECONDS = 4.0
"""Seconds of its share that a class is owed at most, so that a moment of critical calls alone costs it nothing."""
_AHEAD_SECONDS = 8.0
_CRITICAL_RESERVE = 0.5
_LONGEST_POLL_SECONDS = 1.0
_LEAST_EARNING = 0.01


@dataclass(frozen=True, slots=True)
class BucketRules:
    """Tokens per second, and the most the bucket holds."""

    rate: float
    burst: float


class TokenBucket:
    """The bucket at the moment `refilled_at`. Below zero after a request larger than the bucket."""

    __slots__ = ("credits", "refilled_at", "tokens")

    def __init__(self, tokens: float, refilled_at: float, credits_: list[float] | None = None) -> None:
        self.tokens = tokens
        self.refilled_at = refilled_at
        self.credits = credits_ or [1.0] * len(PRIORITY_CLASSES)

    def refill(self, rules: BucketRules, shares: Shares, now: float) -> None:
        """Let the time up to `now` fill the bucket."""
        if now <= self.refilled_at and self.tokens <= rules.burst:
            return
        gain = max(0.0, now - self.refilled_at) * rules.rate
        self.refilled_at = max(now, self.refilled_at)
        self.tokens = min(rules.burst, self.tokens + gain)
        depth = max(rules.burst, rules.rate * _CREDIT_SECONDS)
        for index in PRIORITY_CLASSES:
            most = max(_LEAST_CREDIT, shares[index] * depth)
            self.credits[index] = min(most, self.credits[index] + shares[index] * gain)

    def wait_seconds(
        self, rules: BucketRules, shares: Shares, priority: int, cost: float, demand: ClassDemand | None, now: float
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
        kept = self._reserved_for_critical(rules, priority, need, demand, now)
        missing = need + kept - self.tokens
        if missing > _TOLERANCE:
            return missing / rules.rate
        if demand is None or self._may_take(rules, shares, priority, need, self.tokens - kept, demand, now):
            return 0.0
        # Others may leave something over, so it is worth asking when the credit is there, and once a token after that.
        earning = max(shares[priority], _LEAST_EARNING) * rules.rate
        return min(_LONGEST_POLL_SECONDS, max(1 / rules.rate, (need - self.credits[priority]) / earning))

    def may_borrow(self, rules: BucketRules, shares: Shares, need: float) -> bool:
        """Whether the first class may take tokens before it earned them: up to some seconds of its share."""
        return self.credits[0] - need >= -shares[0] * rules.rate * _AHEAD_SECONDS

    def take(
        self, rules: BucketRules, shares: Shares, priority: int, cost: float, demand: ClassDemand | None, now: float
    ) -> None:
        """Take `cost`; call it only where `wait` is 0."""
        if self.credits[priority] >= cost or self._is_borrowing(rules, priority, cost, demand, now):
            self.credits[priority] -= cost
        self.tokens -= cost

    def refund(self, rules: BucketRules, priority: int, cost: float) -> None:
        """Return tokens that were taken and not used."""
        self.tokens = min(rules.burst, self.tokens + cost)
        self.credits[priority] += cost

    def _is_borrowing(
        self, rules: BucketRules, priority: int, cost: float, demand: ClassDemand | None, now: float
    ) -> bool:
        """Whether the tokens are owed to others, so that the class pays with credit it has yet to earn."""
        kept = self._reserved_for_critical(rules, priority, cost, demand, now)
        owed = self._owed_to_others(priority, demand, now) if demand is not None else 0.0
        return self.tokens - kept - owed < cost

    @staticmethod
    def _reserved_for_critical(
        rules: BucketRules, priority: int, need: float, demand: ClassDemand | None, now: float
    ) -> float:
        """Return the tokens kept for the first class, if it is there; others never wait for a full bucket."""
        if demand is None or priority == 0 or not is_recent(demand.last_request_at[0], now):
            return 0.0
        return max(0.0, min(rules.burst * _CRITICAL_RESERVE, rules.burst - need - 1))

    def _may_take(
        self,
        rules: BucketRules,
        shares: Shares,
        priority: int,
        need: float,
        free: float,
        demand: ClassDemand,
        now: float,
    ) -> bool:
        if free - self._owed_to_others(priority, demand, now) >= need:
            return True
        if priority == 0 and self.may_borrow(rules, shares, need):
            return True
        return (
            self.credits[priority] >= need - _TOLERANCE and free - self._overdue(shares, priority, demand, now) >= need
        )

    def _owed_to_others(self, priority: int, demand: ClassDemand, now: float) -> float:
        """Return the credit of the other classes that wait; what the first is owed is kept for it anyway."""
        owed = 0.0
        for other in PRIORITY_CLASSES[1:]:
            if other != priority and self.credits[other] > 0 and demand.is_waiting(other, now):
                owed += self.credits[other]
        return owed

    def _overdue(self, shares: Shares, priority: int, demand: ClassDemand, now: float) -> int:
        """Return how many other classes wait with a call's credit and are further behind their share."""
        return sum(
            self.credits[other] >= 1 and self.credits[other] * shares[priority] > self.credits[priority] * shares[other]
            for other in PRIORITY_CLASSES
            if other != priority and demand.is_waiting(other, now)
        )

    def to_list(self) -> list[float]:
        """Return the credits as they are stored beside tokens and moment."""
        return [round(credit, 6) for credit in self.credits]

    @classmethod
    def from_row(cls, tokens: float, refilled_at: float, stored: Any) -> "TokenBucket":
        """Return the bucket that was stored."""
        return cls(tokens, refilled_at, [float(credit) for credit in stored] if stored else None)
