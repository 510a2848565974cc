"""The shared budget as a value in memory: every transition of admission, without clock, randomness or I/O of its own.

Whether a call may go now, and if not, what lacks capacity and for how long. The first group that has an answer decides;
within it, the longest wait:

1. Hard limits, whoever holds a slot: the gates (`adwarm.foundation.gate.may_call`), and a scope whose quota is used
   up to the ceiling of the class (90 %, critical calls 98 %). A park and a quota come before a breaker: an open one
   rejects the call, one whose probes are all in flight lets it wait.
2. Capacity: a slot in every scope, within the shares of the classes (the first scope without one), and the rate of
   every scope (the longest wait). The longer of the two waits counts.

Life of a grant:

| event                                        | effect                                                                |
|----------------------------------------------|-----------------------------------------------------------------------|
| a call is admitted                           | the grant counts: it holds a slot of every scope and its tokens       |
| it is renewed while it counts                | a later expiry and a new fencing token                                |
| it is released with its newest token         | its slots are returned, its outcome is learned from                   |
| it expires                                   | slots are returned; its outcome counts for ten minutes more      |
| it is renewed or released with an old token  | none: it was renewed or released by another holder                    |

Guarantees, whoever stores the budget: the counted grants of a scope never exceed its limit, a parked scope is not
granted before its time, and an outcome is learned from once. `SqlAdmission` loads the part that an operation needs,
runs the operation, and saves what changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from adwarm.backpressure.admission import (
    FLEET,
    CallOutcome,
    CallOutcomeKind,
    CallRequest,
    CallsStopped,
    Decision,
    Grant,
    Rejected,
    Wait,
)
from adwarm.backpressure.breakers import BreakerRegistry, ScopedBreaker
from adwarm.backpressure.quota_usage import USAGE_FRESH_SECONDS, WINDOW_INTERVALS, Pace, pace_for
from adwarm.backpressure.scope_state import ScopeRules, ScopeState
from adwarm.backpressure.shares import Shares
from adwarm.backpressure.status import AdmissionStatus, build_status
from adwarm.foundation.circuit import BreakerState
from adwarm.foundation.errors import Transient
from adwarm.foundation.gate import Gate, GateState, Rule, may_call
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings

_WIDTH = {ScopeKind.ACCOUNT: 0, ScopeKind.APP: 1, ScopeKind.TOKEN: 2, ScopeKind.FLEET: 3}
MIN_POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 1.0
SWITCH_POLL_SECONDS = 60.0
"""When a call is worth another attempt that was stopped because calls are switched off."""
EXPIRED_GRANT_SECONDS = 600.0
"""How long an expired grant stays known."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """Everything the rules depend on. `states` are ordered from the narrowest scope to the fleet.

    Attributes:
        breakers: those that are not closed; a call that passes them tests their upstream.
        switch: the gate of all calls; None when it was never turned.
    """

    call: CallRequest
    states: Sequence[ScopeState]
    breakers: Sequence[ScopedBreaker]
    shares: Shares
    now: float
    switch: Gate | None = None


class SharedBudget:
    """Scopes, breakers and grants, and how they change. Not safe to share between threads.

    Attributes:
        scopes: states by scope; a new scope starts with its highest limit.
        breaker_registry: the breakers of sources and of their accounts, with their rules.
        breakers: these breakers by name.
        switch: the gate of all calls; None when it was never turned.
        grants: the counted grants, and expired ones whose outcome may still come.
        counted_grant_ids: ids of the grants whose slots count.
        next_expiry: no counted grant expires before this time.
        last_token: the last fencing token that was issued.
    """

    def __init__(
        self, settings: BackpressureSettings, rng: Random, rules: dict[ScopeKind, ScopeRules] | None = None
    ) -> None:
        self.settings = settings
        self.scopes: dict[Scope, ScopeState] = {}
        self.grants: dict[str, Grant] = {}
        self.counted_grant_ids: set[str] = set()
        self.next_expiry = float("inf")
        self.last_token = 0
        self.breaker_registry = BreakerRegistry(settings)
        self.breakers = self.breaker_registry.by_name
        self.switch: Gate | None = None
        self._rng = rng
        self._rules = {} if rules is None else rules

    def admit(self, call: CallRequest, now: float) -> Decision:
        """Request one slot in every scope of the call, the fleet included, and its tokens."""
        request = self._build_request(call, now)
        if refusal := check_hard_limits(request):
            return refusal
        slot_wait, rate_wait = check_slots(request), check_rate(request)
        wait = longer_wait(slot_wait, rate_wait)
        if wait is None:
            return self._issue_grant(request)
        # The wait is recorded only at the scope and for the resource that lacks capacity: callers that queue for one
        # account must not idle the fleet, and callers that wait for the rate must not idle slots.
        for state in request.states:
            if state.name == wait.scope:
                demand = state.slot_demand if wait is slot_wait else state.rate_demand
                demand.record_wait(call.priority, now)
        return wait

    def preview(self, call: CallRequest, now: float) -> Wait | Rejected | None:
        """Return why such a call would not be admitted at `now`, None when it would; takes no capacity."""
        request = self._build_request(call, now)
        return check_hard_limits(request) or check_capacity(request)

    def _build_request(self, call: CallRequest, now: float) -> AdmissionRequest:
        self.expire_grants(now)
        scopes = sorted(dict.fromkeys((*call.scopes, FLEET)), key=lambda scope: _WIDTH[scope.kind])
        states = [self.scope_state(scope, now) for scope in scopes]
        guards = self.breaker_registry.find_breakers(call.source, call.scopes, now)
        breakers = [item for item in guards if item.breaker.state is not BreakerState.CLOSED]
        return AdmissionRequest(call, states, breakers, self.settings.shares, now, switch=self.switch)

    def renew(self, grant: Grant, now: float) -> Grant:
        """Extend the grant's lease by `lease_seconds` from now, under a new fencing token.

        Raises:
            CallsStopped: calls are switched off, so a long response ends between two of its pages.
            Transient: the lease had expired or another holder renewed it, so another caller may hold its slot.
        """
        if self.switch is not None and self.switch.remaining_seconds(now) > 0:
            raise CallsStopped(self.switch.why)
        current = self.grants.get(grant.id)
        if current is None or current.token != grant.token or current.expires_at <= now:
            raise Transient("the grant expired before it was renewed; ask for a new one")
        self.last_token += 1
        renewed = replace(current, expires_at=now + self.settings.lease_seconds, token=self.last_token)
        self.grants[grant.id] = renewed
        return renewed

    def release(self, grant: Grant, outcome: CallOutcome, now: float) -> bool:
        """Return the grant and learn from the outcome; False, and nothing changes, when it was released before.

        The outcome of a grant that expired meanwhile still counts: its call was made.
        """
        current = self.grants.get(grant.id)
        if current is None or current.token != grant.token:
            return False
        self.expire_grants(now)
        self._record_outcome(current, outcome, now)
        self._stop_counting(current, now)
        self.grants.pop(grant.id, None)
        return True

    def expire_grants(self, now: float) -> list[Grant]:
        """Stop counting the grants that expired by `now`, and return them."""
        if now < self.next_expiry:
            return []
        expired = [self.grants[id_] for id_ in self.counted_grant_ids if self.grants[id_].expires_at <= now]
        for grant in expired:
            self._stop_counting(grant, now)
        for id_ in [id_ for id_, grant in self.grants.items() if grant.expires_at + EXPIRED_GRANT_SECONDS <= now]:
            self.grants.pop(id_)
        self.next_expiry = min((self.grants[id_].expires_at for id_ in self.counted_grant_ids), default=float("inf"))
        return expired

    def unpark(self, scopes: Iterable[Scope], breaker_names: Iterable[str], now: float) -> list[str]:
        """End the parks of scopes, and let open breakers test their upstream now, as a human asks for.

        Returns:
            The names of the scopes and breakers that changed.
        """
        changed = [str(scope) for scope in scopes if scope in self.scopes and self.scopes[scope].unpark(now)]
        for name in breaker_names:
            before = self.breakers.get(name)
            if before is not None and (after := before.tested_now(now)) is not before:
                self.breakers[name] = after
                changed.append(name)
        return changed

    def status(self, now: float) -> AdmissionStatus:
        """Return limits, calls in flight and quotas at `now`."""
        self.expire_grants(now)
        states = sorted(self.scopes.values(), key=lambda state: state.name)
        return build_status(states, now)

    def scope_state(self, scope: Scope, now: float) -> ScopeState:
        """Return the scope's state; a new scope gets one."""
        state = self.scopes.get(scope)
        if state is None:
            state = self.scopes[scope] = ScopeState(scope, self.rules_for(scope), now)
        return state

    def rules_for(self, scope: Scope) -> ScopeRules:
        """Return the scope's rules; scopes of one kind share them."""
        if scope.kind not in self._rules:
            self._rules[scope.kind] = ScopeRules.from_settings(scope, self.settings)
        return self._rules[scope.kind]

    def _issue_grant(self, request: AdmissionRequest) -> Grant:
        call, now = request.call, request.now
        self.last_token += 1
        grant = Grant(
            id=f"{self._rng.getrandbits(64):016x}",
            scopes=tuple(state.scope for state in request.states),
            priority=call.priority,
            cost=call.cost,
            granted_at=now,
            expires_at=now + self.settings.lease_seconds,
            source=call.source,
            is_probe=bool(request.breakers),
            token=self.last_token,
        )
        for state in request.states:
            state.record_grant(call.priority, call.cost, now)
        if grant.is_probe:
            self.breaker_registry.record_admission(grant)
        self.grants[grant.id] = grant
        self.counted_grant_ids.add(grant.id)
        self.next_expiry = min(self.next_expiry, grant.expires_at)
        return grant

    def _stop_counting(self, grant: Grant, now: float) -> None:
        if grant.id in self.counted_grant_ids:
            self.counted_grant_ids.discard(grant.id)
            for scope in grant.scopes:
                self.scope_state(scope, now).release_slot(grant.priority)

    def _record_outcome(self, grant: Grant, outcome: CallOutcome, now: float) -> None:
        if outcome.usage:
            for scope in dict.fromkeys(sample.scope for sample in outcome.usage):
                state = self.scope_state(scope, now)
                others = state.in_flight - (scope in grant.scopes)
                state.record_usage(outcome.usage, max(0, others), now, self._rng)
        kind = outcome.kind
        for scope in grant.scopes:
            state = self.scope_state(scope, now)
            if kind is CallOutcomeKind.OK:
                state.record_success(outcome.latency_seconds, state.in_flight, now)
            elif kind is CallOutcomeKind.TIMEOUT:
                state.record_overload(now)
        if kind is CallOutcomeKind.THROTTLED:
            self._record_throttle(grant, outcome, now)
        self.breaker_registry.record_outcome(grant, outcome, now)

    def _record_throttle(self, grant: Grant, outcome: CallOutcome, now: float) -> None:
        parked = self.scope_state(outcome.parked_scope or grant.scopes[0], now)
        # A scope that reached its own quota says nothing about the others; other throttles mean an overloaded platform.
        is_own_quota = pace_for(parked.usage_percent(now)) is not Pace.FREE
        parked.park(outcome.park_seconds, "the platform throttled it", now, self._rng)
        for state in [parked] if is_own_quota else [parked, *(self.scope_state(scope, now) for scope in grant.scopes)]:
            state.record_overload(now)


def check_hard_limits(request: AdmissionRequest) -> Wait | Rejected | None:
    """Return the longest wait for a park or a quota, else the answer of the breakers, else None."""
    longest: Wait | None = None
    for state in request.states:
        longest = longer_wait(longest, _check_quota(state, request))
    parks = [state.parking.to_gate(state.name) for state in request.states if state.parking.until is not None]
    failing = [item.to_gate(request.now) for item in request.breakers]
    gates = [*([] if request.switch is None else [request.switch]), *parks, *failing]
    gate = may_call(gates, request.now) if gates else None
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
