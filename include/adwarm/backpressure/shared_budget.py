"""The shared budget as a value in memory: every transition of admission, without clock, randomness or I/O of its own.

Guarantees, whoever stores it: the live grants of a scope never exceed its limit; a parked scope is not granted before
its time; a grant that ran out stops counting; an outcome teaches once. `LocalAdmission` keeps one such value for a
process, `SqlAdmission` loads the part that a question needs, asks, and saves what changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from adwarm.backpressure.admission import FLEET, Decision, Grant, Granted, Outcome, OutcomeKind, Refused, Returned, Wait
from adwarm.backpressure.admission_rules import Question, blocked, full, lacking, longer, paced
from adwarm.backpressure.breakers import Breakers
from adwarm.backpressure.scope_state import ScopeRules, ScopeState
from adwarm.backpressure.status import AdmissionStatus, status_of
from adwarm.backpressure.usage import Pace, band
from adwarm.foundation.circuit import Breaker
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings

_WIDTH = {ScopeKind.ACCOUNT: 0, ScopeKind.APP: 1, ScopeKind.TOKEN: 2, ScopeKind.FLEET: 3}
REMEMBERED_SECONDS = 600.0
"""An expired grant is remembered so long, so that its late outcome is learnt from once, and only once."""


class Budget:
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
        self.counted: set[str] = set()
        self.next_expiry = float("inf")
        self.token = 0
        self.guarding = Breakers(settings)
        self._rng = rng
        self._rules: dict[ScopeKind, ScopeRules] = {}

    @property
    def breakers(self) -> dict[str, Breaker]:
        """The breakers by name."""
        return self.guarding.by_name

    def admit(
        self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str, now: float
    ) -> Decision:
        """Ask for one slot in every scope, the fleet included, and `cost` tokens.

        Raises:
            BadRequest: `cost` is not positive.
        """
        question = self.question(scopes, priority, cost, source=source, now=now)
        return self._refusal(question) or Granted(self._grant(question, permits=1, seconds=None))

    def take_block(
        self, scopes: Sequence[Scope], priority: Priority, *, source: str, now: float, permits: int
    ) -> Decision:
        """Ask for a block: up to `permits` calls within `block_seconds`, one at a time.

        It holds one permit only where anybody waits, where the rate is short, and while an upstream is being tested.
        """
        question = self.question(scopes, priority, 1.0, source=source, now=now)
        if answer := self._refusal(question):
            return answer
        wide = self._affordable(question, permits)
        return Granted(self._grant(question, permits=wide, seconds=self.settings.block_seconds))

    def forbidden(
        self, scopes: Sequence[Scope], priority: Priority, *, source: str, now: float
    ) -> Wait | Refused | None:
        """Return what forbids such a call at `now`, whoever holds a slot: parked, over its quota, or given up."""
        return blocked(self.question(scopes, priority, 1.0, source=source, now=now))

    def verdict(
        self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str, now: float
    ) -> Wait | Refused | None:
        """Return why such a call would not be let in now, None when it would; takes nothing."""
        question = self.question(scopes, priority, cost, source=source, now=now)
        return blocked(question) or lacking(question)

    def question(
        self, scopes: Sequence[Scope], priority: Priority, cost: float, *, source: str, now: float
    ) -> Question:
        """Return the question as `judgement` takes it.

        Raises:
            BadRequest: `cost` is not positive.
        """
        if not cost > 0:
            raise BadRequest(f"a call's cost must be above 0, not {cost}; count one per platform call")
        self.expire(now)
        states = [self.state(scope, now) for scope in narrowest_first(scopes)]
        guards = self.guarding.guards(source, scopes, now)
        return Question(states, guards, self.settings.shares, priority, cost, source, now)

    def renew(self, grant: Grant, now: float) -> Grant:
        """Give the grant a fresh lease of `lease_seconds`, under a new fencing token.

        Raises:
            Transient: the lease had run out or was renewed by another, so that others may hold its slot.
        """
        self.expire(now)
        held = self.grants.get(grant.id)
        if held is None or held.token != grant.token or grant.id not in self.counted:
            raise Transient("the grant expired before it was renewed; ask for a new one")
        self.token += 1
        renewed = replace(held, expires_at=now + self.settings.lease_seconds, token=self.token)
        self.grants[grant.id] = renewed
        return renewed

    def settle(self, grant: Grant, outcome: Outcome, now: float) -> bool:
        """Return the grant and learn from the outcome; False, and nothing changes, when that was done before.

        A grant that expired meanwhile still teaches: its call was made.
        """
        return self._return(grant, (outcome,), 0, now)

    def give_back(self, blocks: Iterable[Returned], now: float) -> None:
        """Return blocks with the outcomes of their calls; permits that were not used are not charged."""
        for grant, outcomes, unspent in blocks:
            self._return(grant, outcomes, unspent, now)

    def expire(self, now: float) -> list[Grant]:
        """Stop counting the grants that ran out by `now`, and return them."""
        if now < self.next_expiry:
            return []
        ended = [self.grants[id_] for id_ in self.counted if self.grants[id_].expires_at <= now]
        for grant in ended:
            self._uncount(grant, now)
        for id_ in [id_ for id_, grant in self.grants.items() if grant.expires_at + REMEMBERED_SECONDS <= now]:
            self.grants.pop(id_)
        self.next_expiry = min((self.grants[id_].expires_at for id_ in self.counted), default=float("inf"))
        return ended

    def overlong_parks(self) -> list[tuple[Scope, float]]:
        """Return each scope that the platform asked to be left alone for too long, with the seconds; tells it once."""
        found = [(state.scope, state.overlong) for state in self.scopes.values() if state.overlong is not None]
        for scope, _ in found:
            self.scopes[scope].overlong = None
        return [(scope, seconds) for scope, seconds in found if seconds is not None]

    def status(self, now: float) -> AdmissionStatus:
        """Return limits, calls in flight, parked scopes and breakers, as they are at `now`."""
        self.expire(now)
        states = sorted(self.scopes.values(), key=lambda state: state.name)
        return status_of(states, self.guarding, now)

    def state(self, scope: Scope, now: float) -> ScopeState:
        """Return the scope's state."""
        found = self.scopes.get(scope)
        if found is None:
            found = self.scopes[scope] = ScopeState(scope, self.rules(scope), now)
        return found

    def rules(self, scope: Scope) -> ScopeRules:
        """Return the scope's rules; scopes of one kind share them."""
        if scope.kind not in self._rules:
            self._rules[scope.kind] = ScopeRules.of(scope, self.settings)
        return self._rules[scope.kind]

    def _refusal(self, question: Question) -> Wait | Refused | None:
        if answer := blocked(question):
            return answer
        slot, rate = full(question), paced(question)
        answer = longer(slot, rate)
        # Only who waits for this very thing may hold back others there: an account's own queue must not idle the fleet,
        # nor who waits for the rate its slots.
        for state in question.states:
            if answer is not None and state.name == answer.scope:
                queue = state.askers if answer is slot else state.payers
                queue.turned_away(question.priority, question.now)
        return answer

    def _affordable(self, question: Question, permits: int) -> int:
        """Return how many permits a block may hold: half of what is free for the class, the whole of it never."""
        if question.is_probe:
            return 1
        for state in question.states:
            if state.is_wanted(question.now) or state.pace(question.now).value:
                return 1
            if state.bucket_rules(question.now) is not None:
                permits = min(permits, int(state.bucket.tokens / 2))
        return max(1, permits)

    def _grant(self, question: Question, *, permits: int, seconds: float | None) -> Grant:
        now, lease = question.now, self.settings.lease_seconds
        self.token += 1
        grant = Grant(
            id=f"{self._rng.getrandbits(64):016x}",
            scopes=tuple(state.scope for state in question.states),
            priority=question.priority,
            cost=question.cost,
            granted_at=now,
            expires_at=now + lease,
            source=question.source,
            probe=question.is_probe,
            token=self.token,
            permits=permits,
            spend_until=now + (lease if seconds is None else min(seconds, lease)),
        )
        for state in question.states:
            state.granted(question.shares, question.priority, question.cost * permits, now)
        self.guarding.admitted(grant)
        self.grants[grant.id] = grant
        self.counted.add(grant.id)
        self.next_expiry = min(self.next_expiry, grant.expires_at)
        return grant

    def _return(self, grant: Grant, outcomes: Iterable[Outcome], unspent: int, now: float) -> bool:
        held = self.grants.get(grant.id)
        if held is None or held.token != grant.token:
            return False
        self.expire(now)
        if unspent > 0:
            for scope in held.scopes:
                self.state(scope, now).unspent(held.priority, held.cost * unspent, held.granted_at, now)
        for outcome in outcomes:
            self._learn(held, outcome, now)
        self._uncount(held, now)
        self.grants.pop(grant.id, None)
        return True

    def _uncount(self, grant: Grant, now: float) -> None:
        if grant.id in self.counted:
            self.counted.discard(grant.id)
            for scope in grant.scopes:
                self.state(scope, now).freed(grant.priority)

    def _learn(self, grant: Grant, outcome: Outcome, now: float) -> None:
        if outcome.usage:
            for scope in dict.fromkeys(sample.scope for sample in outcome.usage):
                state = self.state(scope, now)
                others = state.in_flight - (scope in grant.scopes)
                state.heard(outcome.usage, max(0, others), now, self._rng)
        kind = outcome.kind
        for scope in grant.scopes:
            state = self.state(scope, now)
            if kind is OutcomeKind.OK:
                state.succeeded(outcome.latency_seconds, state.in_flight, now)
            elif kind is OutcomeKind.TIMEOUT:
                state.overloaded(now)
        if kind is OutcomeKind.THROTTLED:
            self._throttled(grant, outcome, now)
        self.guarding.learn(grant, outcome, now)

    def _throttled(self, grant: Grant, outcome: Outcome, now: float) -> None:
        parked = self.state(outcome.parked_scope or grant.scopes[0], now)
        # A scope that met its own quota says nothing of the others; any other throttle is a platform that has too much.
        is_quota = band(parked.usage(now)) is not Pace.FREE
        parked.park(outcome.park_seconds, "the platform throttled it", now, self._rng)
        for state in [parked] if is_quota else [parked, *(self.state(scope, now) for scope in grant.scopes)]:
            state.overloaded(now)


def narrowest_first(scopes: Sequence[Scope]) -> list[Scope]:
    """Return the scopes without repeats, the fleet last."""
    return sorted(dict.fromkeys((*scopes, FLEET)), key=lambda scope: _WIDTH[scope.kind])
