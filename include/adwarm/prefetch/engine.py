"""The batch engine: fetches accounts concurrently, one thread each, and returns an outcome for every key.

It knows nothing of Airflow. An interrupted batch loses nothing: published entries stay, a rerun finds them fresh and
continues a running async report.
"""

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache

from sqlalchemy import Connection, Engine

from adwarm.compression import flush_statistics
from adwarm.foundation.errors import Transient
from adwarm.foundation.tracing import span
from adwarm.foundation.wording import format_count
from adwarm.model import Priority
from adwarm.prefetch.account_fetch import AccountFetch
from adwarm.prefetch.async_reports import ReportPoller, ReportSchedule
from adwarm.prefetch.batch import Batch
from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyRequest
from adwarm.prefetch.fetch_context import FetchContext
from adwarm.store.switches import find_stop

log = logging.getLogger(__name__)
Progress = Callable[[Sequence[KeyOutcome]], None]
Record = Callable[[Connection, Sequence[KeyOutcome]], None]
Heartbeat = Callable[[int], None]
_MAX_THREADS = 32
"""Threads of a batch, unless more workers are set: a thread that waits for an async report costs little but memory."""
_NEW_OBJECTS = 100_000
"""New objects that start a collection of garbage."""
CHECK_SECONDS = 2.0
"""How old the position of the switch may be that a running batch acts on."""


class WarmingStopped(Transient):
    """Warming was switched off; the message says by whom and why."""

    own_refusal = True


@dataclass
class KillSwitch:
    """The switch `warming` for a running batch, read every two seconds at most. Safe to share between threads."""

    engine: Engine
    monotonic: Callable[[], float] = time.monotonic
    _read_at: float | None = field(default=None, init=False)
    _stop: str | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def check(self) -> None:
        """Check that planned warms may go on.

        Raises:
            WarmingStopped: warming is switched off.
        """
        with self._lock:
            now = self.monotonic()
            if self._read_at is None or not 0 <= now - self._read_at < CHECK_SECONDS:
                self._stop = find_stop(self.engine)
                self._read_at = now
            if self._stop is not None:
                raise WarmingStopped(self._stop)

    def watch(self, heartbeat: Callable[[int], None]) -> Callable[[int], None]:
        """Return a heartbeat of a batch that checks the switch before it calls `heartbeat`."""

        def beat(waiting: int) -> None:
            self.check()
            heartbeat(waiting)

        return beat


@cache
def _prepare_garbage_collection() -> None:
    """Collect garbage less often in this process, and leave out the objects that exist before its first batch."""
    # The number of new objects starts a collection, and rows are many small objects; by default it also looks through
    # all that was imported.
    gc.freeze()
    least, *others = gc.get_threshold()
    if 0 < least < _NEW_OBJECTS:
        gc.set_threshold(_NEW_OBJECTS, *others)


@dataclass
class PrefetchEngine(FetchContext):
    """Makes keys fresh. Call `run` from one thread at a time; it starts its own worker threads."""

    kill_switch: KillSwitch = field(init=False)

    def __post_init__(self) -> None:
        self.kill_switch = KillSwitch(self.context.engine)

    def run(
        self,
        requests: Sequence[KeyRequest],
        priority: Priority,
        *,
        wait_seconds: float | None = None,
        report_seconds: float | None = None,
        record: Record | None = None,
        progress: Progress | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> BatchResult:
        """Make every key in `requests` fresh and return the outcome of each, in order.

        Args:
            requests: the keys; keys of one account share its requests.
            wait_seconds: how long a call may wait for admission; `backpressure.timeout_seconds` by default.
            report_seconds: how long the batch waits for async reports once nothing else is left to do, within the time
                of an account; `wait_seconds` by default. A report that takes longer ends as parked, and the next run
                continues it.
            record: stores the outcomes of an account in the transaction that publishes the last of its data, or in one
                of its own; called from several threads.
            progress: called with the outcomes of each account once they are stored, from several threads.
            heartbeat: called about once a second while the batch runs, from the caller's thread, with the number of
                async reports that the batch waits for.
        """
        _prepare_garbage_collection()
        groups: dict[tuple[str, str], list[KeyRequest]] = {}
        for item in requests:
            groups.setdefault((item.key.account_id, item.key.report), []).append(item)
        batch = self.make_batch(priority, wait_seconds, report_seconds)
        batch.on_heartbeat = heartbeat
        fetches = [AccountFetch(self, batch, group, record, progress) for group in groups.values()]
        threads = max(1, min(len(fetches), max(_MAX_THREADS, self.settings.workers)))
        # By identity: two requests may be equal, and each has an outcome of its own.
        by_request: dict[int, KeyOutcome] = {}
        try:
            facts: dict[str, str | int | float] = {
                "adwarm.keys": len(requests),
                "adwarm.accounts": len(fetches),
                "adwarm.priority": priority.name,
            }
            with span("adwarm.batch", facts), ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as pool:
                for outcomes in self._run_fetches(pool, batch, fetches, threads):
                    by_request |= {id(outcome.request): outcome for outcome in outcomes}
        finally:
            flush_statistics(self.engine, self.clock.now())
        return BatchResult([by_request[id(item)] for item in requests])

    def _run_fetches(
        self, pool: ThreadPoolExecutor, batch: Batch, fetches: Sequence[AccountFetch], threads: int
    ) -> Iterator[list[KeyOutcome]]:
        """Yield the outcomes of every account; those of accounts that are tried again replace earlier ones."""
        # Accounts that met a dead token are tried once more at the end, when the token was renewed meanwhile: then the
        # run ends green without a retry of the task, and the accounts cost one call each with the dead token at most.
        yield from self._run_each(pool, batch, fetches, threads)
        again: list[AccountFetch] = []
        for fetch in [fetch for fetch in fetches if fetch.is_unreported]:
            attempt = fetch.make_next_attempt()
            if attempt is None:
                yield fetch.finish()
            else:
                again.append(attempt)
        if again:
            log.info("a token was renewed: trying %s again", format_count(len(again), "account"))
            yield from self._run_fetches(pool, batch, again, threads)

    def _run_each(
        self, pool: ThreadPoolExecutor, batch: Batch, fetches: Sequence[AccountFetch], threads: int
    ) -> Iterator[list[KeyOutcome]]:
        """Run every account, and yield its outcomes; a thread starts for each that may work, and for each that waits.

        A thread for every account would be woken only to wait for a slot.
        """
        futures: list[Future[list[KeyOutcome]]] = [Future() for _ in fetches]
        left = deque(zip(futures, fetches, strict=True))
        context = copy_context()

        def run_accounts() -> None:
            with suppress(IndexError):  # none is left
                while True:
                    future, fetch = left.popleft()
                    try:
                        future.set_result(fetch.run())
                    except BaseException as error:  # whoever asks for the outcomes gets it
                        future.set_exception(error)

        def start_thread() -> None:
            # It goes on in the span of the batch; a context can be entered by one thread at a time.
            pool.submit(context.copy().run, run_accounts)

        def start_another() -> None:
            with suppress(RuntimeError):  # without one more thread the others go on
                if left:
                    start_thread()

        batch.on_wait = start_another
        try:
            for _ in range(min(len(fetches), self.settings.workers)):
                start_thread()
        except RuntimeError:
            batch.stop("no more threads could be started")
            raise
        batch.supervise(futures, threads)
        yield from (future.result() for future in futures)

    def make_batch(self, priority: Priority, wait_seconds: float | None, report_seconds: float | None = None) -> Batch:
        """Return a new batch in which calls are admitted in a class, and wait for that as in `run`."""
        wait = self.settings.backpressure.timeout_seconds if wait_seconds is None else wait_seconds

        def make_schedule() -> ReportSchedule:
            return ReportSchedule(self.admission, self.clock, priority)

        idle = wait if report_seconds is None else report_seconds
        poller = ReportPoller(self.clock, idle, make_schedule, self.get_source, self.heal_dead_token)
        # A server of a database is waited for so often that turns cost more time than they save.
        is_file = self.engine.dialect.name == "sqlite"
        return Batch(self.settings, priority, wait, poller, takes_turns=is_file)
