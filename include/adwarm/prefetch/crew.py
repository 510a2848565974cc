"""Carries the accounts of a batch side by side: those that work in threads, those that wait for a report in nobody's.

An account whose report is being made leaves its thread to another one. The reports of all accounts are looked after
together, their leases are renewed meanwhile, and an account goes on where it stopped when its report has landed.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from adwarm.clock import Clock
from adwarm.errors import AdwarmError
from adwarm.prefetch.outcome import KeyOutcome
from adwarm.prefetch.polling import Look, ReportWatch, Watched
from adwarm.prefetch.reporting import RunningReport
from adwarm.sources.protocol import Handle, InsightsSource, JobProgress

_BEAT_SECONDS = 1.0


class Run(Protocol):
    """One account's share of a batch."""

    connection: str

    def step(self) -> list[KeyOutcome] | RunningReport:
        """Go on as far as possible; a report that is being made is returned, and `step` called again afterwards."""
        ...

    def landed(self, progress: JobProgress) -> None:
        """Take notice that the report has ended."""
        ...

    def looked(self, times: int) -> None:
        """Count calls made to look after the report."""
        ...

    def beat(self) -> None:
        """Keep what is held while waiting."""
        ...

    def fail(self, error: AdwarmError) -> list[KeyOutcome]:
        """End with an error; what is held is given back."""
        ...

    def hand_back(self, seen: Watched | None) -> list[KeyOutcome]:
        """End for now, with the report as it was last seen: whoever comes next takes it up."""
        ...


@dataclass
class _Waiting:
    run: Run
    handle: Handle


@dataclass
class Crew:
    """Threads for one batch. Used once.

    Attributes:
        workers: accounts that work at the same time.
        patience: seconds that running reports are waited for once no account works any more.
        make_watch: makes what looks after the reports of one upstream.
        source_of: returns a connection's upstream, as made for the thread that calls.
    """

    workers: int
    patience: float
    clock: Clock
    make_watch: Callable[[], ReportWatch]
    source_of: Callable[[str], InsightsSource]
    _watches: dict[str, ReportWatch] = field(default_factory=dict)
    _working: dict[Future[list[KeyOutcome] | RunningReport], Run] = field(default_factory=dict)
    _looking: dict[Future[Look], str] = field(default_factory=dict)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _finished: list[KeyOutcome] = field(default_factory=list)

    def carry(self, runs: Sequence[Run]) -> list[KeyOutcome]:
        """Return the outcomes of every run, in no particular order."""
        with (
            ThreadPoolExecutor(self.workers, thread_name_prefix="prefetch") as pool,
            ThreadPoolExecutor(1, thread_name_prefix="reports") as lookout,
        ):
            self._working = {pool.submit(run.step): run for run in runs}
            try:
                self._until_done(pool, lookout)
            finally:
                self._hand_back()
        return self._finished

    def _until_done(self, pool: ThreadPoolExecutor, lookout: ThreadPoolExecutor) -> None:
        idle = 0.0
        while self._working or self._waiting:
            passed = self._pause()
            for watch in self._watches.values():
                watch.advance(passed)
            moved = self._take_in() + self._land(pool)
            idle = 0.0 if self._working or moved else idle + passed
            if not self._working and not self._looking and idle + self._next_look() > self.patience:
                return
            self._keep()
            self._look(lookout)

    def _pause(self) -> float:
        """Wait until something may have happened, and return how long that was."""
        seconds = min(_BEAT_SECONDS, self._next_look())
        busy: list[Future[Any]] = [*self._working, *self._looking]
        if not busy:
            self.clock.sleep(seconds)
            return seconds
        started = time.monotonic()
        wait(busy, timeout=seconds if self._waiting else None, return_when=FIRST_COMPLETED)
        return time.monotonic() - started

    def _next_look(self) -> float:
        """Return the seconds until a report is due that is not being looked at."""
        dues = (watch.next_look() for name, watch in self._watches.items() if name not in self._looking.values())
        return min((due for due in dues if due is not None), default=0.0 if self._looking else _BEAT_SECONDS)

    def _take_in(self) -> int:
        """Take what the threads have brought, and return how much."""
        done = [future for future in self._working if future.done()]
        for future in done:
            run = self._working.pop(future)
            brought = future.result()
            if isinstance(brought, RunningReport):
                self._waiting[brought.handle.id] = _Waiting(run, brought.handle)
                self._watches.setdefault(run.connection, self.make_watch()).add(brought)
            else:
                self._finished += brought
        return len(done)

    def _land(self, pool: ThreadPoolExecutor) -> int:
        """Let accounts whose reports have ended go on, and return how many."""
        done = [future for future in self._looking if future.done()]
        landed = 0
        for future in done:
            connection = self._looking.pop(future)
            try:
                look = future.result()
            except AdwarmError as error:
                self._end(connection, error)
                continue
            for run_id in look.asked:
                self._waiting[run_id].run.looked(1)
            for run_id, progress in look.ended.items():
                waiting = self._waiting.pop(run_id)
                waiting.run.landed(progress)
                self._working[pool.submit(waiting.run.step)] = waiting.run
                landed += 1
        return landed

    def _look(self, lookout: ThreadPoolExecutor) -> None:
        for connection, watch in self._watches.items():
            due = watch.next_look()
            if due is not None and due <= 0 and connection not in self._looking.values():
                self._looking[lookout.submit(self._seen, connection, watch)] = connection

    def _seen(self, connection: str, watch: ReportWatch) -> Look:
        return watch.look(self.source_of(connection))

    def _keep(self) -> None:
        for waiting in list(self._waiting.values()):
            try:
                waiting.run.beat()
            except AdwarmError as error:
                self._drop(waiting)
                self._finished += waiting.run.fail(error)

    def _end(self, connection: str, error: AdwarmError) -> None:
        """End every account of a connection that waits: its token is dead."""
        for waiting in [found for found in self._waiting.values() if found.run.connection == connection]:
            self._drop(waiting)
            self._finished += waiting.run.fail(error)

    def _hand_back(self) -> None:
        """Let go of what waits, and, after a bug, of what has come to wait meanwhile."""
        for future, run in self._working.items():
            if future.exception() is None and isinstance(future.result(), RunningReport):
                self._finished += run.hand_back(None)
        for waiting in list(self._waiting.values()):
            seen = self._drop(waiting)
            self._finished += waiting.run.hand_back(seen)

    def _drop(self, waiting: _Waiting) -> Watched | None:
        self._waiting.pop(waiting.handle.id, None)
        return self._watches[waiting.run.connection].drop(waiting.handle)
