"""A token bucket: over any stretch of T seconds at most `burst + rate x T` tokens leave it.

Pure: the moment is handed in, the state is a value. A moment before the last one refills nothing.
"""

from dataclasses import dataclass, replace

# Seconds since the epoch carry about a quarter of a microsecond, so that an exact wait may come a hair early.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class BucketRules:
    """Tokens per second, and the most the bucket holds."""

    rate: float
    burst: float

    def slowed(self, factor: float) -> "BucketRules":
        """Return the same bucket filling at `factor` of its rate."""
        return replace(self, rate=self.rate * factor)


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """Tokens at the moment `refilled_at`. Below zero after a request larger than the bucket."""

    tokens: float
    refilled_at: float

    def refilled(self, rules: BucketRules, now: float) -> "TokenBucket":
        """Return the bucket as it stands at `now`."""
        passed = max(0.0, now - self.refilled_at)
        return TokenBucket(min(rules.burst, self.tokens + passed * rules.rate), max(now, self.refilled_at))

    def wait(self, rules: BucketRules, cost: float, now: float) -> float:
        """Return the seconds until `cost` may be taken; 0 when it may be taken now.

        A cost above the burst goes when the bucket is full, and leaves a debt that later callers wait for.
        """
        missing = min(cost, rules.burst) - self.refilled(rules, now).tokens
        return 0.0 if missing <= _TOLERANCE else missing / rules.rate

    def taken(self, rules: BucketRules, cost: float, now: float) -> "TokenBucket":
        """Return the bucket after `cost` was taken at `now`."""
        full = self.refilled(rules, now)
        return replace(full, tokens=full.tokens - cost)
