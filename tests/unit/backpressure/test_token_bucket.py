"""Tests of the token bucket that the classes share."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adwarm.backpressure.shares import ClassDemand
from adwarm.backpressure.token_bucket import BucketRules, TokenBucket
from adwarm.model import Priority

RULES = BucketRules(rate=5.0, burst=8.0)
SHARES = (0.4, 0.3, 0.2, 0.1)
CRITICAL, HIGH, NORMAL, LOW = Priority


class BucketMachine(RuleBasedStateMachine):
    """Callers of every class take what they may while time passes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1.7e9
        self.bucket = TokenBucket(RULES.burst, self.now)
        self.demand = ClassDemand()
        self.taken: list[tuple[float, float]] = []

    @rule(seconds=st.floats(0, 10))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(cost=st.floats(0.1, 8), priority=st.sampled_from(list(Priority)))
    def take_if_allowed(self, cost: float, priority: Priority) -> None:
        self.bucket.refill(RULES, SHARES, self.now)
        if self.bucket.wait_seconds(RULES, SHARES, priority, cost, self.demand, self.now) > 0:
            self.demand.record_wait(priority, self.now)
            return
        self.bucket.take(RULES, priority, cost, self.demand, self.now)
        self.demand.record_grant(priority, self.now)
        self.taken.append((self.now, cost))

    @rule(cost=st.floats(0.1, 8), priority=st.sampled_from(list(Priority)))
    def every_class_is_served_in_the_end(self, cost: float, priority: Priority) -> None:
        asked = self.now
        self.bucket.refill(RULES, SHARES, self.now)
        while (wait := self.bucket.wait_seconds(RULES, SHARES, priority, cost, self.demand, self.now)) > 0:
            self.demand.record_wait(priority, self.now)
            self.now += wait
            assert self.now - asked < 60
            self.bucket.refill(RULES, SHARES, self.now)

    @invariant()
    def no_window_holds_more_than_burst_and_rate(self) -> None:
        for index, (since, _) in enumerate(self.taken):
            spent = sum(cost for _, cost in self.taken[index:])
            assert spent <= RULES.burst + RULES.rate * (self.now - since) + 0.01


TestBucket = BucketMachine.TestCase
TestBucket.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def alone(tokens: float, cost: float, now: float = 0.0) -> float:
    """Return the wait of a call with that cost at an undivided bucket."""
    bucket = TokenBucket(tokens, 0.0)
    bucket.refill(RULES, SHARES, now)
    return bucket.wait_seconds(RULES, SHARES, NORMAL, cost, None, now)


def test_the_wait_is_exact() -> None:
    """Neither too short nor too long."""
    assert pytest.approx(0.2) == alone(0.0, 1)
    assert alone(0.0, 1, now=0.2) == 0


def test_a_cost_above_the_burst_goes_when_full_and_leaves_a_debt() -> None:
    """A large call is not refused forever, and later calls wait for its debt."""
    assert alone(8.0, 20) == 0
    assert pytest.approx(13 / 5) == alone(-12.0, 1)


def test_a_clock_that_steps_back_refills_nothing() -> None:
    """No token is made or lost when the clock is set back."""
    bucket = TokenBucket(0.0, 100.0)
    bucket.refill(RULES, SHARES, 90.0)

    assert (bucket.tokens, bucket.refilled_at) == (0.0, 100.0)


def served(offered: dict[Priority, float], seconds: float = 300.0, rate: float = 6.0) -> dict[Priority, float]:
    """Return the calls per second of each class, when it retries every 50 ms until its backlog is served."""
    rules, demand = BucketRules(rate, 4.0), ClassDemand()
    bucket = TokenBucket(4.0, 0.0)
    backlog, got = dict.fromkeys(offered, 0.0), dict.fromkeys(offered, 0)
    step = 0.05
    for turn in range(1, int(seconds / step)):
        now = turn * step
        order = list(offered)[turn % len(offered) :] + list(offered)[: turn % len(offered)]
        for priority in order:
            backlog[priority] += offered[priority] * step
            if backlog[priority] < 1:
                continue
            bucket.refill(rules, SHARES, now)
            if bucket.wait_seconds(rules, SHARES, priority, 1.0, demand, now) > 0:
                demand.record_wait(priority, now)
                continue
            bucket.take(rules, priority, 1.0, demand, now)
            demand.record_grant(priority, now)
            backlog[priority] -= 1
            got[priority] += 1
    return {priority: count / seconds for priority, count in got.items()}


def test_an_overload_divides_the_rate_by_shares() -> None:
    """Every class requests more than there is: 0.4, 0.3, 0.2 and 0.1 of the rate, and nothing is wasted."""
    got = served(dict.fromkeys(Priority, 9.0))

    assert [got[priority] / 6 for priority in Priority] == pytest.approx([0.4, 0.3, 0.2, 0.1], rel=0.1)
    assert sum(got.values()) == pytest.approx(6, rel=0.03)


def test_what_a_class_leaves_over_is_lent() -> None:
    """Critical uses less than its share, normal nothing: high and low take the rest, and nothing is wasted."""
    got = served({CRITICAL: 1.2, HIGH: 9.0, LOW: 9.0})

    assert got[CRITICAL] == pytest.approx(1.2, rel=0.05)
    assert got[LOW] >= 0.6
    assert sum(got.values()) == pytest.approx(6, rel=0.03)


def test_the_lowest_class_alone_has_the_whole_rate() -> None:
    """No higher class waits, so nothing is reserved."""
    assert served({LOW: 9.0})[LOW] == pytest.approx(6, rel=0.03)
