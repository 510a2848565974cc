"""What is known of one scope: its limit, bucket, parking and usage, as one value that maps to one row.

Rules come from the settings at each use, so that a changed setting takes hold without touching what is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from sqlalchemy import RowMapping

from adwarm.backpressure.concurrency import ConcurrencyLimit, LimitRules
from adwarm.backpressure.parking import Parking
from adwarm.backpressure.token_bucket import BucketRules, TokenBucket
from adwarm.backpressure.usage import SLOW_FACTOR, Pace, band, pace
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.settings import BackpressureSettings

_LATENCY_WEIGHT = 0.2
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ScopeRules:
    """The rules of one scope. Accounts have no bucket of their own: the fleet's rate and their few slots bound them."""

    limit: LimitRules
    bucket: BucketRules | None

    @classmethod
    def of(cls, scope: Scope, settings: BackpressureSettings) -> "ScopeRules":
        """Return the rules that the settings give `scope`."""
        if scope.kind is ScopeKind.ACCOUNT:
            return cls(LimitRules(maximum=settings.per_account_concurrent), None)
        return cls(LimitRules(maximum=settings.max_concurrent), BucketRules(settings.rate_per_second, settings.burst))


@dataclass(frozen=True, slots=True)
class ScopeState:
    """One scope at a moment. Every change returns a new value.

    Attributes:
        usage: percent of the platform's quota used, as last heard at `usage_at`.
        pause_until: a slow account rests this long between two calls.
        latency: moving average of a call, in seconds.
        asked: when each class last asked for a slot (kept for shared scopes).
    """

    scope: Scope
    rules: ScopeRules
    limit: ConcurrencyLimit
    bucket: TokenBucket
    parking: Parking = field(default_factory=Parking)
    usage: float | None = None
    usage_at: float = 0.0
    pause_until: float = 0.0
    latency: float = 0.0
    asked: Mapping[Priority, float] = field(default_factory=dict)

    @classmethod
    def fresh(cls, scope: Scope, rules: ScopeRules, now: float) -> "ScopeState":
        """Return a scope nobody has called yet: at its widest, with a full bucket."""
        full = TokenBucket(rules.bucket.burst if rules.bucket else 0.0, now)
        return cls(scope, rules, ConcurrencyLimit(rules.limit.maximum), full)

    @classmethod
    def from_row(cls, scope: Scope, rules: ScopeRules, row: RowMapping) -> "ScopeState":
        """Return the scope that was stored as `row`."""
        data = row["state"]
        return cls(
            scope,
            rules,
            ConcurrencyLimit(row["limit"], data.get("cut_at", 0.0)),
            TokenBucket(row["tokens"], row["refilled_at"]),
            Parking(row["parked_until"], row["parked_why"]),
            row["usage"],
            data.get("usage_at", 0.0),
            data.get("pause_until", 0.0),
            data.get("latency", 0.0),
            {Priority(int(name)): float(at) for name, at in data.get("asked", {}).items()},
        )

    def to_row(self) -> dict[str, Any]:
        """Return the row that stores this scope."""
        return {
            "scope": str(self.scope),
            "limit": self.limit.value,
            "tokens": self.bucket.tokens,
            "refilled_at": self.bucket.refilled_at,
            "parked_until": self.parking.until,
            "parked_why": self.parking.why,
            "usage": self.usage,
            "state": {
                "cut_at": self.limit.cut_at,
                "usage_at": self.usage_at,
                "pause_until": self.pause_until,
                "latency": self.latency,
                "asked": {str(int(priority)): at for priority, at in self.asked.items()},
            },
        }

    def pace(self, now: float) -> Pace:
        """Return how the platform's usage figures let the scope be called at `now`."""
        return pace(self.usage, now - self.usage_at)

    @property
    def is_shared(self) -> bool:
        """Whether many accounts draw on the scope, so that its calls are divided by priority."""
        return self.scope.kind is not ScopeKind.ACCOUNT

    def slots(self) -> int:
        """Return the calls that may be in flight."""
        return self.limit.slots(self.rules.limit)

    def bucket_rules(self, now: float) -> BucketRules | None:
        """Return the bucket's rules in force at `now`: half the rate while the scope is slow."""
        if self.rules.bucket is None or self.pace(now) is Pace.FREE:
            return self.rules.bucket
        return self.rules.bucket.slowed(SLOW_FACTOR)

    def asking(self, priority: Priority, now: float) -> "ScopeState":
        """Return the scope after a class asked for a slot."""
        return replace(self, asked={**self.asked, priority: now})

    def charged(self, cost: float, now: float) -> "ScopeState":
        """Return the scope after `cost` tokens were taken."""
        rules = self.bucket_rules(now)
        return self if rules is None else replace(self, bucket=self.bucket.taken(rules, cost, now))

    def succeeded(self, latency_seconds: float, in_flight: int, now: float) -> "ScopeState":
        """Return the scope after a call that went well."""
        old = self.latency or latency_seconds
        latency = old + _LATENCY_WEIGHT * (latency_seconds - old)
        limit = self.limit.after_success(self.rules.limit, in_flight)
        resting = self.rules.bucket is None and self.pace(now) is not Pace.FREE
        # A rest as long as the call was halves what one account is asked, whatever its calls take.
        pause = now + min(_LONGEST_PAUSE_SECONDS, latency_seconds) if resting else self.pause_until
        return replace(self, limit=limit, latency=latency, pause_until=pause)

    def overloaded(self, now: float) -> "ScopeState":
        """Return the scope after a throttle or a timeout."""
        return replace(self, limit=self.limit.after_overload(self.rules.limit, now))

    def parked(self, seconds: float | None, why: str, now: float, rng: Random) -> "ScopeState":
        """Return the scope parked for `seconds` or longer."""
        return replace(self, parking=self.parking.extended(now, seconds, why, rng))

    def heard(self, samples: tuple[UsageSample, ...], now: float, rng: Random) -> "ScopeState":
        """Return the scope after the platform's figures about it; the worst one counts."""
        about = [sample for sample in samples if sample.scope == self.scope]
        if not about:
            return self
        worst = max(about, key=lambda sample: (sample.percent, sample.regain_seconds or 0.0))
        state = replace(self, usage=worst.percent, usage_at=now)
        if band(worst.percent) is Pace.PARK:
            return state.parked(worst.regain_seconds, f"usage at {worst.percent:.0f} %", now, rng)
        return state
