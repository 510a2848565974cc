"""Running reports are polled in few requests on a growing interval; waiting threads wake when their report ends."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import NotFound, Refused, Throttled, TokenDead, Transient
from adwarm.model import Priority, QuerySpec, Scope, ScopeKind
from adwarm.prefetch.async_reports import ReportPending, ReportPoller, ReportSchedule, RunningReport
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportProgress,
    AsyncReportState,
    Capabilities,
    FetchUnit,
    Increment,
)
from tests.unit.conftest import NOW
from tests.unit.prefetch.conftest import LONG_WINDOW, UnlimitedAdmission


def handle(number: int) -> AsyncReportHandle:
    """Return the handle of a report of its own account."""
    return AsyncReportHandle(str(number), FetchUnit(f"act_{number}", (LONG_WINDOW,), Increment.DAY, QuerySpec()))


def report(number: int, **seen: float) -> RunningReport:
    """Return a running report."""
    return RunningReport(handle(number), **seen)


@dataclass
class PolledSource:
    """A source that can only be polled; a test decides how each report responds."""

    clock: VirtualClock
    respond: Callable[[AsyncReportHandle, float], AsyncReportProgress] = lambda report, age: AsyncReportProgress(
        AsyncReportState.PENDING, min(99.0, age)
    )
    errors: list[Exception] = field(default_factory=list)
    polled: list[list[str]] = field(default_factory=list)
    name: str = "source"
    connection: str = "default"
    credential: str = "abc"
    capabilities: Capabilities = field(default_factory=Capabilities)

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the account's scope and one token for all."""
        return (Scope(ScopeKind.ACCOUNT, account_id), Scope(ScopeKind.TOKEN, "t"))

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Respond by the time since the start."""
        self.polled.append([outcome.id for outcome in handles])
        if self.errors:
            raise self.errors.pop(0)
        age = (self.clock.now() - NOW).total_seconds()
        return {outcome: self.respond(outcome, age) for outcome in handles}


class ScheduleStage:
    """A schedule, its source, and a clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock(NOW)
        self.source = PolledSource(self.clock)
        self.admission = UnlimitedAdmission(self.clock)
        self.schedule = ReportSchedule(self.admission, self.clock, Priority.LOW)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.sleep(seconds)
        self.schedule.advance(seconds)

    def run(self, seconds: float) -> dict[str, AsyncReportProgress]:
        """Poll whenever a report is due, for `seconds`, and return what ended."""
        ended: dict[str, AsyncReportProgress] = {}
        end = self.clock.now() + timedelta(seconds=seconds)
        while (due := self.schedule.seconds_until_due()) is not None:
            if self.clock.now() + timedelta(seconds=due) > end:
                break
            self.advance(due)
            ended |= self.schedule.poll_due(self.source).finished  # type: ignore[arg-type]
        self.advance((end - self.clock.now()).total_seconds())
        return ended


def test_the_polling_interval_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first poll is soon, each next one later, and none later than the longest interval."""
    monkeypatch.setattr("adwarm.prefetch.async_reports.STUCK_SECONDS", 1e6)
    stage = ScheduleStage()
    stage.schedule.add(report(1))
    times = []
    for _ in range(12):
        due = stage.schedule.seconds_until_due()
        assert due is not None
        stage.advance(due)
        stage.schedule.poll_due(stage.source)  # type: ignore[arg-type]
        times.append(due)
    assert times[0] == 2
    assert times == sorted(times)
    assert times[-1] == 30


@given(st.lists(st.floats(0, 40), min_size=1, max_size=120), st.integers(1, 50))
def test_every_report_ends_and_polls_are_shared(starts: list[float], poll_batch: int) -> None:
    """Whenever reports start: each ends once, no request polls too many, and none polls a report twice."""
    stage = ScheduleStage()
    stage.source.capabilities = Capabilities(poll_batch=poll_batch)
    ready = {str(number): start + 20 for number, start in enumerate(starts)}
    stage.source.respond = lambda report, age: AsyncReportProgress(
        AsyncReportState.READY if age >= ready[report.id] else AsyncReportState.PENDING, min(99.0, age)
    )
    ended: dict[str, AsyncReportProgress] = {}
    for number, start in sorted(enumerate(starts), key=lambda item: item[1]):
        ended |= stage.run(max(0.0, start - (stage.clock.now() - NOW).total_seconds()))
        stage.schedule.add(report(number))
    ended |= stage.run(200)
    assert {name for name, progress in ended.items() if progress.state is AsyncReportState.READY} == set(ready)
    assert stage.schedule.seconds_until_due() is None
    assert all(len(polled) == len(set(polled)) <= poll_batch for polled in stage.source.polled)
    assert all(
        cost == len(polled) for (_, cost), polled in zip(stage.admission.admitted, stage.source.polled, strict=True)
    )


def test_a_stalled_report_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report fails when its percentage stalls; while it rises the report may run up to the longest time."""
    monkeypatch.setattr("adwarm.prefetch.async_reports.STUCK_SECONDS", 100.0)
    monkeypatch.setattr("adwarm.prefetch.async_reports.LONGEST_REPORT_SECONDS", 500.0)
    stage = ScheduleStage()
    stage.source.respond = lambda report, age: AsyncReportProgress(
        AsyncReportState.PENDING, 40.0 if report.id == "1" else age / 100
    )
    stage.schedule.add(report(1))
    stage.schedule.add(report(2))
    early = stage.run(200)
    assert {name: str(progress.error) for name, progress in early.items()}.keys() == {"1"}
    assert early["1"].state is AsyncReportState.FAILED
    assert "40 %" in str(early["1"].error)
    assert set(stage.run(600)) == {"2"}


def test_time_stalled_before_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that stalled while an earlier worker waited for it fails without waiting as long again."""
    monkeypatch.setattr("adwarm.prefetch.async_reports.STUCK_SECONDS", 100.0)
    monkeypatch.setattr("adwarm.prefetch.async_reports.LONGEST_REPORT_SECONDS", 500.0)
    stage = ScheduleStage()
    stage.source.respond = lambda report, age: AsyncReportProgress(AsyncReportState.PENDING, 40.0)
    stage.schedule.add(report(1, percent=40, stalled_seconds=95, age_seconds=120))
    stage.schedule.add(report(2, percent=30, stalled_seconds=95, age_seconds=120))
    stage.schedule.add(report(3, percent=30, stalled_seconds=0, age_seconds=495))
    assert set(stage.run(20)) == {"1", "3"}


def test_an_unknown_report_expires_after_a_minute() -> None:
    """At first a report may not be visible yet; after a minute it counts as expired."""
    stage = ScheduleStage()
    stage.source.respond = lambda report, age: AsyncReportProgress(
        AsyncReportState.UNKNOWN, error=NotFound("no such object")
    )
    stage.schedule.add(report(1))
    assert stage.run(50) == {}
    assert stage.run(60)["1"].state is AsyncReportState.EXPIRED


@pytest.mark.parametrize("errors", [Transient("busy"), Refused("given up", retry_after=20)])
def test_a_failed_poll_is_repeated(errors: Exception) -> None:
    """Whatever is wrong with the request as a whole, the reports are polled again."""
    stage = ScheduleStage()
    stage.source.errors = [errors]
    stage.source.respond = lambda report, age: AsyncReportProgress(AsyncReportState.READY, 100.0)
    stage.schedule.add(report(1))
    assert set(stage.run(60)) == {"1"}
    assert len(stage.source.polled) == 2


def test_a_throttled_token_postpones_every_poll() -> None:
    """While the platform parks the token nothing is polled."""
    stage = ScheduleStage()
    until = NOW + timedelta(seconds=90)
    stage.source.errors = [Throttled("slow down", scope="token:t", until=until)]
    stage.schedule.add(report(1))
    stage.schedule.add(report(2))
    stage.run(85)
    assert len(stage.source.polled) == 1
    stage.run(10)
    assert len(stage.source.polled) > 1


def test_a_parked_account_is_left_out() -> None:
    """The reports of other accounts are polled as usual; those of a parked account wait until the park ends."""
    stage = ScheduleStage()
    stage.admission.parked["account:act_2"] = NOW + timedelta(seconds=100)
    for number in (1, 2, 3):
        stage.schedule.add(report(number))
    stage.run(95)
    assert {name for polled in stage.source.polled for name in polled} == {"1", "3"}
    stage.run(20)
    assert "2" in stage.source.polled[-1]


def test_a_poll_that_is_throttled_parks_its_account() -> None:
    """Admission parks the account, so no other worker calls it either."""
    stage = ScheduleStage()
    until = NOW + timedelta(seconds=302)
    throttled = Throttled("slow down", scope="account:act_1", until=until, retry_after=300)
    stage.source.respond = lambda report, age: AsyncReportProgress(
        AsyncReportState.PENDING, 1.0, throttled if report.id == "1" and age < 10 else None
    )
    stage.schedule.add(report(1))
    stage.schedule.add(report(2))
    stage.run(200)
    assert stage.admission.parked["account:act_1"] == until
    assert sum("1" in polled for polled in stage.source.polled) == 1


def test_a_dead_token_is_raised_at_once() -> None:
    """A poll with a dead token raises; the report stays on the schedule."""
    stage = ScheduleStage()
    stage.source.errors = [TokenDead()]
    stage.schedule.add(report(1))
    stage.advance(5)
    with pytest.raises(TokenDead):
        stage.schedule.poll_due(stage.source)  # type: ignore[arg-type]
    assert stage.schedule.remove(handle(1)) is not None
    assert stage.schedule.remove(handle(1)) is None


@dataclass
class PollerStage:
    """A poller over a source whose reports take `seconds`."""

    idle_timeout: float = 100
    seconds: float = 10
    states: list[str] = field(default_factory=list)
    heartbeats: int = 0

    def __post_init__(self) -> None:
        clock = VirtualClock(NOW)
        self.source = PolledSource(clock)
        self.source.respond = lambda report, age: AsyncReportProgress(
            AsyncReportState.READY if age >= self.seconds else AsyncReportState.PENDING, min(age, 99)
        )

        def schedule() -> ReportSchedule:
            return ReportSchedule(UnlimitedAdmission(clock), clock, Priority.LOW)

        self.poller = ReportPoller(clock, self.idle_timeout, schedule, lambda connection: self.source)  # type: ignore[arg-type]

    def account(self, number: int, reports: int = 1) -> str:
        """Wait for reports, one after another."""
        for turn in range(reports):
            progress, polls = self.poller.wait("", report(number * 100 + turn))
            assert polls > 0
            self.states.append(str(progress.state))
        return "done"

    def run_threads(self, *accounts: Callable[[], str], threads: int = 8) -> list[Future[str]]:
        """Run accounts in threads, and the poller beside them."""

        def heartbeat() -> None:
            self.heartbeats += 1

        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(account) for account in accounts]
            self.poller.run_until_done(futures, threads, heartbeat)
        return futures


def test_threads_wait_concurrently() -> None:
    """Twenty threads wait at once, few requests poll all reports, and each thread wakes when its report ends."""
    stage = PollerStage()
    futures = stage.run_threads(*(lambda number=number: stage.account(number) for number in range(20)), threads=20)
    assert [future.result() for future in futures] == ["done"] * 20
    assert max(len(polled) for polled in stage.source.polled) > 10
    assert stage.states == ["ready"] * 20
    assert stage.heartbeats > 0


def test_more_accounts_than_threads() -> None:
    """Accounts without a thread get one when another account is done."""
    stage = PollerStage()
    futures = stage.run_threads(*(lambda number=number: stage.account(number) for number in range(9)), threads=2)
    assert [future.result() for future in futures] == ["done"] * 9


def test_an_account_may_wait_more_than_once() -> None:
    """An account waits for one report after another."""
    stage = PollerStage()
    stage.run_threads(lambda: stage.account(1, reports=3))
    assert stage.states == ["ready"] * 3


@pytest.mark.parametrize("idle_timeout", [20.0, 0.0])
def test_waiting_ends_when_only_reports_are_left(idle_timeout: float) -> None:
    """Reports that take too long end as pending, with their progress and when to come back."""
    stage = PollerStage(idle_timeout, seconds=1_000)
    waiting, done = stage.run_threads(lambda: stage.account(1), lambda: "done")
    assert done.result() == "done"
    pending = waiting.exception()
    assert isinstance(pending, ReportPending)
    assert "is running" in str(pending)
    assert (pending.retry_after or 0) >= 15


def test_a_closed_poller_does_not_wait() -> None:
    """An account that starts after the poller gave up does not wait for its report; the next run continues it."""
    stage = PollerStage(5.0, seconds=1_000)
    futures = stage.run_threads(*(lambda number=number: stage.account(number) for number in range(3)), threads=1)
    assert [type(future.exception()) for future in futures] == [ReportPending] * 3


def test_a_dead_token_ends_every_wait() -> None:
    """Every thread that waits with the token gets the error."""
    stage = PollerStage()
    stage.source.errors = [TokenDead()]
    futures = stage.run_threads(lambda: stage.account(1), lambda: stage.account(2))
    assert [type(future.exception()) for future in futures] == [TokenDead] * 2


def test_an_unexpected_error_of_a_poll_ends_its_waits() -> None:
    """The waiting accounts end with the error; the batch does not."""
    stage = PollerStage()
    stage.source.errors = [ZeroDivisionError()]
    (future,) = stage.run_threads(lambda: stage.account(1))
    assert isinstance(future.exception(), ZeroDivisionError)


def test_an_interrupted_batch_wakes_its_threads() -> None:
    """The interruption is raised unchanged after every waiting thread has ended."""
    stage = PollerStage(seconds=1_000)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        future = pool.submit(stage.account, 1)
        with pytest.raises(KeyboardInterrupt):
            stage.poller.run_until_done([future], 2, interrupt)
    assert isinstance(future.exception(), ReportPending)
