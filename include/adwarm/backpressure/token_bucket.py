"""A token bucket whose rate the four priority classes share: in any T seconds at most `burst + rate x T` tokens leave.

Each class also has a credit, in tokens. Rules:

| event            | tokens in the bucket                  | credit of a class                                         |
|------------------|---------------------------------------|-----------------------------------------------------------|
| time passes      | grow by `rate`, up to `burst`         | grows by its share of `rate`, up to a few seconds' worth  |
| a class takes    | fall by the cost                      | falls by the cost if it has credit, or if the tokens were |
|                  |                                       | owed to other classes; else stays: they were left over    |
| a call is undone | grow by the cost, up to `burst`       | grows by the cost                                         |

A class may take tokens when they are left over after the credits of the waiting classes, or when it has credit itself
and no waiting class is further behind its share. The first class (critical) may also take up to some seconds of its
share ahead of its credit, and half the burst is reserved for it while it makes requests.

A time before the last refill adds nothing. The module is pure: callers pass the time.
"""

from dataclasses import dataclass

import msgspec

from adwarm.backpressure.shares import PRIORITY_CLASSES, ClassDemand, Shares, is_recent

# Seconds since the epoch are precise to about a quarter of a microsecond, so an exact wait may end slightly early.
_TOLERANCE = 1e-4
_MIN_CREDIT_CAP = 2.0
_CREDIT_SECONDS = 4.0
"""The cap of a credit, in seconds of the class's share: a moment of critical calls alone costs the others nothing."""
_AHEAD_SECONDS = 8.0
_CRITICAL_RESERVE = 0.5
_LONGEST_POLL_SECONDS = 1.0
_MIN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class BucketRules:
    """Tokens per second, and the most tokens the bucket holds."""

    rate: float
    burst: float


def _first_credits() -> list[float]:
    return [1.0] * len(PRIORITY_CLASSES)


class TokenBucket(msgspec.Struct, array_like=True):
    """The bucket at the time `refilled_at`; stored as a list of its fields.

    Attributes:
        tokens: below zero after a request larger than the bucket.
        credits: of each class.
    """

    tokens: float
    refilled_at: float
    credits: list[float] = msgspec.field(default_factory=_first_credits)

    def refill(self, rules: BucketRules, shares: Shares, now: float) -> None:
        """Add the tokens and credits that were earned up to `now`."""
        if now <= self.refilled_at and self.tokens <= rules.burst:
            return
        earned = max(0.0, now - self.refilled_at) * rules.rate
        self.refilled_at = max(now, self.refilled_at)
        self.tokens = min(rules.burst, self.tokens + earned)
        depth = max(rules.burst, rules.rate * _CREDIT_SECONDS)
        for index in PRIORITY_CLASSES:
            cap = max(_MIN_CREDIT_CAP, shares[index] * depth)
            self.credits[index] = min(cap, self.credits[index] + shares[index] * earned)

    def wait_seconds(
        self, rules: BucketRules, shares: Shares, priority: int, cost: float, demand: ClassDemand | None, now: float
    ) -> float:
        """Return the seconds until `cost` may be taken; 0 when it may be taken now. Call `refill` first.

        A cost above the burst is admitted when the bucket is full, and leaves a debt that later callers wait for.

        Args:
            demand: who waits for this bucket; None when its rate is not divided between classes.
        """
        need = min(cost, rules.burst)
        reserved = self._reserved_for_critical(rules, priority, need, demand, now)
        missing = need + reserved - self.tokens
        if missing > _TOLERANCE:
            return missing / rules.rate
        if demand is None or self._has_claim(rules, shares, priority, need=need, demand=demand, now=now):
            return 0.0
        # Other classes may leave tokens over, so check again when the credit suffices, then once per token.
        earning = max(shares[priority], _MIN_SHARE) * rules.rate
        return min(_LONGEST_POLL_SECONDS, max(1 / rules.rate, (need - self.credits[priority]) / earning))

    def may_borrow(self, rules: BucketRules, shares: Shares, need: float) -> bool:
        """Whether the first class may take `need` tokens before it earned them."""
        return self.credits[0] - need >= -shares[0] * rules.rate * _AHEAD_SECONDS

    def take(self, rules: BucketRules, priority: int, cost: float, demand: ClassDemand | None, now: float) -> None:
        """Take `cost` tokens; call it only where `wait_seconds` is 0."""
        # Tokens that are owed to other classes are paid with credit, also with credit that has yet to be earned.
        reserved = self._reserved_for_critical(rules, priority, cost, demand, now)
        owed = self._owed_to_others(priority, demand, now) if demand is not None else 0.0
        if self.credits[priority] >= cost or self.tokens - reserved - owed < cost:
            self.credits[priority] -= cost
        self.tokens -= cost

    @staticmethod
    def _reserved_for_critical(
        rules: BucketRules, priority: int, need: float, demand: ClassDemand | None, now: float
    ) -> float:
        """Return the tokens reserved for the first class while it makes requests."""
        # The reserve leaves `need` and one token more, so that the other classes never wait for a full bucket.
        if demand is None or priority == 0 or not is_recent(demand.last_request_at[0], now):
            return 0.0
        return max(0.0, min(rules.burst * _CRITICAL_RESERVE, rules.burst - need - 1))

    def _has_claim(
        self, rules: BucketRules, shares: Shares, priority: int, need: float, demand: ClassDemand, now: float
    ) -> bool:
        """Whether the class may take `need` tokens that are in the bucket, given what the others are owed."""
        free = self.tokens - self._reserved_for_critical(rules, priority, need, demand, now)
        if free - self._owed_to_others(priority, demand, now) >= need:
            return True
        if priority == 0 and self.may_borrow(rules, shares, need):
            return True
        has_credit = self.credits[priority] >= need - _TOLERANCE
        return has_credit and free - self._further_behind(shares, priority, demand, now) >= need

    def _owed_to_others(self, priority: int, demand: ClassDemand, now: float) -> float:
        """Return the credit of the other waiting classes; the first has its reserve instead."""
        owed = 0.0
        for other in PRIORITY_CLASSES[1:]:
            if other != priority and self.credits[other] > 0 and demand.is_waiting(other, now):
                owed += self.credits[other]
        return owed

    def _further_behind(self, shares: Shares, priority: int, demand: ClassDemand, now: float) -> int:
        """Return how many other classes wait with a call's credit and are further behind their share."""
        return sum(
            self.credits[other] >= 1 and self.credits[other] * shares[priority] > self.credits[priority] * shares[other]
            for other in PRIORITY_CLASSES
            if other != priority and demand.is_waiting(other, now)
        )
