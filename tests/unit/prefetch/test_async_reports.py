"""Threads that wait for async reports: they block on one poller, and whatever happens wakes them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import TokenDead
from adwarm.model import Priority
from adwarm.prefetch.async_reports import ReportPending, ReportPoller
from adwarm.prefetch.report_schedule import ReportSchedule
from adwarm.settings import SourceSettings
from adwarm.sources.protocol import AsyncReportProgress, AsyncReportState
from tests.unit.conftest import NOW
from tests.unit.prefetch.conftest import UnlimitedAdmission
from tests.unit.prefetch.test_report_schedule import Desk, report


@dataclass
class Stage:
    """A poller over an upstream whose reports take so many seconds."""

    patience: float = 100
    seconds: float = 10
    diary: list[str] = field(default_factory=list)
    beats: int = 0

    def __post_init__(self) -> None:
        clock = VirtualClock(NOW)
        self.desk = Desk(clock)
        self.desk.tell = lambda report, age: AsyncReportProgress(
            AsyncReportState.READY if age >= self.seconds else AsyncReportState.PENDING, min(age, 99)
        )

        def watch() -> ReportSchedule:
            return ReportSchedule(UnlimitedAdmission(clock), clock, Priority.LOW, SourceSettings())

        self.poller = ReportPoller(clock, self.patience, watch, lambda connection: self.desk)  # type: ignore[arg-type]

    def account(self, number: int, reports: int = 1) -> str:
        """Wait for so many reports, one after the other."""
        for turn in range(reports):
            progress, looks = self.poller.wait("", report(number * 100 + turn))
            assert looks > 0
            self.diary.append(str(progress.state))
        return "done"

    def carry(self, *accounts: Callable[[], str], threads: int = 8) -> list[Future[str]]:
        """Run accounts in threads, and the poller beside them."""

        def beat() -> None:
            self.beats += 1

        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(account) for account in accounts]
            self.poller.run_until_done(futures, threads, beat)
        return futures


def test_threads_wait_together() -> None:
    """Twenty threads wait at the same time, few requests look at all reports, and each wakes when its own ended."""
    stage = Stage()
    futures = stage.carry(*(lambda number=number: stage.account(number) for number in range(20)), threads=20)
    assert [future.result() for future in futures] == ["done"] * 20
    assert max(len(asked) for asked in stage.desk.asked) > 10
    assert stage.diary == ["ready"] * 20
    assert stage.beats > 0


def test_more_accounts_than_threads() -> None:
    """Accounts that do not have a thread yet get one when another is done."""
    stage = Stage()
    futures = stage.carry(*(lambda number=number: stage.account(number) for number in range(9)), threads=2)
    assert [future.result() for future in futures] == ["done"] * 9


def test_an_account_may_wait_more_than_once() -> None:
    """One report after the other."""
    stage = Stage()
    stage.carry(lambda: stage.account(1, reports=3))
    assert stage.diary == ["ready"] * 3


@pytest.mark.parametrize("patience", [20.0, 0.0])
def test_patience_ends_when_nothing_moves(patience: float) -> None:
    """Reports that take too long end as pending, with how far they were and when to come back."""
    stage = Stage(patience, seconds=1_000)
    waiting, done = stage.carry(lambda: stage.account(1), lambda: "done")
    assert done.result() == "done"
    pending = waiting.exception()
    assert isinstance(pending, ReportPending)
    assert "being made" in str(pending)
    assert (pending.retry_after or 0) >= 15


def test_whoever_comes_after_patience_is_over_does_not_wait() -> None:
    """Its report is begun, and taken up by the next run."""
    stage = Stage(5.0, seconds=1_000)
    futures = stage.carry(*(lambda number=number: stage.account(number) for number in range(3)), threads=1)
    assert [type(future.exception()) for future in futures] == [ReportPending] * 3


def test_a_dead_token_ends_all_that_wait_for_it() -> None:
    """Nobody is left waiting."""
    stage = Stage()
    stage.desk.trouble = [TokenDead()]
    futures = stage.carry(lambda: stage.account(1), lambda: stage.account(2))
    assert [type(future.exception()) for future in futures] == [TokenDead] * 2


def test_an_unexpected_error_of_a_look_ends_those_it_concerns() -> None:
    """It reaches the accounts that wait, which end with it, and not the batch."""
    stage = Stage()
    stage.desk.trouble = [ZeroDivisionError()]
    (future,) = stage.carry(lambda: stage.account(1))
    assert isinstance(future.exception(), ZeroDivisionError)


def test_an_interrupted_batch_wakes_its_threads() -> None:
    """What interrupts the batch comes out as it is, after every thread that waited was told."""
    stage = Stage(seconds=1_000)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        future = pool.submit(stage.account, 1)
        with pytest.raises(KeyboardInterrupt):
            stage.poller.run_until_done([future], 2, interrupt)
    assert isinstance(future.exception(), ReportPending)
