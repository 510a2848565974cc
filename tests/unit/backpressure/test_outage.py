"""Tests of outages during a batch: one bad account, an upstream that fails for all, and recovery."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from adwarm.backpressure import CallRequest, Decision, ProcessAdmission, acquire_grant
from adwarm.backpressure.breakers import BREAKER_PROBES
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError, Refused, Transient
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from tests.simulation.local_admission import LocalAdmission

SETTINGS = BackpressureSettings()
COOLDOWN = SETTINGS.breaker_cooldown_seconds
APP = Scope(ScopeKind.APP, "main")


class CountingAdmission(LocalAdmission):
    """The shared budget, which counts requests for a permit."""

    asked = 0

    def admit(self, call: CallRequest) -> Decision:
        self.asked += 1
        return super().admit(call)


@dataclass
class Worker:
    """A worker's calls on a platform where the test decides which accounts fail."""

    clock: VirtualClock
    broken: set[str] = field(default_factory=set)
    called: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.budget = CountingAdmission(SETTINGS, rng=Random(1), time=self.seconds)
        self.admission = ProcessAdmission(self.budget, renews_in_background=False, monotonic=self.seconds)

    def seconds(self) -> float:
        return self.clock.now().timestamp()

    def call(self, account: str, priority: Priority = Priority.LOW) -> AdwarmError | None:
        """Make one call that may not wait, and return what it failed with."""
        scopes = (Scope(ScopeKind.ACCOUNT, account), APP)
        try:
            with acquire_grant(self.admission, self.clock, CallRequest(scopes, priority, "meta"), timeout_seconds=0):
                self.called[account] += 1
                if account in self.broken:
                    raise Transient("the platform is down")
        except AdwarmError as error:
            return error
        return None

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.sleep(seconds)


@pytest.fixture
def worker(clock: VirtualClock) -> Worker:
    """A worker on a healthy platform."""
    return Worker(clock)


def test_one_bad_account_harms_no_other(worker: Worker) -> None:
    """One account fails at every call for 107 seconds: critical calls of the others are all admitted at once."""
    worker.broken = {"act_bad"}
    healthy = [f"act_{number}" for number in range(5)]
    for _ in range(107):
        for _ in range(8):
            assert worker.call("act_bad") is not None
        assert [worker.call(account, Priority.CRITICAL) for account in healthy] == [None] * len(healthy)
        worker.pass_time(1)

    assert all(worker.called[account] == 107 for account in healthy)
    assert worker.called["act_bad"] < 20


def test_bad_accounts_that_call_first_do_not_keep_the_breaker_open(worker: Worker) -> None:
    """After an outage of all, two accounts that still fail do not block the others."""
    healthy, bad = [f"act_{number}" for number in range(5)], ["act_bad_1", "act_bad_2"]
    worker.broken = {*healthy, *bad}
    for _ in range(40):
        for account in [*bad, *healthy]:
            worker.call(account)
        worker.pass_time(1)
    worker.broken = set(bad)
    succeeded = 0
    for _ in range(int(COOLDOWN) + 2):
        for account in [*bad, *bad, *healthy]:
            succeeded += worker.call(account) is None
        worker.pass_time(1)

    assert succeeded
    assert [worker.call(account, Priority.CRITICAL) for account in healthy] == [None] * len(healthy)


@pytest.mark.parametrize(("accounts", "outage"), [(1, 107), (1, 1_000), (2, 1_000), (3, 107), (50, 107)])
def test_calls_succeed_within_one_cool_down_of_the_recovery(worker: Worker, accounts: int, outage: int) -> None:
    """However long everything failed, and however few accounts make calls."""
    names = [f"act_{number}" for number in range(accounts)]
    worker.broken = set(names)
    for _ in range(outage):
        for account in names:
            worker.call(account)
        worker.pass_time(1)
    worker.broken = set()
    healed = worker.seconds()
    while all(worker.call(account) is not None for account in names):
        worker.pass_time(1)

    assert worker.seconds() - healed <= COOLDOWN
    calls = worker.called.total()
    assert calls < 60 + outage / COOLDOWN * (BREAKER_PROBES + 1) * 2


def test_a_rejected_batch_takes_one_query(worker: Worker) -> None:
    """Two thousand keys meet an open breaker: each gets the scope and the retry hint, with one query in all."""
    names = [f"act_{number}" for number in range(2_000)]
    worker.broken = set(names)
    while not isinstance(worker.call(names[worker.called.total()]), Refused):
        worker.pass_time(0.1)
    asked = worker.budget.asked
    answers = [worker.call(account) for account in names]

    assert worker.budget.asked == asked
    assert all(isinstance(answer, Refused) and answer.scope == "source:meta" for answer in answers)
    assert all(isinstance(answer, Refused) and 0 < answer.retry_after <= COOLDOWN for answer in answers)
    assert worker.called.total() < 20


def test_a_cached_breaker_expires(worker: Worker) -> None:
    """A breaker that a human resets is noticed within a second, and the remaining time decreases."""
    worker.broken = {"act_1"}
    while not isinstance(refused := worker.call("act_1"), Refused):
        worker.pass_time(0.1)
    assert (refused.scope, refused.retry_after) == ("account:act_1", pytest.approx(COOLDOWN, abs=0.2))
    worker.pass_time(0.5)
    later = worker.call("act_1")
    assert isinstance(later, Refused)
    assert later.retry_after == pytest.approx(refused.retry_after - 0.5)
    worker.broken = set()
    worker.budget.budget.breakers.clear()
    worker.pass_time(0.6)

    assert worker.call("act_1") is None
