"""Tests of the admission of a process: leases of long calls, and open breakers without a query."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant, ProcessAdmission, SqlAdmission, Wait
from adwarm.backpressure import process_admission as module
from adwarm.foundation.errors import StorageError, Transient
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from tests.simulation.local_admission import LocalAdmission

if TYPE_CHECKING:
    from tests.unit.backpressure.conftest import DatabaseClock

ACCOUNT, APP = Scope(ScopeKind.ACCOUNT, "act_1"), Scope(ScopeKind.APP, "main")
OK = CallOutcome(CallOutcomeKind.OK, 0.5)


@dataclass
class Moment:
    """The clock of two processes and the budget, moved by the test."""

    now: float = 1_764_072_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Pair:
    """Two processes on one budget in memory."""

    time: Moment
    budget: LocalAdmission
    one: ProcessAdmission
    two: ProcessAdmission

    @property
    def in_flight(self) -> dict[str, int]:
        """Calls in flight of the fleet, by class."""
        return self.budget.status().scopes[-1].in_flight


@pytest.fixture
def pair() -> Pair:
    """Two processes on a wide budget, in which an account has one call in flight."""
    time = Moment()
    budget = LocalAdmission(BackpressureSettings(rate_per_second=1_000, burst=1_000), rng=Random(1), time=time)
    options = {"renews_in_background": False, "longest_call_seconds": 90.0, "monotonic": time}
    return Pair(time, budget, ProcessAdmission(budget, **options), ProcessAdmission(budget, **options))


def request(process: ProcessAdmission, scope: Scope = ACCOUNT) -> object:
    """Request one call."""
    return process.admit(CallRequest((scope, APP), Priority.NORMAL, "meta"))


def begin(process: ProcessAdmission, scope: Scope = ACCOUNT) -> Grant:
    """Begin a call that must be admitted."""
    decision = request(process, scope)
    assert isinstance(decision, Grant), decision
    return decision


def test_a_call_holds_one_permit_while_it_runs(pair: Pair) -> None:
    """Nothing is taken in advance and nothing is held afterwards, whoever calls next."""
    for process in (pair.one, pair.one, pair.two):
        grant = begin(process)
        assert pair.in_flight == {"normal": 1}
        assert isinstance(request(pair.one), Wait)
        process.release(grant, OK)
        assert (pair.in_flight, process.renew_due()) == ({}, 0)


def test_a_call_that_outlives_its_lease_keeps_its_slot(pair: Pair) -> None:
    """A lease of 30 s is renewed after ten, again and again; with its first grant the call returns the newest one."""
    grant = begin(pair.one)
    for _ in range(8):
        pair.time.now += 11
        assert pair.one.renew_due() == 1
        assert isinstance(request(pair.two), Wait)
    pair.one.release(grant, CallOutcome(CallOutcomeKind.THROTTLED, 88.0, (), 300.0, ACCOUNT))
    assert pair.in_flight == {}
    assert isinstance(request(pair.two), Wait), "its outcome counts: the account is parked"


def test_a_lease_is_renewed_after_a_third_of_it(pair: Pair) -> None:
    """Not before, which would be a transaction more for each second of a call."""
    begin(pair.one)
    expiries = []
    for _ in range(3):
        pair.time.now += 5
        pair.one.renew_due()
        expiries += [round(grant.expires_at - pair.time.now) for grant in pair.budget.budget.grants.values()]
    assert expiries == [25, 30, 25]


def test_a_call_that_hangs_loses_its_slot(pair: Pair) -> None:
    """After the longest time of a call its lease is not renewed, and another process is admitted."""
    begin(pair.one)
    for _ in range(12):
        pair.time.now += 11
        pair.one.renew_due()
    begin(pair.two)


def test_a_caller_renews_between_pages(pair: Pair) -> None:
    """Whoever renewed last, the process or the caller, the newest token is used."""
    grant = begin(pair.one)
    pair.time.now += 11
    pair.one.renew_due()
    renewed = pair.one.renew(grant)
    assert renewed.token == grant.token + 2
    pair.time.now += 9
    pair.one.renew_due()
    assert pair.one.renew(grant).token == renewed.token + 1, "the caller's renewal counts from then on"
    pair.one.release(grant, OK)
    assert pair.in_flight == {}
    with pytest.raises(Transient, match="expired"):
        pair.one.renew(grant)


def test_a_lost_lease_is_not_renewed_again(pair: Pair) -> None:
    """A process that slept too long loses its slot once, and its call ends like any other."""
    grant = begin(pair.one)
    pair.time.now += 31
    other = begin(pair.two)
    assert pair.one.renew_due() == 1
    with pytest.raises(Transient, match="expired"):
        pair.one.renew(grant)
    pair.one.release(grant, OK)
    assert (pair.one.renew_due(), pair.in_flight) == (0, {"normal": 1})
    pair.two.release(other, OK)


def test_a_call_is_released_once(pair: Pair) -> None:
    """A second release, and that of a grant that this process does not know, have no effect."""
    grant = begin(pair.one)
    for process in (pair.one, pair.one, pair.two):
        process.release(grant, OK)
    assert pair.in_flight == {}
    begin(pair.one)


def test_a_rejection_is_cached_by_source_and_account(pair: Pair) -> None:
    """Of an account's breaker only that account's calls are rejected without a query, for a second at most."""
    for _ in range(20):
        decision = request(pair.one)
        if isinstance(decision, Grant):
            pair.one.release(decision, CallOutcome(CallOutcomeKind.FAILED, 0.1))
    pair.budget.budget.breakers.clear()
    assert not isinstance(request(pair.one), Grant)
    pair.one.release(begin(pair.one, Scope(ScopeKind.ACCOUNT, "act_2")), OK)
    pair.time.now += 1.0
    begin(pair.one)


def test_processes_share_the_budget_through_sql(make: Callable[..., SqlAdmission], time: "DatabaseClock") -> None:
    """A long call keeps the account's only slot in the database; that of a dead process is free after its lease."""
    one, two = (
        ProcessAdmission(make(name, per_account_concurrent=1), renews_in_background=False, monotonic=lambda: time.now)
        for name in ("one", "two")
    )
    grant = begin(one)
    for _ in range(5):
        time.now += 11
        one.renew_due()
        assert isinstance(request(two), Wait)
    one.release(grant, OK)
    begin(two)
    time.now += 31
    begin(one)


def test_leases_are_renewed_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread for all calls, which goes on after an error of the database, and ends with the last call."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.001)
    renewed, fails = threading.Event(), [StorageError("locked"), OSError("gone")]

    class Budget(LocalAdmission):
        def renew(self, grant: Grant) -> Grant:
            if fails:
                raise fails.pop()
            renewed.set()
            return super().renew(grant)

    ticks = iter(range(1, 10**9))
    budget = Budget(BackpressureSettings(lease_seconds=30), rng=Random(1), time=lambda: 1.0)
    process = ProcessAdmission(budget, longest_call_seconds=1e12, monotonic=lambda: 20.0 * next(ticks))
    grant, other = begin(process), begin(process, Scope(ScopeKind.ACCOUNT, "act_2"))
    thread = process._thread
    assert thread is not None
    assert renewed.wait(10)
    process.release(grant, OK)
    process.release(other, OK)
    thread.join(10)
    assert not thread.is_alive()
    assert budget.status().scopes[-1].in_flight == {}
