"""Who fetches what the read API enqueues.

| this process                         | mode       | requests are fetched                               |
|--------------------------------------|------------|----------------------------------------------------|
| holds the credential of its source   | `drains`   | by threads of this process, at once                |
| holds a token of Airflow's API       | `triggers` | by the DAG adwarm_request_queue, which it starts   |
| holds neither                        | `waits`    | by that DAG, in its next run                       |

A drainer runs in background threads that an enqueue of this process wakes at once, and that look for the requests of
others every few seconds. It continues after errors, with growing pauses.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pydantic import HttpUrl, SecretStr

from adwarm.backpressure import RequestQueue
from adwarm.backpressure.wake_up import WakeUpPolicy
from adwarm.foundation.clock import Clock, floor_to
from adwarm.foundation.errors import AdwarmError, BadRequest, Transient
from adwarm.foundation.redaction import redact
from adwarm.prefetch.queue_worker import DrainResult, QueueWorker
from adwarm.settings import Settings

if TYPE_CHECKING:
    import httpx

DAG_ID: Final = "adwarm_request_queue"
INTERVAL: Final = timedelta(minutes=5)
"""How often the DAG runs where nothing starts it earlier."""
_TIMEOUT_SECONDS = 10.0
_ADVICE = {
    401: "renew ADWARM_SERVING__AIRFLOW_TOKEN",
    403: "the user of ADWARM_SERVING__AIRFLOW_TOKEN may not trigger it",
    404: "check ADWARM_SERVING__AIRFLOW_URL, and that the DAG is deployed",
}


def next_run(now: datetime) -> datetime:
    """Return when the DAG runs next by its schedule, UTC."""
    return floor_to(now, INTERVAL) + INTERVAL


class DagTrigger:
    """Starts a run of the DAG through Airflow's REST API.

    Args:
        url: Airflow's base URL.
        transport: replaces the network, for tests.
    """

    def __init__(self, url: HttpUrl, token: SecretStr, transport: "httpx.BaseTransport | None" = None) -> None:
        self._url = f"{str(url).rstrip('/')}/api/v2/dags/{DAG_ID}/dagRuns"
        self._token = token
        self._transport = transport

    def __call__(self) -> None:
        """Start a run.

        Raises:
            Transient: Airflow did not accept it; the message says what to do and contains no secret.
        """
        import httpx

        secret = self._token.get_secret_value()
        headers = {"Authorization": f"Bearer {secret}", "Accept": "application/json"}
        try:
            # A redirect could carry the token to another host.
            with httpx.Client(timeout=_TIMEOUT_SECONDS, transport=self._transport, follow_redirects=False) as client:
                response = client.post(self._url, json={"logical_date": None}, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            reason = redact(f"{type(error).__name__}: {error}", [secret], hide_urls=True)
            raise Transient(f"Airflow cannot be reached ({reason}); check ADWARM_SERVING__AIRFLOW_URL") from None
        if not response.is_success:
            advice = _ADVICE.get(response.status_code, "see the log of Airflow's API server")
            raise Transient(f"Airflow answered {response.status_code} to a run of {DAG_ID}; {advice}")


BATCH_SIZE = 4
"""Requests that a thread takes at a time: fewer than the DAG takes, because readers wait for them."""
POLL_SECONDS = 3.0
SECONDS_BETWEEN_RUNS = 5.0
"""Shortest time between two starts of the DAG."""
_LONGEST_PAUSE_SECONDS = 60.0
_CLEAN_UP_SECONDS = 3_600.0
log = logging.getLogger(__name__)


Fetcher = Literal["drains", "triggers", "waits"]
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
        return _describe_without_credential(settings, str(error))
    return FetchMode("drains", f"`adwarm serve` fetches misses itself, with its {settings.source.kind} source")


def _describe_without_credential(settings: Settings, problem: str) -> FetchMode:
    serving, minutes = settings.serving, int(INTERVAL.total_seconds() // 60)
    if serving.airflow_url and serving.airflow_token:
        return FetchMode("triggers", f"`adwarm serve` has no credential ({problem}); it starts the DAG {DAG_ID}")
    missing = " and ".join(
        name
        for name, value in (
            ("ADWARM_SERVING__AIRFLOW_URL", serving.airflow_url),
            ("ADWARM_SERVING__AIRFLOW_TOKEN", serving.airflow_token),
        )
        if not value
    )
    return FetchMode(
        "waits",
        f"`adwarm serve` has no credential ({problem}); the DAG {DAG_ID} fetches misses every {minutes} minutes, "
        f"within seconds where a triggerer runs. Set {missing} to start it at once",
    )


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


class DagStarter:
    """Starts the DAG that drains the queue while requests are ready and nobody processes them.

    Args:
        start_run: starts a run; raises Transient when that fails.
    """

    def __init__(
        self,
        mode: FetchMode,
        queue: RequestQueue,
        start_run: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = mode
        self._queue = queue
        self._start_run = start_run
        self._monotonic = monotonic
        self._policy = WakeUpPolicy()
        self._started_at = float("-inf")
        self._error: str | None = None
        self._loop = _BackgroundLoop("queue-dag", self.start_run_if_due, self._report)

    def start(self, on_progress: Callable[[], None]) -> None:
        """Start the thread; the progress of the DAG is read from the queue."""
        del on_progress
        self._loop.start()

    def wake(self) -> None:
        """Look for requests now."""
        self._loop.wake()

    def stop(self, seconds: float) -> None:
        """Stop the thread."""
        self._loop.stop()
        self._loop.join(seconds)

    def retry_after(self) -> float:
        """Return the time that a run takes to start."""
        return 10.0

    def describe(self) -> str:
        """Return that a run was started, or why it could not be."""
        error = self._error
        return f"the DAG {DAG_ID} is started for it" if error is None else f"the DAG could not be started: {error}"

    def start_run_if_due(self) -> None:
        """Start a run when requests are ready: one per burst, none while a worker is active.

        Raises:
            Transient: Airflow did not accept it, or the queue cannot be read.
        """
        now = self._monotonic()
        if now - self._started_at >= SECONDS_BETWEEN_RUNS and self._policy.should_fire(self._queue.status(), now):
            self._started_at = now
            self._start_run()
            self._error = None

    def _report(self, message: str) -> None:
        self._error = message
        self._policy = WakeUpPolicy()  # so that the next try follows the pause, not the policy
        log.warning("the DAG %s could not be started (%s); trying again", DAG_ID, message)


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


def make_drainer(
    mode: FetchMode, settings: Settings, queue: RequestQueue, make_worker: Callable[[], QueueWorker], clock: Clock
) -> Drainer:
    """Return the drainer of a mode.

    Args:
        mode: what `describe_fetching` returned for the same settings.
        make_worker: returns a new worker of the queue; not called unless the mode is `drains`.
    """
    url, token = settings.serving.airflow_url, settings.serving.airflow_token
    if mode.mode == "drains":
        return QueueDrainer(mode, queue, make_worker)
    if mode.mode == "triggers" and url and token:
        return DagStarter(mode, queue, DagTrigger(url, token))
    return NoDrainer(mode, clock)
