"""The admission rules: may this call go now, and if not, what lacks capacity and for how long?

Rules, in the order in which they are checked. The first group that has an answer decides; within it, the longest wait:

1. Hard limits, whoever holds a slot: the gates (`adwarm.foundation.gate.may_call`), and a scope whose quota is used
   up to the ceiling of the class (90 %, critical calls 98 %). A park and a quota come before a breaker: an open one
   rejects the call, one whose probes are all in flight lets it wait.
2. Capacity: a slot in every scope, within the shares of the classes (the first scope without one), and the rate of
   every scope (the longest wait). The longer of the two waits counts.

The functions are pure: no I/O, no clock, no randomness, and they take no capacity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from adwarm.backpressure.admission import CallRequest, Rejected, Wait
from adwarm.backpressure.breakers import ScopedBreaker
from adwarm.backpressure.quota_usage import USAGE_FRESH_SECONDS, WINDOW_INTERVALS, Pace
from adwarm.backpressure.scope_state import ScopeState
from adwarm.backpressure.shares import Shares
from adwarm.foundation.circuit import BreakerState
from adwarm.foundation.gate import Gate, GateState, Rule, may_call
from adwarm.model import Priority

MIN_POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 1.0
SWITCH_POLL_SECONDS = 60.0
"""When a call is worth another attempt that was stopped because calls are switched off."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """Everything the rules depend on. `states` are ordered from the narrowest scope to the fleet.

    Attributes:
        switch: the gate of all calls; None when it was never turned.
    """

    call: CallRequest
    states: Sequence[ScopeState]
    breakers: Sequence[ScopedBreaker]
    shares: Shares
    now: float
    switch: Gate | None = None

    @property
    def is_probe(self) -> bool:
        """Whether the call would test an upstream whose breaker is not closed."""
        return any(guard.breaker.state is not BreakerState.CLOSED for guard in self.breakers)

    @property
    def gates(self) -> list[Gate]:
        """What may forbid the call: the switch of calls, parks, and breakers that are not closed."""
        switches = [] if self.switch is None else [self.switch]
        parks = [state.parking.to_gate(state.name) for state in self.states if state.parking.until is not None]
        failing = (guard for guard in self.breakers if guard.breaker.state is not BreakerState.CLOSED)
        return [*switches, *parks, *(guard.to_gate(self.now) for guard in failing)]


def check_hard_limits(request: AdmissionRequest) -> Wait | Rejected | None:
    """Return the longest wait for a park or a quota, else the answer of the breakers, else None."""
    longest: Wait | None = None
    for state in request.states:
        longest = longer_wait(longest, _check_quota(state, request))
    gate = may_call(request.gates, request.now)
    if gate is None or (longest is not None and gate.rule is Rule.BREAKER):
        return longest
    answer = _answer_of(gate, gate.remaining_seconds(request.now))
    return answer if isinstance(answer, Rejected) else longer_wait(answer, longest)


def _answer_of(gate: Gate, seconds: float) -> Wait | Rejected:
    """Return the answer to a caller at a closed gate."""
    if gate.rule is Rule.SWITCH:
        return Wait(SWITCH_POLL_SECONDS, gate.why, gate.scope)
    if gate.rule is Rule.PARK:
        return Wait(seconds, f"{gate.scope} is parked for {seconds:.0f} s: {gate.why}", gate.scope)
    if gate.state is GateState.TESTING:
        return Wait(min(seconds, MAX_POLL_SECONDS), f"{gate.scope} is being tested by probes", gate.scope)
    return Rejected(f"{gate.scope} failed too often and is not called for {seconds:.0f} s", seconds, gate.scope)


def _check_quota(state: ScopeState, request: AdmissionRequest) -> Wait | None:
    now = request.now
    if state.meter.percent is None or state.pace(now) is Pace.FREE:
        return None
    if state.calls_left(request.call.priority, now) >= request.call.cost:
        return None
    percent = state.usage_percent(now) or 0.0
    note = "; only critical calls go" if request.call.priority is not Priority.CRITICAL else ""
    wait = min(USAGE_FRESH_SECONDS, state.rules.window_seconds / WINDOW_INTERVALS)
    return Wait(wait, f"{state.name} is at {percent:.0f} % of its quota{note}", state.name)


def check_capacity(request: AdmissionRequest) -> Wait | None:
    """Return the wait for a slot or for the rate, whichever is longer; None when there is capacity."""
    return longer_wait(check_slots(request), check_rate(request))


def longer_wait(one: Wait | None, other: Wait | None) -> Wait | None:
    """Return the longer of two waits."""
    if one is None or other is None:
        return one or other
    return one if one.seconds >= other.seconds else other


def check_slots(request: AdmissionRequest) -> Wait | None:
    """Return a wait for the first scope without a free slot for the class."""
    for state in request.states:
        if state.free_slots(request.shares, request.call.priority, request.now) > 0:
            continue
        slots = state.slots()
        if state.in_flight >= slots:
            return _poll(state, f"all {slots} calls of {state.name} are in flight")
        priority = request.call.priority.name.lower()
        return _poll(state, f"the free calls of {state.name} are kept for classes other than {priority}")
    return None


def check_rate(request: AdmissionRequest) -> Wait | None:
    """Return the longest wait for the rate of a scope."""
    longest: Wait | None = None
    for state in request.states:
        seconds = state.rate_wait_seconds(request.shares, request.call.priority, request.call.cost, request.now)
        if seconds > 0 and (longest is None or seconds > longest.seconds):
            longest = Wait(seconds, f"{state.name} is at its rate limit", state.name)
    return longest


def _poll(state: ScopeState, reason: str) -> Wait:
    """Return a wait of about the time in which one of the scope's slots becomes free."""
    expected = state.mean_latency / max(1, state.slots())
    return Wait(min(MAX_POLL_SECONDS, max(MIN_POLL_SECONDS, expected)), reason, state.name)
