"""Async reports: noted in the lease of the account's data, and waited for by threads that block on one poller.

The lease knows of a report before it is asked for, and its id before anybody looks at it. Whoever holds the lease next,
in whatever process, takes the running report up, with the pages that were read of it; a report that was asked for by a
worker that died before it could note the id is counted as an orphan.

A thread that waits for a report blocks in `ReportPoller.wait` and holds neither a connection nor rows. The batch's own
thread runs `ReportPoller.drive`: it looks at the running reports of all threads, up to fifty in one request, and wakes
the threads whose reports have ended.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, Transient
from adwarm.prefetch.fetch_lease import LeaseLost
from adwarm.prefetch.report_schedule import PolledReport, PollResult, ReportSchedule, RunningReport
from adwarm.sources.protocol import AsyncReportHandle, AsyncReportProgress, FetchUnit, InsightsSource
from adwarm.store import leases
from adwarm.store.error_events import ErrorEvent, ErrorLog

ORPHAN = "OrphanReport"
"""Kind of the error event that counts a report nobody will read."""

_HEARTBEAT_SECONDS = 1.0
_RETRY_AFTER_SECONDS = 15.0


class ReportPending(Transient):
    """The platform is still making the report; whoever asks next takes it up."""

    own_refusal = True

    def __init__(self, handle: AsyncReportHandle, seen: PolledReport | None) -> None:
        percent = seen.percent if seen else 0.0
        words = f"report {handle.id} is being made ({percent:.0f} %); it is taken up where it is by whoever asks next"
        super().__init__(words, retry_after=max(_RETRY_AFTER_SECONDS, seen.due_in if seen else 0.0))
        self.status = seen


@dataclass
class LeasedReport:
    """What the lease remembers of its report. Used by one thread at a time.

    Attributes:
        source: name of the upstream, under which orphans are counted.
        max_seconds: age from which a report is not taken up again.
    """

    engine: Engine
    lease: leases.Lease
    clock: Clock
    source: str
    max_seconds: float
    _current: leases.SavedReport | None = field(init=False)

    def __post_init__(self) -> None:
        self._current = leases.find_report(self.engine, self.lease)
        if self._current and self._current.run_id is None:
            self._record_orphan("a report was asked for by a worker that stopped before it knew the report's id")
            self.clear()

    def get_running(self, unit: FetchUnit) -> RunningReport | None:
        """Return the report of `unit` that is being made, if there is one that is young enough."""
        noted, now = self._current, self.clock.now()
        if noted is None or noted.run_id is None or noted.unit != unit.hash:
            return None
        age, quiet = (now - noted.requested_at).total_seconds(), (now - noted.progressed_at).total_seconds()
        return (
            None
            if age >= self.max_seconds
            else RunningReport(AsyncReportHandle(noted.run_id, unit), noted.percent, age, quiet)
        )

    @property
    def current(self) -> leases.SavedReport | None:
        """The report that is being made or read, as the lease knows it."""
        return self._current

    def start(self, unit: FetchUnit, submit: Callable[[], AsyncReportHandle]) -> RunningReport:
        """Ask for a report of `unit` and return it, noted down.

        Raises:
            LeaseLost: the lease was lost; its new holder goes on.
            AdwarmError: the upstream's answer to the submit.
        """
        if self._current and self._current.run_id:
            self._record_orphan(f"report {self._current.run_id} is left behind: another question is asked now")
        now = self.clock.now()
        self._check_lease(leases.announce_report(self.engine, self.lease, unit.hash, now))
        try:
            handle = submit()
        except AdwarmError:
            self.clear()
            raise
        self._check_lease(leases.save_report_id(self.engine, self.lease, handle.id))
        self._current = leases.SavedReport(unit.hash, now, handle.id, 0.0, now)
        return RunningReport(handle)

    def save_progress(self, percent: float, quiet: float) -> None:
        """Note how far the report is, and for how many seconds it has been, for whoever waits next."""
        leases.save_report_progress(self.engine, self.lease, percent, self.clock.now() - timedelta(seconds=quiet))

    def save_pages(self, pages: leases.PagesRead) -> None:
        """Note which pages of the report were read, for whoever reads on."""
        leases.save_pages(self.engine, self.lease, pages)

    def clear(self) -> None:
        """Forget the report: it was read, or ended badly."""
        self._current = None
        leases.clear_report(self.engine, self.lease)

    def _check_lease(self, is_current: bool) -> None:
        if not is_current:
            raise LeaseLost(f"{self.lease.name}: the lease was lost; its new holder goes on")

    def _record_orphan(self, words: str) -> None:
        event = ErrorEvent(self.clock.now(), self.source, ORPHAN, words, self.lease.name)
        ErrorLog(self.engine).record(event)


@dataclass
class ReportWait:
    """A thread that waits for a report.

    Attributes:
        looks: calls that were made to look at it.
        ended: how the report ended, or why the wait did; None while it goes on.
    """

    connection: str
    handle: AsyncReportHandle
    polls: int = 0
    result: AsyncReportProgress | Exception | None = None


@dataclass
class ReportPoller:
    """Waits for the async reports of a batch. `wait` is called by the threads, `drive` by the batch itself, once.

    Attributes:
        patience: seconds that reports are waited for once no thread works any more.
        make_watch: makes the schedule of the looks at the reports of one connection.
        source_of: returns a connection's upstream, as made for the thread that calls.
    """

    clock: Clock
    idle_timeout: float
    make_schedule: Callable[[], ReportSchedule]
    get_source: Callable[[str], InsightsSource]
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _has_changes: bool = False
    _closed: bool = False
    _waiting: dict[str, ReportWait] = field(default_factory=dict)
    _schedules: dict[str, ReportSchedule] = field(default_factory=dict)
    _polls: dict[Future[PollResult], str] = field(default_factory=dict)

    def wait(self, connection: str, report: RunningReport) -> tuple[AsyncReportProgress, int]:
        """Block until the report has ended; return how, and how many calls were made to look at it.

        Raises:
            ReportPending: nobody waits any longer, and the platform is still making it.
            TokenDead: the token of the report is dead.
        """
        waiting = ReportWait(connection, report.handle)
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
        """Look at the reports until every future is done.

        Args:
            futures: the accounts of the batch.
            threads: how many of them run at the same time.
            beat: called about once a second; what it raises ends the batch.
        """
        for future in futures:
            future.add_done_callback(self._wake)
        with ThreadPoolExecutor(1, thread_name_prefix="reports") as lookout:
            try:
                idle = 0.0
                while left := sum(not future.done() for future in futures):
                    idle = self._step(min(left, threads), idle, lookout)
                    heartbeat()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Wake every thread that waits: its report is taken up by whoever asks next."""
        with self._changed:
            self._closed = True
            for run_id, waiting in list(self._waiting.items()):
                seen = self._schedules[waiting.connection].remove(waiting.handle)
                self._end(run_id, ReportPending(waiting.handle, seen))

    def _step(self, running: int, idle: float, lookout: ThreadPoolExecutor) -> float:
        """Let some time pass, wake whose reports have ended, look at those that are due; return the idle seconds."""
        with self._changed:
            at_work = running > len(self._waiting)
        passed = self._pause(at_work)
        for watch in self._all_schedules():
            watch.advance(passed)
        landed = self._collect_polls()
        idle = 0.0 if at_work or landed else idle + passed
        if not at_work and not landed and not self._polls and idle + self._seconds_until_due() > self.idle_timeout:
            self.close()
        self._start_polls(lookout)
        return idle

    def _pause(self, at_work: bool) -> float:
        """Wait until something may have happened, and return how long that was."""
        seconds = min(_HEARTBEAT_SECONDS, self._seconds_until_due())
        if not at_work and not self._polls:
            self.clock.sleep(seconds)
            return seconds
        started = time.monotonic()
        with self._changed:
            if not self._has_changes:
                self._changed.wait(seconds)
            self._has_changes = False
        return time.monotonic() - started

    def _seconds_until_due(self) -> float:
        """Return the seconds until a report is due that is not being looked at."""
        dues = (
            watch.seconds_until_due() for name, watch in self._named_schedules() if name not in self._polls.values()
        )
        return min((due for due in dues if due is not None), default=_HEARTBEAT_SECONDS)

    def _collect_polls(self) -> int:
        """Wake the threads whose reports have ended, and return how many."""
        landed = 0
        for future in [future for future in self._polls if future.done()]:
            connection = self._polls.pop(future)
            error = future.exception()
            with self._changed:
                if isinstance(error, Exception):
                    landed += self._end_all(connection, error)
                elif error is None:
                    landed += self._apply_poll(future.result())
                else:
                    raise error
        return landed

    def _apply_poll(self, look: PollResult) -> int:
        for run_id in look.polled:
            if run_id in self._waiting:
                self._waiting[run_id].polls += 1
        for run_id, progress in look.finished.items():
            self._end(run_id, progress)
        return len(look.finished)

    def _end_all(self, connection: str, error: Exception) -> int:
        """End every wait of a connection: its token is dead, or looking at its reports failed."""
        ended = [run_id for run_id, waiting in self._waiting.items() if waiting.connection == connection]
        for run_id in ended:
            self._schedules[connection].remove(self._waiting[run_id].handle)
            self._end(run_id, error)
        return len(ended)

    def _end(self, run_id: str, how: AsyncReportProgress | Exception) -> None:
        waiting = self._waiting.pop(run_id, None)
        if waiting is not None:
            waiting.result = how
            self._changed.notify_all()

    def _start_polls(self, lookout: ThreadPoolExecutor) -> None:
        for connection, watch in self._named_schedules():
            due = watch.seconds_until_due()
            if due is not None and due <= 0 and connection not in self._polls.values():
                future = lookout.submit(self._poll, connection, watch)
                self._polls[future] = connection
                future.add_done_callback(self._wake)

    def _poll(self, connection: str, watch: ReportSchedule) -> PollResult:
        return watch.poll_due(self.get_source(connection))

    def _named_schedules(self) -> list[tuple[str, ReportSchedule]]:
        with self._changed:
            return list(self._schedules.items())

    def _all_schedules(self) -> Iterator[ReportSchedule]:
        return (watch for _, watch in self._named_schedules())

    def _wake(self, _future: Future[Any]) -> None:
        with self._changed:
            self._notify()

    def _notify(self) -> None:
        self._has_changes = True
        self._changed.notify_all()
