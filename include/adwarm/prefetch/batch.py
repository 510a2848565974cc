"""What the threads of one batch share: the parts they work with, the slots, time limits, and errors that concern all.

| state of an account in a batch         | holds                       |
|----------------------------------------|-----------------------------|
| waiting for a slot                     | nothing                     |
| working                                | a slot, leases              |
| waiting for an async report            | leases; the slot is released |
| ended                                  | nothing                     |
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from adwarm.foundation.clock import TimeLimit, check_limits, limited
from adwarm.foundation.compute_turn import taking_turns, waiting
from adwarm.foundation.errors import AdwarmError, Refused, TokenDead, Transient
from adwarm.foundation.gate import FOREVER, Gate, OpenedBy, Rule, may_call
from adwarm.model import Priority
from adwarm.prefetch.async_reports import ReportPoller
from adwarm.prefetch.fetch_lease import FetchLease, RunningReport
from adwarm.settings import Settings
from adwarm.sources.protocol import AsyncReportProgress

log = logging.getLogger(__name__)
_BATCH = "batch"
MAX_CLOCK_OFFSET_SECONDS = 3_600.0
"""Beyond this difference one of the two clocks is wrong; the platform's decides when data settles."""
BATCH_SECONDS = 3_600.0
"""A batch may take as long as four accounts may, one after another; the next attempt fetches what is left."""


class BatchStopped(Transient):
    """The batch is stopped; the next attempt continues with what is left."""

    own_refusal = True


def platform_time(now: datetime, offset_seconds: float | None) -> datetime:
    """Return `now`, or the platform's own time when the two differ by more than `MAX_CLOCK_OFFSET_SECONDS`.

    Args:
        offset_seconds: how far the platform's clock is ahead of it; None when the platform did not say.
    """
    offset = timedelta(seconds=offset_seconds or 0.0)
    return now + offset if abs(offset.total_seconds()) > MAX_CLOCK_OFFSET_SECONDS else now


@dataclass
class Batch:
    """One running batch. Safe to share between its threads.

    Attributes:
        settings: `workers` accounts work at the same time (one that waits for a report does not count); a batch ends
            after `BATCH_SECONDS`, an account after `account_seconds`, calls that are under way included.
        on_heartbeat: called about once a second with the number of reports that the batch waits for.
        on_wait: called by an account that begins to wait for a report, whose slot is free then.
        takes_turns: whether its threads compute in turns.
    """

    settings: Settings
    priority: Priority
    wait_seconds: float
    poller: ReportPoller
    monotonic: Callable[[], float] = time.monotonic
    on_heartbeat: Callable[[int], None] | None = None
    on_wait: Callable[[], None] | None = None
    takes_turns: bool = False
    _slots: threading.Semaphore = field(init=False)
    _limit: TimeLimit = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _gates: dict[str, Gate] = field(default_factory=dict)
    _leases: list[FetchLease] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._slots = threading.Semaphore(self.settings.workers)
        self._limit = TimeLimit(BATCH_SECONDS, "the batch", monotonic=self.monotonic)

    @contextmanager
    def acquire_slot(self) -> Iterator[TimeLimit]:
        """Wait for a slot and hold it while the block runs, except while it waits for a report.

        Yields the time of the account, which holds for the thread that has the slot, beside that of the batch.
        """
        seconds = self.settings.account_seconds
        with self._slots:
            limit = TimeLimit(seconds, "the account", "ADWARM_ACCOUNT_SECONDS", monotonic=self.monotonic)
            with limited(limit, self._limit), taking_turns() if self.takes_turns else nullcontext():
                yield limit

    def wait_for_report(
        self, connection: str, report: RunningReport, limit: TimeLimit
    ) -> tuple[AsyncReportProgress, int]:
        """Block until a report has ended; return how it ended and the polls it took.

        The wait is a part of the account's time, `limit`. Another account has the slot meanwhile; waiting to get it
        back does not count.

        Raises:
            ReportPending: the account's time is over, or the batch stopped waiting, while the platform is still running
                the report.
            TokenDead: the token of the report is dead.
        """
        self._slots.release()
        if self.on_wait:
            self.on_wait()
        with waiting():
            try:
                return self.poller.wait(connection, report, limit.seconds_left)
            finally:
                ended = self.monotonic()
                self._slots.acquire()
                limit.extend(self.monotonic() - ended)

    def check_time(self) -> None:
        """Check that there is time left.

        Raises:
            BatchStopped: the batch's time is over, or it is stopped.
            TimeLimitReached: the account's time is over, or another limit of the calling thread is reached.
        """
        self._check_stopped()
        check_limits()

    def _check_stopped(self) -> None:
        if self._limit.seconds_left <= 0:
            self.stop(f"the batch took longer than {BATCH_SECONDS:g} s; the next attempt fetches the rest")
        with self._lock:
            gate = self._find_gate(_BATCH)
        if gate is not None:
            raise BatchStopped(gate.why, retry_after=1.0)

    def check_call_allowed(self, connection: str, source: str, credential: str = "") -> None:
        """Check that a call may be made.

        Args:
            connection: name of the connection that the call is made with, as its accounts are stored.

        Raises:
            BatchStopped, TimeLimitReached: as for `check_time`.
            TokenDead: this credential of the connection was refused in this batch.
            Refused: the source's breaker was found open a moment ago.
        """
        self._check_stopped()
        with self._lock:
            gate = self._find_gate(_token_scope(connection, credential), f"source:{source}")
        if gate is None:
            return check_limits()
        if gate.opened_by is OpenedBy.CREDENTIAL:
            dead = TokenDead(f"the access token is dead; renew it in the connection {connection}")
            dead.credential = credential
            raise dead
        raise Refused(gate.why, retry_after=gate.remaining_seconds(self.monotonic()), scope=gate.scope)

    def _find_gate(self, *scopes: str) -> Gate | None:
        return may_call((self._gates[scope] for scope in scopes if scope in self._gates), self.monotonic())

    def record_error(self, connection: str, source: str, error: AdwarmError) -> None:
        """Record an error that concerns other accounts of the batch too: dead token, open breaker."""
        with self._lock:
            if isinstance(error, TokenDead):
                scope = _token_scope(connection, error.credential)
                self._gates[scope] = Gate(scope, Rule.ISOLATION, closed_until=FOREVER, opened_by=OpenedBy.CREDENTIAL)
            if isinstance(error, Refused) and error.scope == f"source:{source}":
                until = self.monotonic() + error.retry_after
                self._gates.setdefault(error.scope, Gate(error.scope, Rule.BREAKER, closed_until=until, why=str(error)))

    @contextmanager
    def renewing(self, lease: FetchLease) -> Iterator[FetchLease]:
        """Renew a lease while the block runs and makes progress, and release it at the end."""
        with self._lock:
            self._leases.append(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._leases.remove(lease)
            lease.release()

    def supervise(self, futures: Sequence[Future[Any]], threads: int) -> None:
        """Poll the reports and renew the leases of the batch until every future is done."""
        try:
            self.poller.run_until_done(futures, threads, self._heartbeat)
        except BaseException:
            self.stop("the batch was interrupted")
            raise

    def stop(self, why: str) -> None:
        """End every account at its next call, and those that wait for a report at once."""
        message = f"{why}; the next attempt continues with what is left"
        with self._lock:
            stop = Gate(_BATCH, Rule.STOP, closed_until=FOREVER, why=message, opened_by=OpenedBy.TIME)
            self._gates.setdefault(_BATCH, stop)
        self.poller.close()

    def _heartbeat(self) -> None:
        with suppress(BatchStopped):
            self._check_stopped()
        with self._lock:
            leases = list(self._leases)
        for lease in leases:
            try:
                lease.renew_if_due()
            except AdwarmError as error:  # the next heartbeat tries again; an expired lease is noticed as lost
                log.warning("%s: the lease could not be renewed: %s", lease.record.name, error)
        if self.on_heartbeat:
            self.on_heartbeat(self.poller.waiting)


def _token_scope(connection: str, credential: str) -> str:
    return f"connection:{connection} {credential}"
