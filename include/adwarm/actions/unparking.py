"""Opens a gate before its time, so that a scope is called again.

| closed by    | what un-parking does                                                                   |
|--------------|-----------------------------------------------------------------------------------------|
| a park       | ends now; if the platform still throttles, the next call parks the scope again          |
| a breaker    | the next calls test the upstream; when they fail, it opens again                        |
| an isolation | ends now; the next failures isolate the scope again, for longer                         |
| a denial     | is lifted, as `adwarm allow` does; the next call finds out whether access was granted    |
"""

from collections.abc import Sequence

from adwarm.actions.audit import Doer, audited, make_digest
from adwarm.actions.services import ActionServices
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.gate import Gate, GateState, Rule, to_datetime
from adwarm.model import Scope, ScopeKind
from adwarm.store import denials
from adwarm.store.gates import list_closed

_HUMAN_CAUSES = {"Blocked": "the platform blocks it", "TokenDead": "its access token is dead"}
_VERBS = {
    Rule.PARK: "parked",
    Rule.BREAKER: "not called after failures",
    Rule.ISOLATION: "isolated",
    Rule.DENIAL: "denied",
}
_SOURCE = "source:"


def list_gates(services: ActionServices, scope: str | None = None) -> list[Gate]:
    """Return what keeps scopes, or one scope, from being called now, but for switches: shared scopes first."""
    closed = list_closed(services.context.engine)
    return [
        gate
        for gate in closed
        if gate.rule is not Rule.SWITCH and (scope is None or scope in {gate.scope, gate.scope.rpartition(" ")[2]})
    ]


def digest_gates(gates: Sequence[Gate]) -> str:
    """Return a digest of gates that were shown."""
    return make_digest([[gate.scope, str(gate.rule), gate.closed_until, gate.why] for gate in gates])


def find_human_cause(gate: Gate) -> str:
    """Return what only a human can fix, such as a block by the platform; empty when it passes by itself."""
    return _HUMAN_CAUSES.get(gate.data.get("kind") or "", "")


def describe_gate(gate: Gate) -> str:
    """Return a closed gate in words."""
    until = to_datetime(gate.closed_until)
    end = f" until {until:%Y-%m-%d %H:%M:%S} UTC" if until and gate.state is GateState.CLOSED else ""
    cause = find_human_cause(gate)
    note = f" ({cause}: fix that first, or it is held back again at once)" if cause else ""
    return f"{gate.scope} is {_VERBS[gate.rule]}{end}: {gate.why or 'no reason given'}{note}"


def unpark(services: ActionServices, doer: Doer, scope: str, why: str = "") -> str:
    """Let a scope be called again, and return what was ended.

    A scope that nothing holds back is left as it is, and the answer says so. Every part goes through the state machine
    that holds it, so calls in flight and counts stay right.

    Raises:
        BadRequest: `scope` is not the name of a scope.
    """
    with audited(services, doer, "unpark", scope, {"why": why}) as action:
        check_scope(scope)
        gates = list_gates(services, scope)
        ended = [describe_gate(gate) for gate in gates]
        action.arguments["ended"] = ended
        parked = [Scope.parse(gate.scope) for gate in gates if gate.rule is Rule.PARK]
        breakers = [gate.scope.removeprefix(_SOURCE) for gate in gates if gate.rule is Rule.BREAKER]
        if parked or breakers:
            services.admission.unpark(parked, breakers)
        for gate in gates:
            if gate.rule is Rule.ISOLATION:
                services.isolation.release(gate.scope)
        denials.lift(services.context.engine, {str(gate.account_id) for gate in gates if gate.rule is Rule.DENIAL})
        action.detail = " | ".join(f"ended: {text}" for text in ended) or (
            f"nothing holds {scope} back now; it may have been un-parked already, or its time is over"
        )
    return action.detail


def check_scope(name: str) -> None:
    """Check that a name may be that of a scope.

    Raises:
        BadRequest: it is not; the message lists the kinds.
    """
    kind, _, rest = name.partition(":")
    kinds = [*(str(kind) for kind in ScopeKind), "source", "connection", "fallback"]
    if kind not in kinds or (not rest and name != str(ScopeKind.FLEET)):
        raise BadRequest(
            f"{name[:80]!r} is not a scope; `adwarm unpark` lists those that are held back, such as account:act_1"
        )
