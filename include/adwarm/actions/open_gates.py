"""Opens a gate before its time, so that a scope is called again, and turns the switches.

| closed by    | what opening does                                                                        |
|--------------|------------------------------------------------------------------------------------------|
| a switch     | turns it back                                                                            |
| a park       | ends it now; if the platform still throttles, the next call parks the scope again        |
| a breaker    | the next calls test the upstream; when they fail, it opens again                         |
| an isolation | ends it now; the next failures isolate the scope again, for longer                       |
| a denial     | lifts it; the next call finds out whether access was granted                             |
| a version    | the next call finds out whether the platform takes it again                              |
"""

from collections.abc import Sequence

from adwarm.actions.audit import ActionServices, Doer, audited, require_reason
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.gate import Gate, Rule
from adwarm.model import Scope, ScopeKind
from adwarm.store import Context, accounts, denials
from adwarm.store.action_events import clean_text
from adwarm.store.gates import list_closed
from adwarm.store.switches import DEFAULTS, SWITCH, Switch, SwitchState, set_switch

_HUMAN_CAUSES = {
    "Blocked": "the platform blocks it",
    "TokenDead": "its access token is dead",
    "VersionEnded": "a newer version of the API has to be set",
}
_VERBS = {
    Rule.SWITCH: "closed",
    Rule.PARK: "parked",
    Rule.BREAKER: "not called after failures",
    Rule.ISOLATION: "isolated",
    Rule.DENIAL: "denied",
    Rule.VERSION: "no longer taken by the platform",
}
_SOURCE = "source:"
EFFECTS = {
    (Switch.CALLS, False): (
        "No platform is called by any process: not for plans, backfills, probes or accounts, and not for readers, "
        "whose requests wait in the queue. Calls that are under way end; stored reports are served as before."
    ),
    (Switch.CALLS, True): "Calls are made again within seconds: waiting requests first, plans at the next run.",
    (Switch.WARMING, False): (
        "No planned warm is fetched: plans are cut, running batches stop within seconds, strategies wait, backfills "
        "stop. What readers request is fetched as before, and stored reports are served as before."
    ),
    (
        Switch.WARMING,
        True,
    ): "The next run of each DAG plans and warms again, and so do strategies that were due meanwhile.",
    (Switch.SHADOW, True): (
        "Runs that start from now on store their plan and make no call. Batches that are running go on; switch warming "
        "off to stop them."
    ),
    (Switch.SHADOW, False): "Runs that start from now on carry out their plan, unless their parameters ask for shadow.",
}
"""What turning a switch to a position does."""


def list_gates(services: ActionServices, scope: str | None = None) -> list[Gate]:
    """Return what keeps scopes, or one scope, from being called now: shared scopes first."""
    closed = list_closed(services.context.engine)
    return [gate for gate in closed if scope is None or scope in {gate.scope, gate.scope.rpartition(" ")[2]}]


def find_human_cause(gate: Gate) -> str:
    """Return what only a human can fix, such as a block by the platform; empty when it passes by itself."""
    return _HUMAN_CAUSES.get(gate.data.get("kind") or "", "")


def describe_gate(gate: Gate) -> str:
    """Return a closed gate in words."""
    end = gate.to_dict()["until"]
    until = f" until {end:%Y-%m-%d %H:%M:%S} UTC" if end else ""
    cause = find_human_cause(gate)
    note = f" ({cause}: fix that first, or it is held back again at once)" if cause else ""
    return f"{gate.scope} is {_VERBS[gate.rule]}{until}: {gate.why or 'no reason given'}{note}"


def open_gates(services: ActionServices, doer: Doer, scope: str, why: str = "") -> str:
    """Let a scope be called again, and return what was ended.

    A scope that nothing holds back is left as it is, and the answer says so. Every gate is opened by the rule that
    closed it, so calls in flight and counts stay right.

    Raises:
        BadRequest: `scope` is not the name of a scope, or it is a switch and there is no reason.
    """
    with audited(services, doer, "open_gate", scope, {"why": why}) as action:
        scope = parse_scope(services.context, scope)
        gates = list_gates(services, scope)
        ended = [describe_gate(gate) for gate in gates] + _forget_fields(services, scope)
        action.arguments["ended"] = ended
        _open(services, doer, gates, why)
        action.detail = " | ".join(f"ended: {text}" for text in ended) or (
            f"nothing holds {scope} back now; it may have been opened already, or its time is over"
        )
    return action.detail


def _forget_fields(services: ActionServices, scope: str) -> list[str]:
    """Let the fields of an account be asked for again that the platform has refused; return which."""
    engine = services.context.engine
    account_id, refused = scope.partition(":")[2], denials.list_refused_fields(engine, services.clock.now())
    own = [gate for gate in refused if account_id in denials.list_accounts(gate)]
    denials.lift(engine, {account_id} if own else ())
    return [f"{gate.scope} is read without {', '.join(gate.data['fields'])}" for gate in own]


def _open(services: ActionServices, doer: Doer, gates: Sequence[Gate], why: str) -> None:
    engine = services.context.engine
    parked = [Scope.parse(gate.scope) for gate in gates if gate.rule is Rule.PARK]
    breakers = [gate.scope.removeprefix(_SOURCE) for gate in gates if gate.rule is Rule.BREAKER]
    if parked or breakers:
        services.admission.unpark(parked, breakers)
    for gate in gates:
        if gate.rule is Rule.SWITCH:
            name = Switch(gate.scope.removeprefix(SWITCH))
            _set_switch(services, doer, name, require_reason(why), is_on=DEFAULTS[name])
        elif gate.rule is Rule.ISOLATION:
            services.isolation.release(gate.scope)
    denials.open_versions(engine, [gate.scope for gate in gates if gate.rule is Rule.VERSION])
    denials.lift(engine, {str(gate.account_id) for gate in gates if gate.rule is Rule.DENIAL})


def parse_scope(context: Context, name: str) -> str:
    """Return the scope that somebody names; the id of an account may lack its `act_`.

    Raises:
        BadRequest: it is not; the message lists the kinds.
    """
    kind, _, rest = name.partition(":")
    kinds = [*(str(kind) for kind in ScopeKind), "source", "connection", "fallback", "switch", "version"]
    if kind not in kinds or not name.isprintable() or (not rest and name != str(ScopeKind.FLEET)):
        raise BadRequest(
            f"{name[:80]!r} is not a scope; `adwarm gate list` lists those that are held back, such as account:act_1"
        )
    return f"{kind}:{accounts.find_id(context, rest)}" if kind == ScopeKind.ACCOUNT else name


def turn_switch(services: ActionServices, doer: Doer, name: Switch, why: str, *, is_on: bool) -> str:
    """Turn a switch, and return what happened. Turning it to where it is changes nothing and says so.

    Raises:
        BadRequest: there is no reason.
    """
    position = "on" if is_on else "off"
    with audited(services, doer, f"switch_{name}", position, {"why": why}) as action:
        reason = require_reason(why)
        before = _set_switch(services, doer, name, reason, is_on=is_on)
        is_same = before.is_on is is_on and before.changed_at is not None
        verb = "are" if name is Switch.CALLS else "is"
        action.detail = f"nothing changed: {before}" if is_same else f"{name} {verb} switched {position}: {reason}"
    return action.detail


def _set_switch(services: ActionServices, doer: Doer, name: Switch, reason: str, *, is_on: bool) -> SwitchState:
    state = SwitchState(name, is_on, services.clock.now(), clean_text(doer.name, 250), reason)
    return set_switch(services.context.engine, state)
