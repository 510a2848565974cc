"""What the threads of a batch share: time limits, dead tokens, open breakers, and leases that are renewed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import TimeLimitReached, VirtualClock, seconds_left
from adwarm.foundation.errors import Refused, TokenDead, Transient
from adwarm.model import Priority
from adwarm.prefetch import fetch_lease
from adwarm.prefetch.async_reports import ReportPending, ReportPoller, ReportSchedule
from adwarm.prefetch.batch import Batch, BatchStopped
from adwarm.prefetch.fetch_lease import FetchLease, LeaseLost, LeaseTiming
from adwarm.settings import Settings
from adwarm.store import leases
from tests.unit.conftest import NOW
from tests.unit.prefetch.conftest import UnlimitedAdmission
from tests.unit.prefetch.test_async_reports import PolledSource, report


@dataclass
class Seconds:
    """A monotonic clock that a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@dataclass
class _BusySlots:
    """Slots that other accounts hold for 50 s."""

    seconds: Seconds

    def release(self) -> None:
        """Give the slot away."""

    def acquire(self) -> None:
        """Wait for a slot."""
        self.seconds.now += 50


@pytest.fixture
def seconds() -> Seconds:
    """The clock of the batch."""
    return Seconds()


@pytest.fixture
def batch(seconds: Seconds, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A batch of two workers, with 100 s for the batch and 10 s for an account."""
    monkeypatch.setattr("adwarm.prefetch.batch.BATCH_SECONDS", 100.0)
    clock = VirtualClock(NOW)

    def make_schedule() -> ReportSchedule:
        return ReportSchedule(UnlimitedAdmission(clock), clock, Priority.LOW)

    poller = ReportPoller(clock, 30, make_schedule, lambda connection: PolledSource(clock))  # type: ignore[arg-type, return-value]
    return Batch(Settings(workers=2, account_seconds=10), Priority.LOW, 30, poller, seconds)


def test_an_account_has_a_time_limit(batch: Batch, seconds: Seconds) -> None:
    """An account that takes too long may make no further call; the next account has its own limit."""
    with batch.acquire_slot():
        seconds.now = 9
        batch.check_call_allowed("", "meta")
        seconds.now = 11
        with pytest.raises(TimeLimitReached, match="ADWARM_ACCOUNT_SECONDS"):
            batch.check_call_allowed("", "meta")
    with batch.acquire_slot():
        batch.check_call_allowed("", "meta")


def test_waiting_for_a_report_is_a_part_of_the_account_s_time(batch: Batch, seconds: Seconds) -> None:
    """The wait gets the time that is left and uses it up; waiting for another account's slot afterwards does not."""
    given: list[float] = []

    def wait(_connection: str, _report: object, longest: float) -> None:
        given.append(longest)
        seconds.now += 4
        with batch.acquire_slot(), batch.acquire_slot():  # the slot is free meanwhile
            pass

    batch.poller.wait = wait  # type: ignore[assignment, method-assign]
    with batch.acquire_slot() as limit:
        seconds.now = 2
        batch.wait_for_report("", report(1), limit)
        assert (given, limit.seconds_left) == ([8.0], 4.0)
        slots = batch._slots
        batch._slots = _BusySlots(seconds)  # type: ignore[assignment]
        batch.poller.wait = lambda *_: None  # type: ignore[assignment, method-assign]
        batch.wait_for_report("", report(1), limit)
        assert (seconds.now, limit.seconds_left) == (56.0, 4.0)
        batch._slots, batch.poller.wait = slots, wait  # type: ignore[assignment, method-assign]
        batch.wait_for_report("", report(1), limit)
        with pytest.raises(TimeLimitReached, match="ADWARM_ACCOUNT_SECONDS"):
            batch.check_call_allowed("", "meta")


def test_a_report_that_runs_without_end_parks_its_account(batch: Batch) -> None:
    """A thread that waits for a report is woken when its time is over; the report stays for the next fetch."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(batch.poller.wait, "", report(1), 5.0)
        batch.poller.run_until_done([waiting], 1, lambda: None)
    with pytest.raises(ReportPending, match="is running"):
        waiting.result()
    clock = batch.poller.clock
    assert isinstance(clock, VirtualClock)
    assert (clock.moment - NOW).total_seconds() <= 6


def test_a_call_has_no_more_time_than_its_account_and_its_batch(batch: Batch, seconds: Seconds) -> None:
    """What runs in a slot sees the nearest end: that of the account, or that of the batch once it is nearer."""
    with batch.acquire_slot():
        seconds.now = 4
        assert seconds_left() == 6
    seconds.now = 95
    with batch.acquire_slot():
        assert seconds_left() == 5
        seconds.now = 101
        with pytest.raises(BatchStopped, match="the batch took longer"):
            batch.check_time()


def test_a_batch_has_a_time_limit(batch: Batch, seconds: Seconds) -> None:
    """After the limit every account ends at its next call; the next attempt continues."""
    seconds.now = 101
    with ThreadPoolExecutor(1) as pool:
        batch.supervise([pool.submit(batch._heartbeat)], 1)
    with batch.acquire_slot(), pytest.raises(BatchStopped, match="the batch took longer"):
        batch.check_call_allowed("", "meta")


def test_what_is_over_for_a_connection_is_called_once(batch: Batch) -> None:
    """With a dead token other accounts of the connection end without a call, those of another go on."""
    batch.record_error("eu", "meta", TokenDead())
    batch.check_call_allowed("", "meta")
    with pytest.raises(TokenDead, match="renew it"):
        batch.check_call_allowed("eu", "meta")


def test_an_open_breaker_refuses_the_whole_source(batch: Batch, seconds: Seconds) -> None:
    """Every account of the source is refused until the breaker's time; an account's breaker stops only that account."""
    batch.record_error("", "meta", Refused("account", retry_after=20, scope="account:act_1"))
    batch.check_call_allowed("", "meta")
    batch.record_error("", "meta", Refused("the breaker of meta is open", retry_after=20, scope="source:meta"))
    seconds.now = 5
    with pytest.raises(Refused, match="breaker") as refused:
        batch.check_call_allowed("", "meta")
    assert refused.value.retry_after == 15
    batch.check_call_allowed("", "sql")
    seconds.now = 21
    batch.check_call_allowed("", "meta")


@pytest.mark.parametrize("work", ["progress", "hang"])
def test_a_lease_is_renewed_while_its_holder_makes_progress(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """With progress the lease is kept; a holder that hangs is not renewed, and learns that it lost the lease."""
    ticks = Seconds()
    monkeypatch.setattr(fetch_lease.time, "monotonic", ticks)
    renewals: list[float] = []
    real: Callable[..., bool] = leases.renew
    monkeypatch.setattr(fetch_lease.leases, "renew", lambda *args: renewals.append(ticks.now) or real(*args))
    lease = leases.acquire(engine, "fetch:act_1:x", "one", 30)
    assert lease is not None
    renewed = FetchLease(engine, lease, LeaseTiming(lease=30, wait=0, stall=40), 0.0, 0.0)
    for ticks.now in range(0, 200, 5):
        renewed.renew_if_due()
        if work == "progress":
            renewed.record_progress()
    assert max(renewals) >= 190 if work == "progress" else max(renewals) <= 40
    leases.release(engine, lease)
    assert leases.acquire(engine, "fetch:act_1:x", "two", 30)
    renewed.record_progress()
    ticks.now += 15
    renewed.renew_if_due()
    with pytest.raises(LeaseLost):
        renewed.record_progress()


def test_a_failed_renewal_does_not_end_the_batch(
    batch: Batch, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that cannot be renewed is tried again at the next heartbeat."""
    tries: list[int] = []

    def away(*args: object) -> bool:
        tries.append(1)
        raise Transient("the database cannot be reached")

    monkeypatch.setattr(fetch_lease.leases, "renew", away)
    lease = leases.acquire(sqlite_engine, "fetch:act_1:x", "one", 30)
    assert lease is not None
    renewed = FetchLease(sqlite_engine, lease, LeaseTiming(lease=30, wait=0, stall=1e9), -1e9)
    with batch.renewing(renewed):
        for _ in range(2):
            batch._heartbeat()
    assert len(tries) == 2
    renewed.record_progress()
