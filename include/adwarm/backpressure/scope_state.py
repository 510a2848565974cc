"""The state of one capacity scope: its limit, rate, usage and the calls in flight, one row; and its parking, a gate.

A parked scope must not be called before a known time. Transitions of `Parking`:

| event                                              | next parking                                                   |
|----------------------------------------------------|----------------------------------------------------------------|
| the platform throttles, and names a time           | until that time plus up to 10 % at random, so that scopes      |
|                                                    | parked together do not resume together                         |
| it throttles and names no time, or one that is NaN | the same with `DEFAULT_PARK_SECONDS`                           |
| it asks for more than the longest park             | until a random time in the last tenth before the longest park  |
| the new end would be earlier than the current one  | unchanged: a parking is extended, never shortened              |
| the end passes                                     | free                                                           |
| a human opens its gate                             | ends now; the usage that was reported before counts no more    |

The longest park bounds what the platform asks for: a wait of years is an error in the response and would disable an
account for good.

Rules come from the settings at each use, so a changed setting takes effect without a change to stored rows. The state
changes in place and is pure: callers pass the time and the random generator.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, isnan
from operator import attrgetter
from random import Random

import msgspec

from adwarm.backpressure.concurrency import ConcurrencyLimit, LatencyBaseline, LimitRules
from adwarm.backpressure.quota_usage import CEILING_PERCENT, CRITICAL_CEILING_PERCENT, Pace, UsageMeter, pace_for
from adwarm.backpressure.shares import PRIORITY_CLASSES, ClassDemand, Shares, free_slots
from adwarm.backpressure.token_bucket import BucketRules, TokenBucket
from adwarm.foundation.gate import Gate, OpenedBy, Rule
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.settings import BackpressureSettings

DEFAULT_PARK_SECONDS = 60.0
PARK_JITTER = 0.1
MAX_PARK_SECONDS = 86_400.0
_KEPT_SECONDS = 86_400.0
"""How long a parking is known after its end: usage figures from before it count no more."""
LATENCY_WEIGHT = 0.2
"""The weight of a call in the moving average of latencies."""

_TARGET_PERCENT = CEILING_PERCENT - 0.2
"""The usage that the rate is steered to, a little below the percentage where calls would have to stop."""
_PACED_BURST = 4.0
_CRITICAL_RESERVE = 0.25
_WINDOW_BURST = 0.02


@dataclass(frozen=True, slots=True)
class Parking:
    """Until when a scope is parked, why, and since when; not parked by default."""

    until: float | None = None
    reason: str | None = None
    since: float | None = None

    def remaining_seconds(self, now: float) -> float:
        """Return the seconds left, 0 when the scope is free."""
        return max(0.0, self.until - now) if self.until is not None else 0.0

    def extended(
        self, now: float, seconds: float | None, reason: str, rng: Random, max_seconds: float = MAX_PARK_SECONDS
    ) -> "Parking":
        """Return the parking after the platform asked at `now` not to be called for `seconds`, None for no time."""
        requested = DEFAULT_PARK_SECONDS if seconds is None or isnan(seconds) else max(0.0, seconds)
        jitter = PARK_JITTER * rng.random()
        until = now + (
            max_seconds * (1 - jitter) if requested > max_seconds else min(max_seconds, requested * (1 + jitter))
        )
        if self.until is not None and self.until >= until:
            return self
        return Parking(until, reason, self.since if self.remaining_seconds(now) > 0 else now)

    def to_gate(self, scope: str) -> Gate:
        """Return the gate of a scope with this parking, as it is stored."""
        until = self.until or 0.0
        since = until if self.since is None else self.since
        kept_until = until + _KEPT_SECONDS
        return Gate(
            scope=scope,
            rule=Rule.PARK,
            since=since,
            closed_until=self.until,
            why=self.reason or "",
            opened_by=OpenedBy.TIME,
            kept_until=kept_until,
        )

    def ended(self, now: float) -> "Parking":
        """Return the parking with its end at `now` at the latest."""
        return replace(self, until=now) if self.remaining_seconds(now) > 0 else self

    def bounded(self, now: float, max_seconds: float) -> "Parking":
        """Return the parking, shortened to `max_seconds` from now if it was stored with a later end."""
        return replace(self, until=now + max_seconds) if self.remaining_seconds(now) > max_seconds else self


@dataclass(frozen=True, slots=True)
class ScopeRules:
    """The rules of one scope.

    Attributes:
        bucket: its rate; None where only wider scopes bound it.
        window_seconds: the rolling window in which the platform counts.
        is_shared: whether many accounts draw on it, so that its rate is divided by class.
        max_park_seconds: the longest time it is parked, whatever the platform asks for.
    """

    limit: LimitRules
    bucket: BucketRules | None
    window_seconds: float
    is_shared: bool
    max_park_seconds: float

    @classmethod
    def from_settings(cls, scope: Scope, settings: BackpressureSettings) -> "ScopeRules":
        """Return the rules of `scope`."""
        window, max_park = settings.quota_window_seconds, MAX_PARK_SECONDS
        if scope.kind is ScopeKind.ACCOUNT:
            bucket = _window_bucket(settings.account_calls_per_window, settings)
            return cls(LimitRules(maximum=settings.per_account_concurrent), bucket, window, False, max_park)
        bucket = BucketRules(settings.rate_per_second, settings.burst)
        return cls(LimitRules(maximum=settings.max_concurrent), bucket, window, True, max_park)


def _window_bucket(calls: int | None, settings: BackpressureSettings) -> BucketRules | None:
    """Return the fastest bucket that never admits more than `calls` in one window."""
    if calls is None:
        return None
    burst = max(1.0, min(float(settings.burst), calls * _WINDOW_BURST))
    return BucketRules(max(1.0, calls - burst) / settings.quota_window_seconds, burst)


class Ledger(msgspec.Struct, array_like=True):
    """What the row of the fleet holds of all grants; see `SharedBudget`."""

    last_token: int = 0
    next_expiry: float | None = None


class _Stored(msgspec.Struct, omit_defaults=True):
    """The attributes of a `ScopeState` that are stored; those that a row lacks are as those of a new scope."""

    limit: ConcurrencyLimit | None = None
    bucket: TokenBucket | None = None
    meter: UsageMeter | None = None
    latency_baseline: LatencyBaseline | None = None
    mean_latency: float = 0.0
    in_flight_by_class: list[int] | None = None
    slot_demand: ClassDemand | None = None
    rate_demand: ClassDemand | None = None
    ledger: Ledger | None = None


_DECODER = msgspec.json.Decoder(_Stored)
_STORED = attrgetter(*_Stored.__struct_fields__)


class ScopeState:
    """One scope at a point in time.

    Args:
        now: when a new scope begins.
        stored: what `to_json` returned of it; without it the scope is new. Its parking is a gate of its own.

    Attributes:
        ledger: of the fleet; None of any other scope.
        mean_latency: moving average of the latency of a call, in seconds.
        latency_baseline: the latency over the last minutes, which tells slow calls.
        overlong_park_seconds: the longest park that the platform asked for and that was cut; not stored.
    """

    def __init__(self, scope: Scope, rules: ScopeRules, now: float, stored: str = "{}") -> None:
        values = _DECODER.decode(stored)
        self.scope = scope
        self.name = str(scope)
        self.rules = rules
        self.parking = Parking()
        self.overlong_park_seconds: float | None = None
        self.limit = values.limit or ConcurrencyLimit(rules.limit.maximum)
        self.bucket = values.bucket or TokenBucket(rules.bucket.burst if rules.bucket else 1.0, now)
        self.meter = values.meter or UsageMeter(rules.window_seconds)
        self.meter.window_seconds = rules.window_seconds
        self.latency_baseline = values.latency_baseline or LatencyBaseline()
        self.mean_latency = values.mean_latency
        self.in_flight_by_class = values.in_flight_by_class or [0] * len(PRIORITY_CLASSES)
        self.slot_demand = values.slot_demand or ClassDemand()
        self.rate_demand = values.rate_demand or ClassDemand()
        self.ledger = values.ledger

    @property
    def in_flight(self) -> int:
        """Calls in flight, of every class."""
        return sum(self.in_flight_by_class)

    def slots(self) -> int:
        """Return the limit in whole calls, within the bounds of the rules as they are now."""
        rules = self.rules.limit
        return int(min(rules.maximum, max(rules.minimum, self.limit.value)) + 1e-9)

    def free_slots(self, shares: Shares, priority: Priority, now: float) -> int:
        """Return how many more calls the class may have in flight."""
        return free_slots(
            self.slots(), shares, priority, in_flight=self.in_flight_by_class, demand=self.slot_demand, now=now
        )

    def usage_percent(self, now: float) -> float | None:
        """Return the percentage of the platform's quota in use.

        None before the first figure, and after a parking that ended since the last one: the figure is out of date.
        """
        if self.meter.percent is None:
            return None
        until = self.parking.until
        if until is not None and self.meter.reported_at <= until <= now:
            return None
        return self.meter.estimate_percent(now)

    def pace(self, now: float) -> Pace:
        """Return how the usage lets the scope be called; at most `CRITICAL_ONLY`, because a park has its own end."""
        return min(Pace.CRITICAL_ONLY, pace_for(self.usage_percent(now)))

    def calls_left(self, priority: Priority, now: float) -> float:
        """Return the calls that the class may make before it reaches its ceiling."""
        if self.usage_percent(now) is None:
            return float("inf")
        ceiling = CRITICAL_CEILING_PERCENT if priority is Priority.CRITICAL else CEILING_PERCENT
        return self.meter.calls_left(ceiling, now)

    def bucket_rules(self, now: float) -> BucketRules | None:
        """Return the rate in force: the configured one, or a lower one that makes the quota last."""
        rules, pace = self.rules.bucket, self.pace(now) if self.meter.percent is not None else Pace.FREE
        if pace is Pace.FREE:
            return rules
        ceiling = _TARGET_PERCENT if pace is Pace.SLOW else CRITICAL_CEILING_PERCENT
        sustainable = max(self.meter.sustainable_rate(ceiling, now), 1e-6)
        if rules is None:
            return BucketRules(sustainable, max(1.0, sustainable))
        rate = min(rules.rate, sustainable)
        return BucketRules(rate, min(rules.burst, max(_PACED_BURST, rate)))

    def rate_wait_seconds(self, shares: Shares, priority: Priority, cost: float, now: float) -> float:
        """Return the seconds until the rate lets the class take `cost` tokens; 0 when it does now."""
        rules = self.bucket_rules(now)
        if rules is None:
            return 0.0
        self.bucket.refill(rules, shares, now)
        may_borrow = priority is Priority.CRITICAL and self.bucket.may_borrow(rules, shares, cost)
        if may_borrow and self.bucket.tokens + self._critical_reserve(now) >= cost:
            return 0.0
        return self.bucket.wait_seconds(rules, shares, priority, cost, demand=self._rate_division(now), now=now)

    def _critical_reserve(self, now: float) -> float:
        """Return the tokens that critical calls may take ahead of the rate: a part of the quota above the ceiling."""
        if self.meter.percent is None or self.pace(now) is Pace.FREE:
            return 0.0
        return (CRITICAL_CEILING_PERCENT - CEILING_PERCENT) * _CRITICAL_RESERVE / self.meter.percent_per_call

    def record_grant(self, priority: Priority, cost: float, now: float) -> None:
        """Take a slot and tokens; call it only where a slot is free and the rate allows it."""
        rules = self.bucket_rules(now)
        if rules is not None:
            self.bucket.take(rules, priority, cost, self._rate_division(now), now)
        self.slot_demand.record_grant(priority, now)
        self.rate_demand.record_grant(priority, now)
        self.in_flight_by_class[priority] += 1
        if self.scope.kind is not ScopeKind.FLEET:  # the platform counts per account, app and token, not per fleet
            self.meter.record_calls(cost, now)

    def release_slot(self, priority: Priority) -> None:
        """Return a slot."""
        self.in_flight_by_class[priority] = max(0, self.in_flight_by_class[priority] - 1)

    def record_success(self, latency_seconds: float, in_flight: int, now: float) -> None:
        """Learn from a call that succeeded; a very slow one counts as a sign of overload."""
        mean = self.mean_latency or latency_seconds
        self.mean_latency = mean + LATENCY_WEIGHT * (latency_seconds - mean)
        if self.latency_baseline.observe(latency_seconds, now):
            self.record_overload(now)
        else:
            self.limit = self.limit.after_success(self.rules.limit, in_flight)

    def record_overload(self, now: float) -> None:
        """Cut the limit after a throttle, a timeout or a slow call."""
        self.limit = self.limit.after_overload(self.rules.limit, now)

    def park(self, seconds: float | None, reason: str, now: float, rng: Random) -> None:
        """Park the scope for at least `seconds`, within the longest park of the rules."""
        longest = self.rules.max_park_seconds
        if seconds is not None and seconds > longest:
            self.overlong_park_seconds = max(seconds, self.overlong_park_seconds or 0.0)
        self.parking = self.parking.extended(now, seconds, reason, rng, longest)

    def unpark(self, now: float) -> bool:
        """End the parking now, as a human asks for; return whether the scope was parked."""
        before, self.parking = self.parking, self.parking.ended(now)
        return before is not self.parking

    def record_usage(self, samples: Iterable[UsageSample], in_flight: int, now: float, rng: Random) -> None:
        """Take in the platform's figures about this scope: the highest one counts, infinite ones and NaN do not."""
        own = [sample for sample in samples if sample.scope == self.scope and isfinite(sample.percent)]
        if not own:
            return
        worst = max(own, key=lambda sample: (sample.percent, sample.regain_seconds or 0.0))
        self.meter.record_usage(worst.percent, in_flight, now)
        if pace_for(worst.percent) is Pace.PARK:
            self.park(worst.regain_seconds, f"usage at {worst.percent:.0f} %", now, rng)

    def _rate_division(self, now: float) -> ClassDemand | None:
        """Return the demand by which classes divide the rate."""
        # None where they do not: at an account, and while only critical calls pass.
        if not self.rules.is_shared:
            return None
        return self.rate_demand if self.meter.percent is None or self.pace(now) is not Pace.CRITICAL_ONLY else None

    def to_json(self) -> str:
        """Return what is stored of this scope."""
        return msgspec.json.encode(_Stored(*_STORED(self))).decode()
