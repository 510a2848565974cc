"""The decision itself, on values: may this call go now, and if not, what has no room and for how long?

Checks run from what must never be called (parked, broken) over what is full (slots, shares) to what is paced (rate), so
that the answer names the reason that will last longest. Pure: no I/O, no clock, no randomness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adwarm.backpressure.breaker import Breaker, BreakerRules, BreakerState
from adwarm.backpressure.decision import Refused, Wait
from adwarm.backpressure.scope_state import ScopeState
from adwarm.backpressure.shares import may_take
from adwarm.backpressure.usage import Pace, seconds_to_next_band
from adwarm.model import Priority

Held = Mapping[str, Mapping[Priority, int]]
"""Live grants by scope name and class."""

SHORTEST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """Everything the decision depends on. `states` runs from the narrowest scope to the fleet."""

    states: Sequence[ScopeState]
    held: Held
    breaker: Breaker
    breaker_rules: BreakerRules
    shares: tuple[float, float, float, float]
    priority: Priority
    cost: float
    source: str
    now: float
    nobody: Mapping[Priority, int] = field(default_factory=dict)

    def held_in(self, state: ScopeState) -> Mapping[Priority, int]:
        """Return the live grants of one scope by class."""
        return self.held.get(str(state.scope), self.nobody)


def blocked(question: Question) -> Wait | Refused | None:
    """Return the longest reason not to call at all: parked, held back for its usage, or the upstream given up."""
    held_back = [wait for state in question.states if (wait := _held_back(state, question.priority, question.now))]
    return max(held_back, key=lambda wait: wait.seconds, default=None) or _broken(question)


def _held_back(state: ScopeState, priority: Priority, now: float) -> Wait | None:
    name = str(state.scope)
    if left := state.parking.wait(now):
        return Wait(left, f"{name} is parked for {left:.0f} s: {state.parking.why}", name)
    if state.pace(now) is Pace.CRITICAL_ONLY and priority is not Priority.CRITICAL:
        wait = seconds_to_next_band(now - state.usage_at)
        return Wait(wait, f"{name} is at {state.usage:.0f} % of its quota; only critical calls go", name)
    if state.pause_until > now:
        return Wait(state.pause_until - now, f"{name} is at {state.usage:.0f} % of its quota and slowed", name)
    return None


def _broken(question: Question) -> Wait | Refused | None:
    wait = question.breaker.wait(question.breaker_rules, question.now)
    if wait <= 0:
        return None
    name = f"source:{question.source}"
    if question.breaker.state is BreakerState.OPEN:
        return Refused(f"{name} failed too often and is left alone for {wait:.0f} s", wait)
    return Wait(min(wait, LONGEST_POLL_SECONDS), f"{name} is being tested by probes", name)


def lacking(question: Question) -> Wait | None:
    """Return what has no room for a call that is not blocked: a slot, or the rate."""
    return full(question) or paced(question)


def full(question: Question) -> Wait | None:
    """Return the first scope without a free slot for this class."""
    for state in question.states:
        slots, held = state.slots(), question.held_in(state)
        if sum(held.values()) >= slots:
            return _poll(state, f"all {slots} calls of {state.scope} are in flight")
        # An account's few calls are not divided: whoever finds it free goes.
        if state.is_shared and not may_take(slots, question.shares, question.priority, held, state.asked, question.now):
            kept = f"kept for classes other than {question.priority.name.lower()}"
            return _poll(state, f"the free calls of {state.scope} are {kept}")
    return None


def paced(question: Question) -> Wait | None:
    """Return the scope whose bucket makes the call wait longest."""
    waits = [
        Wait(wait, f"{state.scope} is at its rate", str(state.scope))
        for state in question.states
        if (rules := state.bucket_rules(question.now))
        and (wait := state.bucket.wait(rules, question.cost, question.now)) > 0
    ]
    return max(waits, key=lambda wait: wait.seconds, default=None)


def _poll(state: ScopeState, why: str) -> Wait:
    """Ask again after about the time in which one of the scope's slots comes free."""
    expected = state.latency / max(1, state.slots())
    return Wait(min(LONGEST_POLL_SECONDS, max(SHORTEST_POLL_SECONDS, expected)), why, str(state.scope))
