"""The circuit breaker against a list of events."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState

from . import SEARCH

RULES = BreakerRules(error_rate=0.5, window_seconds=60, min_calls=6, cooldown_seconds=30, probes=3)
LEASE_SECONDS = 20.0


@dataclass(frozen=True)
class Call:
    """A call that was admitted; `probe` when it tests the upstream."""

    ticket: str
    until: float
    probe: bool


class BreakerMachine(RuleBasedStateMachine):
    """Calls are admitted and succeed, fail or never end, in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.breaker, self.number = 1_000.0, Breaker(), 0
        self.flying: list[Call] = []
        self.results: list[tuple[float, bool]] = []
        self.well = 0

    @rule()
    def a_call_asks(self) -> None:
        """It is admitted exactly when there is no wait."""
        before = self.breaker
        if before.wait_seconds(RULES, self.now) > 0:
            return
        self.number += 1
        call = Call(str(self.number), self.now + LEASE_SECONDS, before.state is not BreakerState.CLOSED)
        self.breaker = before.after_admission(self.now, call.ticket, call.until)
        if before.state is BreakerState.OPEN:
            assert self.now >= before.probe_at
            self.well = 0
        self.flying.append(call)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), failed=st.booleans())
    def a_call_comes_back(self, data: st.DataObject, failed: bool) -> None:
        """Only a probe's outcome moves a half-open breaker, and only enough failures open a closed one."""
        call = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        before = self.breaker
        is_live = any(ticket == call.ticket for ticket, _ in before.probes)
        self.breaker = before.after_call(RULES, self.now, call.ticket, failed=failed)
        if before.state is BreakerState.CLOSED:
            self.results.append((self.now, failed))
            self._judge_opening()
        elif before.state is BreakerState.OPEN or not is_live:
            assert self.breaker == before
        elif failed:
            assert self.breaker.state is BreakerState.OPEN
        else:
            self.well += 1
            assert (self.breaker.state is BreakerState.CLOSED) == (self.well >= RULES.probes)
        if self.breaker.state is not before.state:
            self.results = []

    def _judge_opening(self) -> None:
        """It opened on a failure with enough failures in a window, and enough failures did open it."""
        if self.breaker.state is BreakerState.OPEN:
            inside = [failed for at, failed in self.results if at > self.now - RULES.window_seconds]
            assert self.results[-1][1]
            assert len(inside) >= RULES.min_calls
            assert sum(inside) >= RULES.error_rate * len(inside)
            return
        sure = [failed for at, failed in self.results if at > self.now - RULES.window_seconds * 0.9]
        older = [failed for at, failed in self.results if at <= self.now - RULES.window_seconds * 0.9]
        if sure[-1] and len(sure) >= RULES.min_calls:
            assert sum(sure) < RULES.error_rate * (len(sure) + len(older))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def a_worker_dies(self, data: st.DataObject) -> None:
        """Its call never ends; a probe's place is free again at its expiry."""
        self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 7.0, 30.0, 61.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        """The wait never exceeds the cool-down."""
        self.now += seconds
        assert self.breaker.wait_seconds(RULES, self.now) <= RULES.cooldown_seconds

    @invariant()
    def probes_are_few(self) -> None:
        """No more probes are live than are needed to close."""
        live = sum(until > self.now for _, until in self.breaker.probes)
        assert live + self.breaker.successful_probes <= RULES.probes

    @invariant()
    def it_can_be_stored(self) -> None:
        """A stored breaker is loaded unchanged."""
        assert Breaker.from_dict(self.breaker.to_dict()) == self.breaker


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = SEARCH
