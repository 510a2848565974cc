"""The decision itself, on values: may this call go now, and if not, what has no room and for how long?

Checks run from what must never be called (parked, broken) over what is full (slots, shares) to what is paced (rate,
quota), so that the answer names the reason that will last longest. Pure: no I/O, no clock, no randomness; it takes
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from adwarm.backpressure.admission import Refused, Wait
from adwarm.backpressure.breakers import Guard
from adwarm.backpressure.quota_usage import FIGURE_SECONDS, SLICES
from adwarm.backpressure.scope_state import ScopeState
from adwarm.backpressure.shares import Shares
from adwarm.backpressure.usage import Pace
from adwarm.foundation.circuit import BreakerState
from adwarm.model import Priority

SHORTEST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """Everything the decision depends on. `states` runs from the narrowest scope to the fleet."""

    states: Sequence[ScopeState]
    guards: Sequence[Guard]
    shares: Shares
    priority: Priority
    cost: float
    source: str
    now: float

    @property
    def is_probe(self) -> bool:
        """Whether the call would test something that was given up."""
        return any(guard.breaker.state is not BreakerState.CLOSED for guard in self.guards)


def blocked(question: Question) -> Wait | Refused | None:
    """Return the longest reason not to call at all: parked, held back for its usage, or the upstream given up."""
    longest: Wait | None = None
    for state in question.states:
        wait = _held_back(state, question)
        if wait is not None and (longest is None or wait.seconds > longest.seconds):
            longest = wait
    return longest or _broken(question)


def _held_back(state: ScopeState, question: Question) -> Wait | None:
    now = question.now
    if state.parking.until is not None and (left := state.parking.wait(now)) > 0:
        return Wait(left, f"{state.name} is parked for {left:.0f} s: {state.parking.why}", state.name)
    if state.meter.percent is None or state.pace(now) is Pace.FREE:
        return None
    if state.calls_left(question.priority, now) >= question.cost:
        return None
    percent = state.usage(now) or 0.0
    only = "; only critical calls go" if question.priority is not Priority.CRITICAL else ""
    wait = min(FIGURE_SECONDS, state.rules.window_seconds / SLICES)
    return Wait(wait, f"{state.name} is at {percent:.0f} % of its quota{only}", state.name)


def _broken(question: Question) -> Wait | Refused | None:
    """Return the first open breaker as a refusal, else the first that is being tested as a wait."""
    waits = [(guard, guard.breaker.wait_seconds(guard.rules, question.now)) for guard in question.guards]
    waits = [(guard, seconds) for guard, seconds in waits if seconds > 0]
    for guard, seconds in waits:
        if guard.breaker.state is BreakerState.OPEN:
            words = f"{guard.scope} failed too often and is left alone for {seconds:.0f} s"
            return Refused(words, seconds, guard.scope)
    for guard, seconds in waits:
        return Wait(min(seconds, LONGEST_POLL_SECONDS), f"{guard.scope} is being tested by probes", guard.scope)
    return None


def lacking(question: Question) -> Wait | None:
    """Return what has no room for a call that is not blocked: a slot, or the rate."""
    return longer(full(question), paced(question))


def longer(one: Wait | None, other: Wait | None) -> Wait | None:
    """Return the wait that lasts longer."""
    if one is None or other is None:
        return one or other
    return one if one.seconds >= other.seconds else other


def full(question: Question) -> Wait | None:
    """Return the first scope without a free slot for this class."""
    for state in question.states:
        if state.room(question.shares, question.priority, question.now) > 0:
            continue
        slots = state.slots()
        if state.in_flight >= slots:
            return _poll(state, f"all {slots} calls of {state.name} are in flight")
        kept = f"kept for classes other than {question.priority.name.lower()}"
        return _poll(state, f"the free calls of {state.name} are {kept}")
    return None


def paced(question: Question) -> Wait | None:
    """Return the scope whose rate makes the call wait longest."""
    longest: Wait | None = None
    for state in question.states:
        seconds = state.paced(question.shares, question.priority, question.cost, question.now)
        if seconds > 0 and (longest is None or seconds > longest.seconds):
            longest = Wait(seconds, f"{state.name} is at its rate", state.name)
    return longest


def _poll(state: ScopeState, why: str) -> Wait:
    """Ask again after about the time in which one of the scope's slots comes free."""
    expected = state.latency / max(1, state.slots())
    return Wait(min(LONGEST_POLL_SECONDS, max(SHORTEST_POLL_SECONDS, expected)), why, state.name)
