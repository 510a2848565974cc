"""The shared budget as a value in memory: every transition of admission, without clock, randomness or I/O of its own.

Guarantees, whoever stores it: the live grants of a scope never exceed its limit; a parked scope is not granted before
its time; a grant that ran out stops counting; an outcome teaches once. `LocalAdmission` keeps one such value for a
process, `SqlAdmission` loads the part that a question needs, asks, and saves what changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from adwarm.backpressure.admission import (
    FLEET,
    CallOutcome,
    CallOutcomeKind,
    Decision,
    Grant,
    Granted,
    Rejected,
    ReturnedBlock,
    Wait,
)
from adwarm.backpressure.admission_rules import (
    AdmissionRequest,
    check_capacity,
    check_hard_limits,
    check_rate,
    check_slots,
    longer_wait,
)
from adwarm.backpressure.breakers import BreakerRegistry
from adwarm.backpressure.quota_usage import Pace, pace_for
from adwarm.backpressure.scope_state import ScopeRules, ScopeState
from adwarm.backpressure.status import AdmissionStatus, build_status
from adwarm.foundation.circuit import Breaker
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings

_WIDTH = {ScopeKind.ACCOUNT: 0, ScopeKind.APP: 1, ScopeKind.TOKEN: 2, ScopeKind.FLEET: 3}
EXPIRED_GRANT_SECONDS = 600.0
"""An expired grant is remembered so long, so that its late outcome is learnt from once, and only once."""


class SharedBudget:
    """Scopes, breakers and grants, and how they change. Not safe to share between threads.

    Attributes:
        scopes: states by scope; one nobody named yet comes into being at its widest.
        guarding: the breakers of sources and of their accounts.
        grants: live ones, and those whose time ran out but whose outcome may still come.
        counted: ids of the grants whose slots count.
        next_expiry: no counted grant runs out before.
        token: the last fencing token that was given out.
    """

    def __init__(self, settings: BackpressureSettings, rng: Random) -> None:
        self.settings = settings
        self.scopes: dict[Scope, ScopeState] = {}
        self.grants: dict[str, Grant] = {}
        self.counted_grant_ids: set[str] = set()
        self.next_expiry = float("inf")
        self.last_token = 0
        self.breaker_registry = BreakerRegistry(settings)
        self._rng = rng
        self._rules: dict[ScopeKind, ScopeRules] = {}

    @property
    def breakers(self) -> dict[str, Breaker]:
        """The breakers by name."""
        return self.breaker_registry.by_name

    def admit(
        self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str, now: float
    ) -> Decision:
        """Ask for one slot in every scope, the fleet included, and `cost` tokens.

        Raises:
            BadRequest: `cost` is not positive.
        """
        question = self.admission_request(scopes, priority, cost, source=source, now=now)
        return self._check(question) or Granted(self._issue_grant(question, permits=1, seconds=None))

    def acquire_block(
        self, scopes: Sequence[Scope], priority: Priority, *, source: str, now: float, permits: int
    ) -> Decision:
        """Ask for a block: up to `permits` calls within `block_seconds`, one at a time.

        It holds one permit only where anybody waits, where the rate is short, and while an upstream is being tested.
        """
        question = self.admission_request(scopes, priority, 1.0, source=source, now=now)
        if answer := self._check(question):
            return answer
        wide = self._block_size(question, permits)
        return Granted(self._issue_grant(question, permits=wide, seconds=self.settings.block_seconds))

    def check_hard_limits(
        self, scopes: Sequence[Scope], priority: Priority, *, source: str, now: float
    ) -> Wait | Rejected | None:
        """Return what forbids such a call at `now`, whoever holds a slot: parked, over its quota, or given up."""
        return check_hard_limits(self.admission_request(scopes, priority, 1.0, source=source, now=now))

    def preview(
        self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str, now: float
    ) -> Wait | Rejected | None:
        """Return why such a call would not be let in now, None when it would; takes nothing."""
        question = self.admission_request(scopes, priority, cost, source=source, now=now)
        return check_hard_limits(question) or check_capacity(question)

    def admission_request(
        self, scopes: Sequence[Scope], priority: Priority, cost: float, *, source: str, now: float
    ) -> AdmissionRequest:
        """Return the question as `judgement` takes it.

        Raises:
            BadRequest: `cost` is not positive.
        """
        if not cost > 0:
            raise BadRequest(f"a call's cost must be above 0, not {cost}; count one per platform call")
        self.expire_grants(now)
        states = [self.state_of(scope, now) for scope in narrowest_first(scopes)]
        guards = self.breaker_registry.find_breakers(source, scopes, now)
        return AdmissionRequest(states, guards, self.settings.shares, priority, cost, source, now)

    def renew(self, grant: Grant, now: float) -> Grant:
        """Give the grant a fresh lease of `lease_seconds`, under a new fencing token.

        Raises:
            Transient: the lease had run out or was renewed by another, so that others may hold its slot.
        """
        self.expire_grants(now)
        held = self.grants.get(grant.id)
        if held is None or held.token != grant.token or grant.id not in self.counted_grant_ids:
            raise Transient("the grant expired before it was renewed; ask for a new one")
        self.last_token += 1
        renewed = replace(held, expires_at=now + self.settings.lease_seconds, token=self.last_token)
        self.grants[grant.id] = renewed
        return renewed

    def release(self, grant: Grant, outcome: CallOutcome, now: float) -> bool:
        """Return the grant and learn from the outcome; False, and nothing changes, when that was done before.

        A grant that expired meanwhile still teaches: its call was made.
        """
        return self._release(grant, (outcome,), 0, now)

    def release_blocks(self, blocks: Iterable[ReturnedBlock], now: float) -> None:
        """Return blocks with the outcomes of their calls; permits that were not used are not charged."""
        for grant, outcomes, unspent in blocks:
            self._release(grant, outcomes, unspent, now)

    def expire_grants(self, now: float) -> list[Grant]:
        """Stop counting the grants that ran out by `now`, and return them."""
        if now < self.next_expiry:
            return []
        ended = [self.grants[id_] for id_ in self.counted_grant_ids if self.grants[id_].expires_at <= now]
        for grant in ended:
            self._stop_counting(grant, now)
        for id_ in [id_ for id_, grant in self.grants.items() if grant.expires_at + EXPIRED_GRANT_SECONDS <= now]:
            self.grants.pop(id_)
        self.next_expiry = min((self.grants[id_].expires_at for id_ in self.counted_grant_ids), default=float("inf"))
        return ended

    def pop_overlong_parks(self) -> list[tuple[Scope, float]]:
        """Return each scope that the platform asked to be left alone for too long, with the seconds; tells it once."""
        found = [
            (state.scope, state.overlong_park_seconds)
            for state in self.scopes.values()
            if state.overlong_park_seconds is not None
        ]
        for scope, _ in found:
            self.scopes[scope].overlong_park_seconds = None
        return [(scope, seconds) for scope, seconds in found if seconds is not None]

    def status(self, now: float) -> AdmissionStatus:
        """Return limits, calls in flight, parked scopes and breakers, as they are at `now`."""
        self.expire_grants(now)
        states = sorted(self.scopes.values(), key=lambda state: state.name)
        return build_status(states, self.breaker_registry, now)

    def state_of(self, scope: Scope, now: float) -> ScopeState:
        """Return the scope's state."""
        found = self.scopes.get(scope)
        if found is None:
            found = self.scopes[scope] = ScopeState(scope, self.rules_for(scope), now)
        return found

    def rules_for(self, scope: Scope) -> ScopeRules:
        """Return the scope's rules; scopes of one kind share them."""
        if scope.kind not in self._rules:
            self._rules[scope.kind] = ScopeRules.from_settings(scope, self.settings)
        return self._rules[scope.kind]

    def _check(self, request: AdmissionRequest) -> Wait | Rejected | None:
        if answer := check_hard_limits(request):
            return answer
        slot, rate = check_slots(request), check_rate(request)
        answer = longer_wait(slot, rate)
        # Only who waits for this very thing may hold back others there: an account's own queue must not idle the fleet,
        # nor who waits for the rate its slots.
        for state in request.states:
            if answer is not None and state.name == answer.scope:
                queue = state.slot_demand if answer is slot else state.rate_demand
                queue.record_wait(request.priority, request.now)
        return answer

    def _block_size(self, request: AdmissionRequest, permits: int) -> int:
        """Return how many permits a block may hold: half of what is free for the class, the whole of it never."""
        if request.is_probe:
            return 1
        for state in request.states:
            if state.has_waiters(request.now) or state.pace(request.now).value:
                return 1
            if state.bucket_rules(request.now) is not None:
                permits = min(permits, int(state.bucket.tokens / 2))
        return max(1, permits)

    def _issue_grant(self, request: AdmissionRequest, *, permits: int, seconds: float | None) -> Grant:
        now, lease = request.now, self.settings.lease_seconds
        self.last_token += 1
        grant = Grant(
            id=f"{self._rng.getrandbits(64):016x}",
            scopes=tuple(state.scope for state in request.states),
            priority=request.priority,
            cost=request.cost,
            granted_at=now,
            expires_at=now + lease,
            source=request.source,
            is_probe=request.is_probe,
            token=self.last_token,
            permits=permits,
            usable_until=now + (lease if seconds is None else min(seconds, lease)),
        )
        for state in request.states:
            state.record_grant(request.shares, request.priority, request.cost * permits, now)
        self.breaker_registry.record_admission(grant)
        self.grants[grant.id] = grant
        self.counted_grant_ids.add(grant.id)
        self.next_expiry = min(self.next_expiry, grant.expires_at)
        return grant

    def _release(self, grant: Grant, outcomes: Iterable[CallOutcome], unspent: int, now: float) -> bool:
        held = self.grants.get(grant.id)
        if held is None or held.token != grant.token:
            return False
        self.expire_grants(now)
        if unspent > 0:
            for scope in held.scopes:
                self.state_of(scope, now).refund(held.priority, held.cost * unspent, held.granted_at, now)
        for outcome in outcomes:
            self._record_outcome(held, outcome, now)
        self._stop_counting(held, now)
        self.grants.pop(grant.id, None)
        return True

    def _stop_counting(self, grant: Grant, now: float) -> None:
        if grant.id in self.counted_grant_ids:
            self.counted_grant_ids.discard(grant.id)
            for scope in grant.scopes:
                self.state_of(scope, now).release_slot(grant.priority)

    def _record_outcome(self, grant: Grant, outcome: CallOutcome, now: float) -> None:
        if outcome.usage:
            for scope in dict.fromkeys(sample.scope for sample in outcome.usage):
                state = self.state_of(scope, now)
                others = state.in_flight - (scope in grant.scopes)
                state.record_usage(outcome.usage, max(0, others), now, self._rng)
        kind = outcome.kind
        for scope in grant.scopes:
            state = self.state_of(scope, now)
            if kind is CallOutcomeKind.OK:
                state.record_success(outcome.latency_seconds, state.in_flight, now)
            elif kind is CallOutcomeKind.TIMEOUT:
                state.record_overload(now)
        if kind is CallOutcomeKind.THROTTLED:
            self._throttled(grant, outcome, now)
        self.breaker_registry.record_outcome(grant, outcome, now)

    def _throttled(self, grant: Grant, outcome: CallOutcome, now: float) -> None:
        parked = self.state_of(outcome.parked_scope or grant.scopes[0], now)
        # A scope that met its own quota says nothing of the others; any other throttle is a platform that has too much.
        is_quota = pace_for(parked.usage_percent(now)) is not Pace.FREE
        parked.park(outcome.park_seconds, "the platform throttled it", now, self._rng)
        for state in [parked] if is_quota else [parked, *(self.state_of(scope, now) for scope in grant.scopes)]:
            state.record_overload(now)


def narrowest_first(scopes: Sequence[Scope]) -> list[Scope]:
    """Return the scopes without repeats, the fleet last."""
    return sorted(dict.fromkeys((*scopes, FLEET)), key=lambda scope: _WIDTH[scope.kind])
