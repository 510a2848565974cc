"""The token bucket that classes share, and the concurrency limit."""

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adwarm.backpressure.concurrency import ConcurrencyLimit, LimitRules
from adwarm.backpressure.shares import ClassDemand
from adwarm.backpressure.token_bucket import BucketRules, TokenBucket

from . import SEARCH

RULES = BucketRules(rate=2.0, burst=6.0)
SHARES = (0.4, 0.3, 0.2, 0.1)
LIMIT = LimitRules(maximum=40, minimum=1)
CLASSES = st.integers(0, 3)


class BucketMachine(RuleBasedStateMachine):
    """Four classes take and wait in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.bucket, self.askers = TokenBucket(RULES.burst, self.now), ClassDemand()
        self.taken: list[tuple[float, float]] = []

    @rule(priority=CLASSES, cost=st.sampled_from([1.0, 1.0, 1.0, 2.0, 5.0]))
    def somebody_asks(self, priority: int, cost: float) -> None:
        """It takes what it asks for when there is nothing to wait for, and never waits without end."""
        self.bucket.refill(RULES, SHARES, self.now)
        wait = self.bucket.wait_seconds(RULES, SHARES, priority, cost, self.askers, self.now)
        assert 0 <= wait <= (cost + RULES.burst) / RULES.rate + 1.0
        if wait > 0:
            self.askers.record_wait(priority, self.now)
            return
        self.bucket.take(RULES, priority, cost, self.askers, self.now)
        self.askers.record_grant(priority, self.now)
        self.taken.append((self.now, cost))

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.5, 1.0, 3.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @rule(seconds=st.sampled_from([0.5, 10.0]))
    def the_clock_is_set_back(self, seconds: float) -> None:
        """A moment before the last one refills nothing."""
        before = self.bucket.tokens
        self.bucket.refill(RULES, SHARES, self.bucket.refilled_at - seconds)
        assert self.bucket.tokens <= before

    @invariant()
    def never_more_than_the_rate(self) -> None:
        """Over every stretch that ends now, at most burst plus rate times its length left the bucket."""
        total = 0.0
        for at, cost in reversed(self.taken):
            total += cost
            assert total <= RULES.burst + RULES.rate * (self.now - at) + 0.01

    @invariant()
    def it_can_be_stored(self) -> None:
        """What is stored gives the same bucket again."""
        assert msgspec.json.decode(msgspec.json.encode(self.bucket), type=TokenBucket) == self.bucket


class LimitMachine(RuleBasedStateMachine):
    """Calls go well or overload the platform, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.limit = 1_000.0, ConcurrencyLimit(LIMIT.maximum)
        self.cuts: list[float] = []

    @rule(in_flight=st.integers(0, 60))
    def a_call_succeeds(self, in_flight: int) -> None:
        """The limit rises by at most one call, and only while it is used."""
        before = self.limit.value
        self.limit = self.limit.after_success(LIMIT, in_flight)
        assert before <= self.limit.value <= before + 1
        if in_flight * 2 < before:
            assert self.limit.value == before

    @rule()
    def the_platform_is_overloaded(self) -> None:
        """The limit falls, at most once a second, and by no more than the cut."""
        before = self.limit
        self.limit = self.limit.after_overload(LIMIT, self.now)
        assert self.limit.value >= min(before.value, max(LIMIT.minimum, before.value * LIMIT.decrease_factor)) - 1e-9
        if self.limit.value < before.value:
            assert not self.cuts or self.now - self.cuts[-1] >= LIMIT.cut_interval_seconds
            self.cuts.append(self.now)

    @rule(seconds=st.sampled_from([0.01, 0.4, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @invariant()
    def it_stays_within_bounds(self) -> None:
        """At least one call may always be in flight, and never more than the most."""
        assert LIMIT.minimum <= self.limit.value <= LIMIT.maximum


TestBucket = BucketMachine.TestCase
TestBucket.settings = SEARCH
TestLimit = LimitMachine.TestCase
TestLimit.settings = SEARCH
