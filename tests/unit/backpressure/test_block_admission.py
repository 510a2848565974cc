"""Tests of using blocks: what is acquired, what is released, and which calls are never made."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import (
    BlockAdmission,
    CallOutcome,
    CallOutcomeKind,
    Granted,
    Rejected,
    SqlAdmission,
    Wait,
)
from adwarm.backpressure.admission import Grant
from adwarm.backpressure.block_admission import GROWTH_SECONDS, IDLE_SECONDS, RECHECK_SECONDS
from adwarm.foundation.errors import Transient
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.settings import BackpressureSettings
from adwarm.store.gates import list_closed
from tests.simulation.local_admission import LocalAdmission

if TYPE_CHECKING:
    from tests.unit.backpressure.conftest import DatabaseClock

ACCOUNT = Scope(ScopeKind.ACCOUNT, "act_1")
OTHER = Scope(ScopeKind.ACCOUNT, "act_2")
APP = Scope(ScopeKind.APP, "main")
OK = CallOutcome(CallOutcomeKind.OK, 0.5)


@dataclass
class Moment:
    """The clock of two workers and the budget, moved by the test."""

    now: float = 1_764_072_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Pair:
    """Two workers that use blocks of one budget in memory."""

    time: Moment
    budget: LocalAdmission
    one: BlockAdmission
    two: BlockAdmission

    @property
    def tokens(self) -> float:
        """The tokens left in the fleet's bucket."""
        return self.budget.status().scopes[-1].tokens or 0.0

    @property
    def in_flight(self) -> dict[str, int]:
        """Calls in flight of the fleet, by class."""
        return self.budget.status().scopes[-1].in_flight


@pytest.fixture
def pair() -> Pair:
    """Two workers on a wide budget."""
    return make_pair()


def make_pair(**changes: object) -> Pair:
    """Return two workers on one budget."""
    time = Moment()
    settings = BackpressureSettings(**{"rate_per_second": 0.001, "burst": 100, **changes})
    budget = LocalAdmission(settings, rng=Random(1), time=time)
    workers = [BlockAdmission(budget, 8, maintain_in_background=False, monotonic=time) for _ in range(2)]
    return Pair(time, budget, *workers)


def request(worker: BlockAdmission, scope: Scope = ACCOUNT, priority: Priority = Priority.NORMAL) -> object:
    """Request one call."""
    return worker.admit((scope, APP), priority, source="meta")


def call(worker: BlockAdmission, scope: Scope = ACCOUNT, outcome: CallOutcome = OK) -> Grant:
    """Make one call that must be admitted."""
    decision = request(worker, scope)
    assert isinstance(decision, Granted), decision
    worker.release(decision.grant, outcome)
    return decision.grant


def grow_block(worker: BlockAdmission, scope: Scope = ACCOUNT) -> None:
    """Make calls until the next block holds eight permits."""
    for _ in range(7):
        call(worker, scope)


def test_blocks_grow_while_calls_follow_each_other(pair: Pair) -> None:
    """Fifteen calls to one account are four grants of the shared budget, of one, two, four and eight permits."""
    grants = [call(pair.one).id for _ in range(15)]

    assert [grants.count(grant) for grant in dict.fromkeys(grants)] == [1, 2, 4, 8]
    assert pair.tokens == pytest.approx(85, abs=0.01)
    assert pair.in_flight == {}


def test_a_single_call_holds_nothing_afterwards(pair: Pair) -> None:
    """After a single call the account is free for others; a later call starts with one permit again."""
    grow_block(pair.one)
    call(pair.two)
    pair.time.now += GROWTH_SECONDS + 0.1
    grant = call(pair.one)

    assert grant.permits == 1
    assert pair.in_flight == {}


def test_a_used_block_is_returned_with_that_of_the_next_account(pair: Pair) -> None:
    """A worker that goes from account to account holds one used block, a twentieth of a second at most."""
    for number in range(1, 5):
        call(pair.one, Scope(ScopeKind.ACCOUNT, f"act_{number}"))
        assert pair.in_flight == ({"normal": 1} if number > 1 else {})
    pair.time.now += 1.01 * IDLE_SECONDS
    assert pair.one.maintain() == 0

    assert pair.in_flight == {}
    assert pair.tokens == pytest.approx(96, abs=0.01)


def test_a_used_block_is_returned_at_once_where_anything_waits(pair: Pair) -> None:
    """Nothing lingers that another worker waited for when it was granted."""
    call(pair.one, Scope(ScopeKind.ACCOUNT, "act_2"))
    held = request(pair.one)
    assert isinstance(held, Granted)
    assert isinstance(request(pair.two, priority=Priority.LOW), Wait)
    pair.one.release(held.grant, OK)
    call(pair.one)

    assert pair.in_flight == {}


def test_unused_permits_return_to_the_budget(pair: Pair) -> None:
    """After `release_idle` the slot is free, and only the calls that were made are charged."""
    grow_block(pair.one)
    call(pair.one)
    call(pair.one)
    assert pair.in_flight == {"normal": 1}
    pair.one.release_idle()

    assert pair.in_flight == {}
    assert pair.tokens == pytest.approx(91, abs=0.01)


def test_an_idle_block_is_released(pair: Pair) -> None:
    """A block without a call for a moment is released by maintenance."""
    grow_block(pair.one)
    call(pair.one)
    assert pair.one.maintain() == 1
    pair.time.now += 2 * IDLE_SECONDS
    assert pair.one.maintain() == 0
    assert pair.in_flight == {}


def test_a_block_ends_within_two_seconds(pair: Pair) -> None:
    """A permit that was not used by then returns to the budget, and a new block is acquired."""
    grow_block(pair.one)
    first = call(pair.one)
    pair.time.now += 2
    second = call(pair.one)

    assert (first.permits, second.permits) == (8, 1)
    assert pair.tokens == pytest.approx(91, abs=0.01)


def test_an_account_belongs_to_one_worker_at_a_time(pair: Pair) -> None:
    """While one worker's block on the account lives, no other worker calls it, not even between two calls."""
    grow_block(pair.one)
    call(pair.one)
    assert isinstance(request(pair.two), Wait)
    pair.one.release_idle()
    call(pair.two)


def test_threads_of_one_worker_do_not_share_an_accounts_slot(pair: Pair) -> None:
    """A second call to the account waits until the first has ended."""
    decision = request(pair.one)
    assert isinstance(decision, Granted)
    assert isinstance(request(pair.one), Wait)
    pair.one.release(decision.grant, OK)
    call(pair.one)


def test_a_throttle_ends_the_block_and_reaches_every_worker(pair: Pair) -> None:
    """The block of the throttled call is released at once."""
    grow_block(pair.one)
    call(pair.one)
    call(pair.one, outcome=CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 60.0, ACCOUNT))

    for worker in (pair.one, pair.two):
        parked = request(worker)
        assert isinstance(parked, Wait)
        assert parked.seconds >= 60


def test_a_park_by_another_worker_ends_a_live_block(pair: Pair) -> None:
    """One worker parked the app: the other's block ends at its next check, with permits left."""
    grow_block(pair.two, OTHER)
    call(pair.two, OTHER)
    call(pair.one, outcome=CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 60.0, APP))
    pair.time.now += 2 * RECHECK_SECONDS

    parked = request(pair.two, OTHER)
    assert isinstance(parked, Wait)
    assert parked.scope == str(APP)
    assert pair.in_flight == {}


def test_an_open_breaker_stops_a_live_block() -> None:
    """Failures seen by one worker reject the other's next call."""
    pair = make_pair(breaker_min_calls=2)
    grow_block(pair.two, OTHER)
    call(pair.two, OTHER)
    for number in range(9):
        decision = request(pair.one, Scope(ScopeKind.ACCOUNT, f"act_{10 + number}"))
        if isinstance(decision, Granted):
            pair.one.release(decision.grant, CallOutcome(CallOutcomeKind.FAILED, 0.1))
    pair.time.now += 2 * RECHECK_SECONDS

    refused = request(pair.two, OTHER)
    assert isinstance(refused, Rejected)
    assert refused.scope == "source:meta"


def test_high_usage_is_reported_at_once(pair: Pair) -> None:
    """A figure of 80 % does not wait until the block ends."""
    call(pair.one, outcome=CallOutcome(CallOutcomeKind.OK, 0.1, (UsageSample(APP, 80.0),)))

    assert pair.budget.status().scopes[1].pace == "slow"


def test_while_another_call_waits_a_block_holds_one_permit() -> None:
    """Scarce slots are taken call by call."""
    pair = make_pair(max_concurrent=1)
    held = request(pair.one)
    assert isinstance(held, Granted)
    assert isinstance(request(pair.two, OTHER), Wait)
    pair.one.release(held.grant, OK)
    pair.one.release_idle()
    decision = request(pair.two, OTHER)
    assert isinstance(decision, Granted)

    assert decision.grant.permits == 1
    pair.two.release(decision.grant, OK)
    assert pair.in_flight == {}


def test_a_long_call_keeps_its_slot(pair: Pair) -> None:
    """Its lease is renewed while it runs, and its outcome counts."""
    decision = request(pair.one)
    assert isinstance(decision, Granted)
    for _ in range(6):
        pair.time.now += 11
        assert pair.one.maintain() == 1
        assert isinstance(request(pair.two), Wait)
    pair.one.release(decision.grant, OK)
    pair.time.now += 1
    call(pair.two)


def test_a_call_that_hangs_loses_its_slot(pair: Pair) -> None:
    """After the longest time of a call its lease is not renewed, and another worker is admitted."""
    pair.one._longest_call_seconds = 60.0
    assert isinstance(request(pair.one), Granted)
    for _ in range(12):
        pair.time.now += 11
        pair.one.maintain()
    call(pair.two)


def test_a_lost_lease_cannot_be_renewed(pair: Pair) -> None:
    """A worker that was paused too long learns that another may hold the slot."""
    decision = request(pair.one)
    assert isinstance(decision, Granted)
    pair.time.now += 31
    with pytest.raises(Transient, match="expired"):
        pair.one.renew(decision.grant)
    assert pair.one.maintain() == 1
    pair.one.release(decision.grant, OK)
    assert pair.one.maintain() == 0


def test_a_dead_workers_block_expires(pair: Pair) -> None:
    """Its slot counts until the lease expires, and its tokens stay charged."""
    grow_block(pair.one)
    call(pair.one)
    assert isinstance(request(pair.two), Wait)
    pair.time.now += 31
    call(pair.two)
    assert pair.tokens == pytest.approx(84, abs=0.1)


def test_a_call_with_another_cost_gets_its_own_grant(pair: Pair) -> None:
    """A block holds permits of one call each."""
    decision = pair.one.admit((ACCOUNT,), Priority.NORMAL, 3.0, source="meta")
    assert isinstance(decision, Granted)
    assert (decision.grant.cost, decision.grant.permits) == (3.0, 1)
    pair.one.release(decision.grant, OK)
    assert pair.in_flight == {}


def test_blocks_share_the_budget_through_sql(
    make: Callable[..., SqlAdmission], time: "DatabaseClock", engine: Engine
) -> None:
    """Two processes: one slot per account, one charge per block, and unused permits return."""
    admissions = [make(name, per_account_concurrent=1) for name in ("one", "two")]
    one, two = (
        BlockAdmission(admission, 8, maintain_in_background=False, monotonic=lambda: time.now)
        for admission in admissions
    )
    grow_block(one)
    call(one)
    assert isinstance(request(two), Wait)
    one.release_idle()
    call(two, outcome=CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 60.0, APP))

    status = admissions[0].status()
    assert [item.scope for item in list_closed(engine, time.now)] == [str(APP)]
    assert [scope.in_flight for scope in status.scopes] == [{}] * 3
    assert status.scopes[-1].tokens == pytest.approx(41)


def test_background_maintenance_releases_idle_blocks() -> None:
    """The thread ends when no block is left."""
    budget = LocalAdmission(BackpressureSettings(), rng=Random(1), time=lambda: 1.0)
    worker = BlockAdmission(budget, 8)
    call(worker)
    keeper = worker._maintenance_thread
    assert keeper is not None
    keeper.join(timeout=10)

    assert not keeper.is_alive()
    assert budget.status().scopes[-1].in_flight == {}
