"""Shares of slots through the budget itself: each class may take what the rules promise."""

from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adwarm.backpressure import FLEET, CallOutcome, CallOutcomeKind, CallRequest, Grant, SharedBudget, Wait
from adwarm.backpressure.shares import ACTIVE_SECONDS, entitlement
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings

from . import SEARCH

SLOTS = 20
SETTINGS = BackpressureSettings(max_concurrent=SLOTS, per_account_concurrent=100, rate_per_second=1e6, burst=1_000_000)
CHAIN = (Scope(ScopeKind.ACCOUNT, "act_1"), Scope(ScopeKind.APP, "1"))
PRIORITIES = st.sampled_from(Priority)


class SharesMachine(RuleBasedStateMachine):
    """Four classes take and give back slots of one fleet, and wait when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.budget = 1_000.0, SharedBudget(SETTINGS, Random(1))
        self.grants: list[Grant] = []
        self.waiting: dict[Priority, float] = {}

    def held(self, priority: Priority) -> int:
        """Return the calls in flight of one class."""
        return sum(grant.priority is priority for grant in self.grants)

    @rule(priority=PRIORITIES)
    def somebody_asks(self, priority: Priority) -> None:
        """Whoever waits above, below its share, keeps what it is owed; with nobody waiting nothing is held back."""
        owed = sum(
            max(0, entitlement(SLOTS, SETTINGS.shares, other) - self.held(other))
            for other, at in self.waiting.items()
            if other < priority and self.now - at <= ACTIVE_SECONDS
        )
        free = SLOTS - len(self.grants)
        decision = self.budget.admit(CallRequest(CHAIN, priority, "meta"), self.now)
        if isinstance(decision, Grant):
            assert free - owed >= 1, "it took a slot that somebody above waits for"
            self.grants.append(decision)
            self.waiting.pop(priority, None)
            return
        assert isinstance(decision, Wait)
        lately = [at for other, at in self.waiting.items() if other is not priority and self.now - at <= ACTIVE_SECONDS]
        below_share = self.held(priority) < entitlement(SLOTS, SETTINGS.shares, priority)
        if not lately and free > len(Priority):
            raise AssertionError(f"{priority.name} waits although {free} slots are free and nobody else waits")
        if priority is Priority.CRITICAL and below_share:
            assert free == 0, "the most urgent below its share waits although there is room"
        self.waiting[priority] = self.now

    @precondition(lambda self: self.grants)
    @rule(data=st.data())
    def a_call_ends(self, data: st.DataObject) -> None:
        """A slot comes back."""
        grant = self.grants.pop(data.draw(st.integers(0, len(self.grants) - 1)))
        assert self.budget.release(grant, CallOutcome(CallOutcomeKind.SKIPPED), self.now)
        assert not self.budget.release(grant, CallOutcome(CallOutcomeKind.SKIPPED), self.now)

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.9, 2.1, 5.0]))
    def time_passes(self, seconds: float) -> None:
        """Time goes by, and takes with it the grants whose lease is over."""
        self.now += seconds
        self.budget.expire_grants(self.now)
        self.grants = [grant for grant in self.grants if grant.expires_at > self.now]

    @invariant()
    def the_books_agree(self) -> None:
        """The fleet counts what is in flight, by class, and never more than its slots."""
        state = self.budget.scope_state(FLEET, self.now)
        assert list(state.in_flight_by_class) == [self.held(priority) for priority in Priority]
        assert state.in_flight <= SLOTS


TestShares = SharesMachine.TestCase
TestShares.settings = SEARCH
