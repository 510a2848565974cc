"""What the threads of one batch share: who may work now, what must not be asked again, and when the batch is over."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from adwarm.foundation.errors import AdwarmError, Refused, TokenDead
from adwarm.model import Priority
from adwarm.prefetch.async_reports import ReportPoller
from adwarm.prefetch.fetch_lease import FetchLease
from adwarm.prefetch.fetcher import AccountTimeout, BatchStopped
from adwarm.prefetch.report_schedule import RunningReport
from adwarm.sources.protocol import AsyncReportProgress

log = logging.getLogger(__name__)


@dataclass
class Batch:
    """One batch while it runs. Safe to share between its threads.

    Attributes:
        wait_seconds: how long a call may wait for admission.
        workers: accounts that are worked on at the same time; an account that waits for a report is not counted.
        seconds: longest work on the batch.
        account_seconds: longest work on one account.
    """

    priority: Priority
    wait_seconds: float
    poller: ReportPoller
    workers: int
    max_seconds: float
    max_account_seconds: float
    monotonic: Callable[[], float] = time.monotonic
    _slots: threading.Semaphore = field(init=False)
    _started: float = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _dead_connections: set[str] = field(default_factory=set)
    _refused_sources: dict[str, tuple[float, Refused]] = field(default_factory=dict)
    _leases: list[FetchLease] = field(default_factory=list)
    _stop_error: AdwarmError | None = None

    def __post_init__(self) -> None:
        self._slots = threading.Semaphore(self.workers)
        self._started = self.monotonic()

    @contextmanager
    def acquire_slot(self) -> Iterator["AccountSlot"]:
        """Wait for a slot and hold it while the block runs, but for the times it waits for a report."""
        with self._slots:
            yield AccountSlot(self, self.monotonic())

    @contextmanager
    def released_slot(self) -> Iterator[None]:
        """Let another account have the slot while the block runs."""
        self._slots.release()
        try:
            yield
        finally:
            self._slots.acquire()

    def check_call_allowed(self, connection: str, source: str) -> None:
        """Check that a call may be made.

        Raises:
            BatchOver: the batch is stopped.
            TokenDead: the token of the connection died in this batch.
            Refused: the upstream's breaker was found open a moment ago.
        """
        with self._lock:
            if self._stop_error is not None:
                raise self._stop_error
            if connection in self._dead_connections:
                raise TokenDead("the access token is dead; renew it in the connection")
            until, refused = self._refused_sources.get(source, (0.0, None))
            if refused is not None and self.monotonic() < until:
                raise Refused(str(refused), retry_after=until - self.monotonic(), scope=refused.scope)

    def record_error(self, connection: str, source: str, error: AdwarmError) -> None:
        """Take note of an error that concerns other accounts of the batch as well."""
        with self._lock:
            if isinstance(error, TokenDead):
                self._dead_connections.add(connection)
            if isinstance(error, Refused) and error.scope == f"source:{source}":
                self._refused_sources.setdefault(source, (self.monotonic() + error.retry_after, error))

    @contextmanager
    def renewing(self, lease: FetchLease) -> Iterator[FetchLease]:
        """Renew a lease while the block runs and makes progress; it is given back at the end."""
        with self._lock:
            self._leases.append(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._leases.remove(lease)
            lease.release()

    def supervise(self, futures: Sequence[Future[Any]], threads: int) -> None:
        """Look after the reports and leases of the batch until every future is done."""
        try:
            self.poller.run_until_done(futures, threads, self._heartbeat)
        except BaseException:
            self.stop("the batch was interrupted")
            raise

    def stop(self, why: str) -> None:
        """Let every account end at its next call, and those that wait for a report at once."""
        with self._lock:
            self._stop_error = self._stop_error or BatchStopped(
                f"{why}; what is left goes on in the next attempt", retry_after=1.0
            )
        self.poller.close()

    def _heartbeat(self) -> None:
        if self._stop_error is None and self.monotonic() - self._started > self.max_seconds:
            self.stop(f"the batch took longer than {self.max_seconds:.0f} s (ADWARM_BATCH_SECONDS)")
        with self._lock:
            kept = list(self._leases)
        for held in kept:
            try:
                held.renew_if_due()
            except AdwarmError as error:  # tried again in a second; a lease that runs out meanwhile is found lost
                log.warning("%s: the lease could not be renewed: %s", held.record.name, error)


@dataclass
class AccountSlot:
    """An account's turn in the batch, under its own time limit."""

    batch: Batch
    _started: float

    def check_call_allowed(self, connection: str, source: str) -> None:
        """Check that a call may be made.

        Raises:
            OutOfTime: the account took longer than it may.
            BatchOver, TokenDead, Refused: as for the batch.
        """
        batch = self.batch
        batch.check_call_allowed(connection, source)
        if batch.monotonic() - self._started > batch.max_account_seconds:
            words = f"the account took longer than {batch.max_account_seconds:.0f} s (ADWARM_ACCOUNT_SECONDS)"
            raise AccountTimeout(words, retry_after=60.0)

    def wait_for_report(self, connection: str, report: RunningReport) -> tuple[AsyncReportProgress, int]:
        """Block until a report has ended; the slot is another account's meanwhile.

        Raises:
            ReportPending: nobody waits any longer, and the platform is still making it.
            TokenDead: the token of the report is dead.
        """
        began = self.batch.monotonic()
        try:
            with self.batch.released_slot():
                return self.batch.poller.wait(connection, report)
        finally:
            self._started += self.batch.monotonic() - began
