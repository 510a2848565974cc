"""Who fetches what the read API enqueues.

| this process                         | mode       | requests are fetched                               |
|--------------------------------------|------------|----------------------------------------------------|
| holds the credential of its source   | `drains`   | by threads of this process, at once                |
| does not hold it                     | `waits`    | by the DAG adwarm_request_queue, in its next run   |

A drainer runs in background threads that an enqueue of this process wakes at once, and that look for the requests of
others every few seconds. It continues after errors, with growing pauses.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import Clock, floor_to
from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.foundation.redaction import redact
from adwarm.prefetch.queue_worker import DrainResult, QueueWorker
from adwarm.settings import Settings

DAG_ID: Final = "adwarm_request_queue"
INTERVAL: Final = timedelta(minutes=5)
"""How often the DAG runs where nothing starts it earlier."""


def next_run(now: datetime) -> datetime:
    """Return when the DAG runs next by its schedule, UTC."""
    return floor_to(now, INTERVAL) + INTERVAL


BATCH_SIZE = 4
"""Requests that a thread takes at a time: fewer than the DAG takes, because readers wait for them."""
POLL_SECONDS = 3.0
_LONGEST_PAUSE_SECONDS = 60.0
_CLEAN_UP_SECONDS = 3_600.0
log = logging.getLogger(__name__)


Fetcher = Literal["drains", "waits"]
"""Who fetches what is enqueued; see the table of the module."""


@dataclass(frozen=True, slots=True)
class FetchMode:
    """Who fetches what the read API enqueues, and a sentence about it for people."""

    mode: Fetcher
    sentence: str


def describe_fetching(settings: Settings, check_sources: Callable[[], object]) -> FetchMode:
    """Return who fetches what this process enqueues.

    Args:
        check_sources: raises BadRequest when a source lacks a setting, such as its credential; it calls no source.
    """
    try:
        check_sources()
    except BadRequest as error:
        minutes = int(INTERVAL.total_seconds() // 60)
        return FetchMode(
            "waits",
            f"`adwarm serve` has no credential ({error}); the DAG {DAG_ID} fetches misses within seconds where a "
            f"triggerer runs, else every {minutes} minutes",
        )
    return FetchMode("drains", f"`adwarm serve` fetches misses itself, with its {settings.source.kind} source")


class Drainer(Protocol):
    """Gets the requests of the queue fetched, in the background."""

    mode: FetchMode

    def start(self, on_progress: Callable[[], None]) -> None:
        """Start; `on_progress` is called from a background thread after requests have ended."""

    def wake(self) -> None:
        """Look for requests now; returns at once."""

    def stop(self, seconds: float) -> None:
        """Stop, and wait up to `seconds` for what is running; unfinished requests go back to the queue."""

    def retry_after(self) -> float:
        """Return after how many seconds a request that is enqueued now may be done."""

    def describe(self) -> str:
        """Return what happens to a request that is enqueued now, for its reader."""


class _BackgroundLoop:
    """A thread that works when it is woken and every few seconds, and pauses longer after each error."""

    def __init__(self, name: str, work: Callable[[], None], on_error: Callable[[str], None]) -> None:
        self._work = work
        self._on_error = on_error
        self._wake_up = threading.Event()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Work now, unless an error was a moment ago."""
        self._wake_up.set()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._is_stopping.set()
        self._wake_up.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_stopping(self) -> bool:
        """Whether the thread was asked to end."""
        return self._is_stopping.is_set()

    def _run(self) -> None:
        pause = POLL_SECONDS
        while not self._is_stopping.is_set():
            self._wake_up.clear()
            try:
                self._work()
                pause = POLL_SECONDS
                self._wake_up.wait(pause)
            except Exception as error:  # whatever it was, later requests are still to be fetched
                self._on_error(_describe_error(error))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                self._is_stopping.wait(pause)


def _describe_error(error: Exception) -> str:
    return redact(str(error) if isinstance(error, AdwarmError) else type(error).__name__)


class QueueDrainer:
    """Drains the queue in threads of this process.

    Args:
        make_worker: returns a new worker; each thread has its own, and a new one after an error.
        threads: batches that run at the same time.
    """

    def __init__(
        self, mode: FetchMode, queue: RequestQueue, make_worker: Callable[[], QueueWorker], threads: int = 2
    ) -> None:
        self.mode = mode
        self._queue = queue
        self._make_worker = make_worker
        self._on_progress: Callable[[], None] = lambda: None
        self._threads = [_DrainThread(f"queue-drain-{number}", self) for number in range(threads)]

    def start(self, on_progress: Callable[[], None]) -> None:
        """Start the threads."""
        self._on_progress = on_progress
        for thread in self._threads:
            thread.loop.start()

    def wake(self) -> None:
        """Look for requests now."""
        for thread in self._threads:
            thread.loop.wake()

    def stop(self, seconds: float) -> None:
        """Stop the threads; what they fetch is interrupted and goes back to the queue."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.stop()
        alive = [thread for thread in self._threads if not thread.loop.join(max(0.0, end - time.monotonic()))]
        if alive:
            log.warning(
                "%d batches of the queue are still running; others take over when their leases expire", len(alive)
            )

    def retry_after(self) -> float:
        """Return a short time: the request is taken at once."""
        return 2.0

    def describe(self) -> str:
        """Return that it is fetched now."""
        return "it is fetched now"

    def is_ready(self) -> bool:
        """Whether a request can be taken."""
        return bool(self._queue.status().ready)

    def new_worker(self) -> QueueWorker:
        """Return a new worker."""
        return self._make_worker()

    def report_progress(self) -> None:
        """Tell that requests may have ended."""
        self._on_progress()

    def clean_up(self) -> None:
        """Delete old requests."""
        self._queue.delete_old()


class _DrainThread:
    """One thread of a `QueueDrainer`, and its worker."""

    def __init__(self, name: str, drainer: QueueDrainer) -> None:
        self.loop = _BackgroundLoop(name, self._drain, self._report)
        self._drainer = drainer
        self._worker: QueueWorker | None = None
        self._cleaned_at = time.monotonic()

    def stop(self) -> None:
        """Ask the thread to end, and its batch to stop."""
        self.loop.stop()
        worker = self._worker
        if worker is not None:
            worker.stopping.set()

    def _drain(self) -> None:
        """Carry out what is ready. Looking for it writes nothing."""
        try:
            while not self.loop.is_stopping and self._drainer.is_ready():
                self._worker = self._worker or self._drainer.new_worker()
                if self.loop.is_stopping:
                    return
                result = DrainResult()
                has_worked = self._worker.drain_batch(result)
                self._drainer.report_progress()
                if not has_worked:
                    break
                log.info("%s", result)
            if time.monotonic() - self._cleaned_at > _CLEAN_UP_SECONDS:
                self._cleaned_at = time.monotonic()
                self._drainer.clean_up()
        except Exception:
            self._worker = None
            raise

    def _report(self, message: str) -> None:
        log.warning("the queue could not be drained (%s); trying again", message)


class NoDrainer:
    """Leaves the queue to the schedule of the DAG."""

    def __init__(self, mode: FetchMode, clock: Clock) -> None:
        self.mode = mode
        self._clock = clock

    def start(self, on_progress: Callable[[], None]) -> None:
        """Do nothing."""

    def wake(self) -> None:
        """Do nothing."""

    def stop(self, seconds: float) -> None:
        """Do nothing."""

    def retry_after(self) -> float:
        """Return the time until the DAG has begun its next run."""
        now = self._clock.now()
        return (next_run(now) - now).total_seconds() + POLL_SECONDS

    def describe(self) -> str:
        """Return when the DAG runs."""
        return f"the DAG {DAG_ID} runs next at {next_run(self._clock.now()):%H:%M} UTC"


def make_drainer(mode: FetchMode, queue: RequestQueue, make_worker: Callable[[], QueueWorker], clock: Clock) -> Drainer:
    """Return the drainer of a mode.

    Args:
        mode: what `describe_fetching` returned.
        make_worker: returns a new worker of the queue; not called unless the mode is `drains`.
    """
    return QueueDrainer(mode, queue, make_worker) if mode.mode == "drains" else NoDrainer(mode, clock)
