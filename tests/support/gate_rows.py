"""Rows of the table `gate`, as the rules store them."""

from typing import Any

from adwarm.foundation.circuit import Breaker, BreakerState
from adwarm.foundation.gate import Gate, GateState, OpenedBy, Rule
from adwarm.recovery import IsolationTracker
from adwarm.store.gates import to_row


def park_row(scope: str, until: float, why: str = "told to", since: float = 0.0) -> dict[str, Any]:
    """Return the row of a scope that is parked."""
    return to_row(Gate(scope, Rule.PARK, since, until, why, OpenedBy.TIME, until + 86_400))


def breaker_row(scope: str, state: str, since: float, until: float, why: str | None = None) -> dict[str, Any]:
    """Return the row of a breaker such as that of `source:meta`; a closed one lets calls pass."""
    breaker = Breaker(BreakerState(state), since, until, reason=why)
    closed_until = None if state == "closed" else until
    return to_row(Gate(scope, Rule.BREAKER, since, closed_until, why or "", data=breaker.to_dict()))


def isolation_row(scope: str, state: str, since: float, until: float, why: str) -> dict[str, Any]:
    """Return the row of a scope whose runs failed; one that is not `open` may be called."""
    breaker = Breaker(BreakerState(state), since, until)
    data = {**breaker.to_dict(), "failures": 5, "kind": "Transient"}
    ends = {"closed_until": until} if state == "open" else {"kept_until": until}
    return to_row(Gate(scope, Rule.ISOLATION, since, why=why, data=data, **ends))


def switch_row(name: str, since: float, by: str) -> dict[str, Any]:
    """Return the row of a switch that was turned back to its default position."""
    data = {"by": by, "why": "after the sale"}
    return to_row(Gate(f"switch:{name}", Rule.SWITCH, since, opened_by=OpenedBy.PERSON, data=data))


def list_isolated(tracker: IsolationTracker) -> list[Gate]:
    """Return what a tracker knows as isolated or being probed, by scope."""
    gates = tracker._gates.list_gates(tracker._now(), Rule.ISOLATION)
    return [gate for gate in gates if gate.state is not GateState.OPEN]
