"""Tests of the token bucket."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adwarm.backpressure.token_bucket import BucketRules, TokenBucket

RULES = BucketRules(rate=5.0, burst=8.0)


class BucketMachine(RuleBasedStateMachine):
    """Callers take what they may while time passes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.start = self.now = 1.7e9
        self.bucket = TokenBucket(RULES.burst, self.now)
        self.taken: list[tuple[float, float]] = []

    @rule(seconds=st.floats(0, 10))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(cost=st.floats(0.1, 8))
    def take_if_allowed(self, cost: float) -> None:
        if self.bucket.wait(RULES, cost, self.now) == 0:
            self.bucket = self.bucket.taken(RULES, cost, self.now)
            self.taken.append((self.now, cost))

    @rule(cost=st.floats(0.1, 20))
    def wait_and_take(self, cost: float) -> None:
        self.now += self.bucket.wait(RULES, cost, self.now)
        assert self.bucket.wait(RULES, cost, self.now) == 0
        if cost <= RULES.burst:
            self.bucket = self.bucket.taken(RULES, cost, self.now)
            self.taken.append((self.now, cost))

    @invariant()
    def no_window_holds_more_than_burst_and_rate(self) -> None:
        for index, (since, _) in enumerate(self.taken):
            spent = sum(cost for _, cost in self.taken[index:])
            assert spent <= RULES.burst + RULES.rate * (self.now - since) + 0.01


TestBucket = BucketMachine.TestCase
TestBucket.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_a_cost_above_the_burst_goes_when_full_and_leaves_a_debt() -> None:
    """A large call is not refused for ever, and those after it pay for it."""
    bucket = TokenBucket(8.0, 0.0)

    assert bucket.wait(RULES, 20, 0.0) == 0
    assert pytest.approx(13 / 5) == bucket.taken(RULES, 20, 0.0).wait(RULES, 1, 0.0)


def test_a_clock_that_steps_back_refills_nothing() -> None:
    """Neither is a token made nor one lost when the clock is set back."""
    bucket = TokenBucket(0.0, 100.0).refilled(RULES, 90.0)

    assert TokenBucket(0.0, 100.0) == bucket
