"""Tests of the circuit breaker."""

import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adwarm.backpressure.breaker import Breaker, BreakerRules, BreakerState

RULES = BreakerRules(window_seconds=60, min_calls=10, cooldown_seconds=30, probes=3)


def call(breaker: Breaker, now: float, ticket: str, *, failed: bool) -> Breaker:
    """Let one call pass and come back."""
    assert breaker.wait(RULES, now) == 0
    return breaker.admitted(now, ticket, now + 30).recorded(RULES, now, ticket, failed=failed)


def opened(now: float = 1000.0) -> Breaker:
    """A breaker that ten failures opened."""
    breaker = Breaker()
    for index in range(10):
        breaker = call(breaker, now, f"f{index}", failed=True)
    return breaker


def test_seven_errors_in_a_thousand_calls_do_not_open_it() -> None:
    """It judges a rate, not a count (BP-7)."""
    breaker = Breaker()
    for index in range(1000):
        breaker = call(breaker, 1000 + index / 100, str(index), failed=index % 143 == 0)

    assert BreakerState.CLOSED is breaker.state


def test_it_needs_a_minimum_volume() -> None:
    """Nine failures out of nine are too few to judge; the tenth opens it."""
    breaker = Breaker()
    for index in range(9):
        breaker = call(breaker, 1000, str(index), failed=True)

    assert BreakerState.CLOSED is breaker.state
    assert BreakerState.OPEN is call(breaker, 1000, "9", failed=True).state


def test_old_failures_leave_the_window() -> None:
    """Failures of more than a window ago are forgotten."""
    breaker = Breaker()
    for index in range(9):
        breaker = call(breaker, 1000, str(index), failed=True)

    assert BreakerState.CLOSED is call(breaker, 1061, "late", failed=True).state


def test_probes_close_it_again() -> None:
    """After the cool-down three probes that go well close it, and growth starts anew (BP-8)."""
    breaker = opened()
    assert breaker.wait(RULES, 1000) == 30
    for index in range(3):
        breaker = call(breaker, 1030 + index, f"p{index}", failed=False)

    assert (breaker.state, breaker.trips) == (BreakerState.CLOSED, 0)


def test_a_failed_probe_opens_it_for_longer() -> None:
    """The cool-down doubles with every failed return, up to its maximum."""
    breaker, now, waits = opened(), 1000.0, []
    for index in range(8):
        waits.append(breaker.wait(RULES, now))
        now += waits[-1]
        breaker = call(breaker, now, f"p{index}", failed=True)

    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]


def test_half_open_lets_only_the_probes_pass() -> None:
    """The fourth caller waits; a dead prober's place is free again at its expiry; one that taught nothing frees it."""
    breaker = opened()
    for index in range(3):
        breaker = breaker.admitted(1030, f"p{index}", 1060)

    assert breaker.wait(RULES, 1030) == 30
    assert breaker.wait(RULES, 1060) == 0
    assert breaker.forgotten("p1").wait(RULES, 1031) == 0


def test_stragglers_do_not_move_it() -> None:
    """An outcome of a call from before the opening neither closes nor reopens it."""
    breaker = opened()

    assert breaker == breaker.recorded(RULES, 1001, "f0", failed=False)
    half = breaker.admitted(1030, "p0", 1060)
    assert half == half.recorded(RULES, 1031, "f0", failed=True)


class BreakerMachine(RuleBasedStateMachine):
    """Calls pass, end well or badly, or never end, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.breaker = Breaker()
        self.running: list[str] = []
        self.count = 0
        self.opened_at: float | None = None

    def move(self, after: Breaker) -> None:
        if after.state is BreakerState.OPEN and self.breaker.state is not BreakerState.OPEN:
            self.opened_at = self.now
        self.breaker = after

    @rule(seconds=st.floats(0, 100))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        if self.breaker.wait(RULES, self.now) > 0:
            return
        if self.breaker.state is BreakerState.OPEN and self.opened_at is not None:
            assert self.now >= self.opened_at + RULES.cooldown_seconds
        self.count += 1
        self.move(self.breaker.admitted(self.now, str(self.count), self.now + 30))
        self.running.append(str(self.count))

    @rule(data=st.data(), failed=st.booleans())
    def end(self, data: st.DataObject, failed: bool) -> None:
        if self.running:
            ticket = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
            self.move(self.breaker.recorded(RULES, self.now, ticket, failed=failed))

    @rule()
    def fail_hard(self) -> None:
        for index in range(RULES.min_calls):
            if self.breaker.state is BreakerState.CLOSED:
                self.move(self.breaker.recorded(RULES, self.now, f"x{index}", failed=True))

    @invariant()
    def probes_are_bounded(self) -> None:
        live = [until for _, until in self.breaker.probes if until > self.now]
        assert len(live) + self.breaker.probes_well <= RULES.probes

    @invariant()
    def it_is_never_stuck(self) -> None:
        assert self.breaker.wait(RULES, self.now) <= RULES.max_cooldown_seconds
        assert self.breaker.wait(RULES, self.now + RULES.max_cooldown_seconds) == 0

    @invariant()
    def it_survives_storage(self) -> None:
        stored = json.loads(json.dumps(self.breaker.to_dict()))
        again = Breaker.from_dict(str(self.breaker.state), self.breaker.changed_at, self.breaker.probe_at, stored)
        assert again == self.breaker


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
