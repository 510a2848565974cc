"""Async reports: polled on a schedule, up to fifty in one request, and awaited by threads that block on one poller.

A poll is admitted like any call, in the scopes of every account it covers; an account that is parked is left out and
polled later. Between polls no grant is held. The pause between two polls of a report grows from poll to poll.

| a running report                                  | ends as   |
|---------------------------------------------------|-----------|
| is ready, failed or expired, says the platform    | that      |
| is unknown to the platform for a minute           | expired   |
| made no progress for `STUCK_SECONDS`              | failed    |
| is older than `LONGEST_REPORT_SECONDS`            | failed    |

A thread that waits for a report blocks in `ReportPoller.wait` and holds neither a connection nor rows. The batch's own
thread runs `ReportPoller.run_until_done`, which polls the reports of all threads and wakes those whose reports ended.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from adwarm.backpressure import Admission, CallRequest, acquire_grant
from adwarm.foundation.clock import Clock, TimeLimit, limited
from adwarm.foundation.errors import AdwarmError, NoCapacity, Refused, Throttled, TokenDead, Transient, VersionEnded
from adwarm.model import Priority, Scope, UsageSample
from adwarm.prefetch.fetch_lease import RunningReport
from adwarm.sources.pool import naming_credential
from adwarm.sources.protocol import AsyncReportHandle, AsyncReportProgress, AsyncReportState, InsightsSource

log = logging.getLogger(__name__)
POLL_SECONDS = 2.0
"""First interval between polls; later ones grow. The smallest reports are ready by then."""
LONGEST_POLL_SECONDS = 30.0
"""A poll is a call like any other, and a report that ran for minutes is not late by half of one."""
STUCK_SECONDS = 300.0
"""A report without progress for this long is abandoned; honest ones move a percent in a minute."""
LONGEST_REPORT_SECONDS = 3_600.0
"""The age at which a report is abandoned, whatever it says about its progress."""
_INTERVAL_GROWTH = 1.6
_EARLY_FRACTION = 0.5
_UNKNOWN_SECONDS = 60.0
_HEARTBEAT_SECONDS = 1.0
_RETRY_AFTER_SECONDS = 15.0
_END_STATES = frozenset({AsyncReportState.READY, AsyncReportState.FAILED, AsyncReportState.EXPIRED})


@dataclass
class PolledReport:
    """A running report on the schedule; durations in seconds.

    Attributes:
        interval: pause between two polls.
        due_in: time until the next poll.
        age_seconds: time since it was requested.
        stalled_seconds: time since its percentage last rose.
        percent: progress at the last poll.
    """

    handle: AsyncReportHandle
    interval: float
    due_in: float
    age_seconds: float = 0.0
    stalled_seconds: float = 0.0
    percent: float = 0.0

    @property
    def account_id(self) -> str:
        """The account that the report is about."""
        return self.handle.unit.account_id


@dataclass(frozen=True, slots=True)
class PollResult:
    """The result of one poll.

    Attributes:
        finished: reports that have ended, by id.
        polled: ids of all reports that were polled; the platform counts a call for each.
    """

    finished: dict[str, AsyncReportProgress] = field(default_factory=dict)
    polled: tuple[str, ...] = ()


@dataclass
class ReportSchedule:
    """The running reports of one upstream. Time passes by `advance`. Safe to poll in one thread and use in another."""

    admission: Admission
    clock: Clock
    priority: Priority
    _reports: dict[str, PolledReport] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, report: RunningReport) -> None:
        """Schedule a report; its first poll is due after `POLL_SECONDS`."""
        first = POLL_SECONDS
        polled = PolledReport(
            handle=report.handle,
            interval=first,
            due_in=first,
            age_seconds=report.age_seconds,
            stalled_seconds=report.stalled_seconds,
            percent=report.percent,
        )
        with self._lock:
            self._reports[report.handle.id] = polled

    def remove(self, handle: AsyncReportHandle) -> PolledReport | None:
        """Remove a report and return its last status; None when it is not on the schedule."""
        with self._lock:
            return self._reports.pop(handle.id, None)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            for report in self._reports.values():
                report.due_in -= seconds
                report.age_seconds += seconds
                report.stalled_seconds += seconds

    def seconds_until_due(self) -> float | None:
        """Return the seconds until the next poll; None when there is no report."""
        with self._lock:
            return min((max(0.0, report.due_in) for report in self._reports.values()), default=None)

    def poll_due(self, source: InsightsSource) -> PollResult:
        """Poll the reports that are due, and those that are due soon.

        Raises:
            TokenDead, VersionEnded: no report of the connection can be polled.
        """
        with self._lock:
            chosen = self._list_due(source.capabilities.poll_batch)
        polled: dict[AsyncReportHandle, AsyncReportProgress] = {}
        while chosen and not polled:
            try:
                polled = self._poll(source, chosen)
            except (NoCapacity, Refused) as error:
                chosen = self._postpone(chosen, error)
            except (TokenDead, VersionEnded):
                raise
            except AdwarmError as error:
                log.warning("%d running reports could not be polled (%s); trying again later", len(chosen), error)
                break
        with self._lock:
            self._back_off(chosen)
            return PollResult(self._find_finished(polled), tuple(handle.id for handle in polled))

    def _back_off(self, chosen: Sequence[PolledReport]) -> None:
        for report in chosen:
            report.interval = min(LONGEST_POLL_SECONDS, report.interval * _INTERVAL_GROWTH)
            report.due_in = report.interval

    def _list_due(self, limit: int) -> list[PolledReport]:
        """Return the reports that are due, and those that are due soon, since they fit into the same request."""
        by_due = sorted(self._reports.values(), key=lambda report: report.due_in)
        if not by_due or by_due[0].due_in > 0:
            return []
        return [report for report in by_due if report.due_in <= report.interval * _EARLY_FRACTION][:limit]

    def _poll(
        self, source: InsightsSource, chosen: Sequence[PolledReport]
    ) -> dict[AsyncReportHandle, AsyncReportProgress]:
        scopes = dict.fromkeys(scope for report in chosen for scope in source.scopes(report.account_id))
        request = CallRequest(
            tuple(scopes), self.priority, source.name, cost=float(len(chosen)), connection=source.connection
        )
        with acquire_grant(self.admission, self.clock, request, timeout_seconds=0.0) as grant:
            polled = source.poll([report.handle for report in chosen])
            grant.record_usage([sample for progress in polled.values() for sample in _usage_samples(progress)])
        return polled

    def _postpone(self, chosen: list[PolledReport], error: NoCapacity | Refused) -> list[PolledReport]:
        """Postpone the reports that may not be polled now, and return the others."""
        if isinstance(error, Refused):
            postponed, seconds = chosen, error.retry_after
        else:
            of_account = [report for report in chosen if error.scope == f"account:{report.account_id}"]
            postponed = of_account or chosen
            seconds = max(0.0, (error.until - self.clock.now()).total_seconds())
        for report in postponed:
            report.due_in = max(seconds, POLL_SECONDS)
        return [report for report in chosen if report not in postponed]

    def _find_finished(self, polled: dict[AsyncReportHandle, AsyncReportProgress]) -> dict[str, AsyncReportProgress]:
        ended = {}
        for handle, progress in polled.items():
            report = self._reports.get(handle.id)
            if report is None:
                continue
            if progress.percent > report.percent:
                report.percent, report.stalled_seconds = progress.percent, 0.0
            end = progress if progress.state in _END_STATES else self._check_stalled(report, progress)
            if end is not None:
                ended[handle.id] = end
                del self._reports[handle.id]
            elif isinstance(progress.error, Throttled):
                self._postpone([report], progress.error)
        return ended

    def _check_stalled(self, report: PolledReport, progress: AsyncReportProgress) -> AsyncReportProgress | None:
        name = f"report {report.handle.id}"
        if progress.state is AsyncReportState.UNKNOWN and report.stalled_seconds >= _UNKNOWN_SECONDS:
            return AsyncReportProgress(
                AsyncReportState.EXPIRED, error=Transient(f"{name} is not known to the platform")
            )
        if report.stalled_seconds >= STUCK_SECONDS:
            message = f"{name} made no progress beyond {report.percent:.0f} % for {report.stalled_seconds:.0f} s"
            return AsyncReportProgress(AsyncReportState.FAILED, error=Transient(message, code="stuck"))
        if report.age_seconds >= LONGEST_REPORT_SECONDS:
            message = f"{name} was not ready after {report.age_seconds:.0f} s"
            return AsyncReportProgress(AsyncReportState.FAILED, error=Transient(message, code="stuck"))
        return None


def _usage_samples(progress: AsyncReportProgress) -> list[UsageSample]:
    """Return the usage that came with a report's progress, or with a throttled poll."""
    if isinstance(progress.error, Throttled):
        return [UsageSample(Scope.parse(progress.error.scope), 100.0, progress.error.retry_after)]
    return list(progress.usage)


class ReportPending(Transient):
    """The platform is still running the report; the next fetch of the account continues it."""

    own_refusal = True

    def __init__(self, handle: AsyncReportHandle, status: PolledReport | None) -> None:
        percent = status.percent if status else 0.0
        message = f"report {handle.id} is running ({percent:.0f} %); the next fetch of the account continues it"
        super().__init__(message, retry_after=max(_RETRY_AFTER_SECONDS, status.due_in if status else 0.0))
        self.status = status


@dataclass
class ReportWait:
    """A thread that waits for a report.

    Attributes:
        result: how the report ended, or why the wait did; None while the thread waits.
    """

    connection: str
    handle: AsyncReportHandle
    seconds_left: float = math.inf
    polls: int = 0
    result: AsyncReportProgress | Exception | None = None


@dataclass
class ReportPoller:
    """Waits for the async reports of a batch. The account threads call `wait`, the batch calls `run_until_done` once.

    Attributes:
        idle_timeout: seconds to wait for reports once no thread is working any more.
        heal: tries to renew the token of a connection that a poll was refused for; whether to poll again.
    """

    clock: Clock
    idle_timeout: float
    make_schedule: Callable[[], ReportSchedule]
    get_source: Callable[[str], InsightsSource]
    heal: Callable[[str, TokenDead], bool] = lambda *_: False
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _has_changes: bool = False
    _closed: bool = False
    _waiting: dict[str, ReportWait] = field(default_factory=dict)
    _schedules: dict[str, ReportSchedule] = field(default_factory=dict)
    _polls: dict[Future[PollResult], str] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many threads wait for a report."""
        with self._changed:
            return len(self._waiting)

    def wait(
        self, connection: str, report: RunningReport, seconds: float = math.inf
    ) -> tuple[AsyncReportProgress, int]:
        """Block until the report has ended; return how, and how many calls were made to poll it.

        Raises:
            ReportPending: it timed out, or the batch stopped waiting, while the platform is still running the
                report.
            TokenDead: the token of the report is dead.
        """
        waiting = ReportWait(connection, report.handle, seconds)
        with self._changed:
            if self._closed:
                raise ReportPending(report.handle, None)
            self._waiting[report.handle.id] = waiting
            self._schedules.setdefault(connection, self.make_schedule()).add(report)
            self._notify()
            while waiting.result is None:
                self._changed.wait()
        if isinstance(waiting.result, Exception):
            raise waiting.result
        return waiting.result, waiting.polls

    def run_until_done(self, futures: Sequence[Future[Any]], threads: int, heartbeat: Callable[[], None]) -> None:
        """Poll the reports until every future is done.

        Args:
            heartbeat: called about once a second; an error that it raises ends the batch.
        """
        for future in futures:
            future.add_done_callback(self._wake)
        with ThreadPoolExecutor(1, thread_name_prefix="reports") as pool:
            try:
                idle = 0.0
                while left := sum(not future.done() for future in futures):
                    idle = self._step(min(left, threads), idle, pool)
                    heartbeat()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Wake every waiting thread with `ReportPending`; a later fetch continues its report."""
        with self._changed:
            self._closed = True
            self._end_late(math.inf)

    def _end_late(self, passed: float) -> int:
        """Let time pass for the waiting threads, wake those whose time is over, and return how many that is."""
        late = []
        for waiting in self._waiting.values():
            waiting.seconds_left -= passed
            if not waiting.seconds_left > 0:  # infinity minus infinity is not a number
                late.append(waiting)
        for waiting in late:
            status = self._schedules[waiting.connection].remove(waiting.handle)
            self._end(waiting.handle.id, ReportPending(waiting.handle, status))
        return len(late)

    def _step(self, running: int, idle: float, pool: ThreadPoolExecutor) -> float:
        """Let some time pass, wake threads whose reports have ended, start due polls; return the idle seconds."""
        with self._changed:
            is_working = running > len(self._waiting)
        passed = self._pause(is_working)
        for _, schedule in self._named_schedules():
            schedule.advance(passed)
        ended = self._collect_polls()
        with self._changed:
            ended += self._end_late(passed)
        idle = 0.0 if is_working or ended else idle + passed
        if not is_working and not ended and not self._polls and idle + self._seconds_until_due() > self.idle_timeout:
            self.close()
        self._start_polls(pool)
        return idle

    def _pause(self, is_working: bool) -> float:
        """Wait for an event, at most until the next poll is due, and return the seconds waited."""
        seconds = min(_HEARTBEAT_SECONDS, self._seconds_until_due())
        if not is_working and not self._polls:
            self.clock.sleep(seconds)
            return seconds
        started = time.monotonic()
        with self._changed:
            if not self._has_changes:
                self._changed.wait(seconds)
            self._has_changes = False
        return time.monotonic() - started

    def _seconds_until_due(self) -> float:
        """Return the seconds until the next poll of a connection that is not being polled now."""
        schedules = self._named_schedules()
        dues = (schedule.seconds_until_due() for name, schedule in schedules if name not in self._polls.values())
        return min((due for due in dues if due is not None), default=_HEARTBEAT_SECONDS)

    def _collect_polls(self) -> int:
        """Wake the threads whose reports have ended, and return how many threads that is."""
        ended = 0
        for future in [future for future in self._polls if future.done()]:
            connection = self._polls.pop(future)
            error = future.exception()
            with self._changed:
                if isinstance(error, Exception):
                    ended += self._end_all(connection, error)
                elif error is None:
                    ended += self._apply_poll(future.result())
                else:
                    raise error
        return ended

    def _apply_poll(self, poll: PollResult) -> int:
        for run_id in poll.polled:
            if run_id in self._waiting:
                self._waiting[run_id].polls += 1
        for run_id, progress in poll.finished.items():
            self._end(run_id, progress)
        return len(poll.finished)

    def _end_all(self, connection: str, error: Exception) -> int:
        """End every wait of a connection: its token is dead, its version of the API has ended, or polling failed."""
        ended = [run_id for run_id, waiting in self._waiting.items() if waiting.connection == connection]
        for run_id in ended:
            self._schedules[connection].remove(self._waiting[run_id].handle)
            self._end(run_id, error)
        return len(ended)

    def _end(self, run_id: str, result: AsyncReportProgress | Exception) -> None:
        waiting = self._waiting.pop(run_id, None)
        if waiting is not None:
            waiting.result = result
            self._changed.notify_all()

    def _start_polls(self, pool: ThreadPoolExecutor) -> None:
        for connection, schedule in self._named_schedules():
            due = schedule.seconds_until_due()
            if due is not None and due <= 0 and connection not in self._polls.values():
                with self._changed:
                    ends = [item.seconds_left for item in self._waiting.values() if item.connection == connection]
                future = pool.submit(self._poll, connection, schedule, max(ends, default=0.0))
                self._polls[future] = connection
                future.add_done_callback(self._wake)

    def _poll(self, connection: str, schedule: ReportSchedule, seconds: float) -> PollResult:
        """Poll while a thread waits for one of the reports: a poll ends with the time of the last of them."""
        with limited(TimeLimit(seconds, "waiting for the report", "ADWARM_ACCOUNT_SECONDS")):
            source = self.get_source(connection)
            try:
                with naming_credential(source):
                    return schedule.poll_due(source)
            except TokenDead as dead:
                if not self.heal(connection, dead):
                    raise
            return schedule.poll_due(self.get_source(connection))

    def _named_schedules(self) -> list[tuple[str, ReportSchedule]]:
        with self._changed:
            return list(self._schedules.items())

    def _wake(self, _future: Future[Any]) -> None:
        with self._changed:
            self._notify()

    def _notify(self) -> None:
        self._has_changes = True
        self._changed.notify_all()
