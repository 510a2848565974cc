"""The lease on an account's data: one worker fetches, the others find the entry it publishes.

| state     | event                                           | becomes   |
|-----------|-------------------------------------------------|-----------|
| free      | a worker acquires it                            | held      |
| held      | renewed, while its holder makes progress        | held      |
| held      | released, or not renewed until it expires       | free      |
| held      | another worker acquires it after its expiry     | lost      |
| lost      | the old holder's next step raises `LeaseLost`   | -         |

Each finished call and each poll of a running report counts as progress. A holder that hangs in a call stops being
renewed once the call exceeds its timeout, so another worker takes over.

The lease also records the async report that the platform runs for it: that one is requested, before the request is
sent, and its id, before the first poll. The next holder, in any process, continues the running report and the pages
that were read of it. A report requested by a worker that died before it could save the id is counted as an orphan.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from adwarm.foundation.clock import Clock, TimeLimit, limited
from adwarm.foundation.errors import AdwarmError, Transient
from adwarm.sources.protocol import AsyncReportHandle, FetchUnit
from adwarm.store import leases

_RETRY_AFTER_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 0.5
"""A lease that expires is taken over within a second, the time of the takeover included."""


class LeaseHeldElsewhere(Transient):
    """Another worker fetches the same data; come back for its entry."""

    own_refusal = True


class OrphanReport(AdwarmError):
    """A report of the platform that no worker will read."""


class LeaseLost(Transient):
    """The lease was lost while fetching; its new holder publishes."""

    own_refusal = True


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Durations of a fetch lease, in seconds.

    Attributes:
        lease: how long a lease lives without a renewal; it is renewed after a third of that.
        stall: how long a holder may go without progress before it is not renewed any more.
    """

    lease: float
    wait: float
    stall: float


@dataclass
class FetchLease:
    """A lease that is renewed while its holder makes progress. Used by one fetch and by the batch's heartbeat.

    Attributes:
        is_released: whether the transaction that published last has released it.
    """

    engine: Engine
    record: leases.Lease
    timing: LeaseTiming
    _renewed: float = field(default_factory=time.monotonic)
    _progressed: float = field(default_factory=time.monotonic)
    _lost: bool = False
    is_released: bool = False

    def record_progress(self) -> None:
        """Record that the holder made progress.

        Raises:
            LeaseLost: the lease was lost in the meantime.
        """
        self._progressed = time.monotonic()
        self._check(not self._lost)

    def check(self, connection: Connection, *, release: bool) -> None:
        """Check the lease inside a transaction that publishes, and release it with the last one.

        Raises:
            LeaseLost: another worker has it by now; nothing may be published.
        """
        is_current = leases.release_within if release else leases.is_current
        self._check(is_current(connection, self.record))

    def _check(self, is_current: bool) -> None:
        if not is_current:
            raise LeaseLost(f"{self.record.name}: the lease was lost while fetching; its new holder publishes")

    def renew_if_due(self) -> None:
        """Renew the lease if a third of its lifetime has passed and its holder made progress recently."""
        now, timing = time.monotonic(), self.timing
        is_held = not self._lost and not self.is_released
        if not is_held or now - self._renewed < timing.lease / 3 or now - self._progressed > timing.stall:
            return
        self._lost = not leases.renew(self.engine, self.record, timing.lease)
        self._renewed = now

    def release(self) -> None:
        """Release the lease, unless it is; a report that is recorded in it stays there for the next holder."""
        if not self.is_released:
            leases.release(self.engine, self.record)


def acquire_lease(engine: Engine, clock: Clock, name: str, owner: str, timing: LeaseTiming) -> FetchLease:
    """Wait for the lease `name` and acquire it for `owner`.

    Raises:
        LeaseHeldElsewhere: another worker held it for longer than `timing.wait`.
    """
    waited, pause = 0.0, _FIRST_PAUSE_SECONDS
    while True:
        with limited(TimeLimit(timing.wait - waited, "the wait for the lease")):
            lease = leases.acquire(engine, name, owner, timing.lease)
        if lease:
            return FetchLease(engine, lease, timing)
        if waited > timing.wait:
            message = f"{name} has been held by another worker for over {timing.wait:.0f} s"
            raise LeaseHeldElsewhere(message, retry_after=_RETRY_AFTER_SECONDS)
        clock.sleep(pause)
        waited += pause
        pause = min(_MAX_PAUSE_SECONDS, pause * 2)


@dataclass(frozen=True, slots=True)
class RunningReport:
    """An async report that the platform is running.

    Attributes:
        percent: progress when it was last polled.
        age_seconds: time since it was requested.
        stalled_seconds: time since the percentage last rose.
        pages: pages of it that were read before; None when it was not read yet.
    """

    handle: AsyncReportHandle
    percent: float = 0.0
    age_seconds: float = 0.0
    stalled_seconds: float = 0.0
    requested_at: datetime | None = None
    pages: leases.PagesRead | None = None


@dataclass
class LeasedReport:
    """The async report that is recorded in a lease. Used by one thread at a time.

    Attributes:
        on_orphan: called with each report that no worker will read.
        max_seconds: age from which a report is not continued.
    """

    engine: Engine
    lease: leases.Lease
    clock: Clock
    on_orphan: Callable[[OrphanReport], None]
    max_seconds: float
    _current: leases.SavedReport | None = field(init=False)

    def __post_init__(self) -> None:
        self._current = self.lease.report
        if self._current and self._current.run_id is None:
            self.on_orphan(
                OrphanReport("a report was requested by a worker that stopped before it knew the report's id")
            )
            self.clear()

    def get_running(self, unit: FetchUnit) -> RunningReport | None:
        """Return the recorded report of `unit`; None when there is none or it is too old."""
        saved, now = self._current, self.clock.now()
        if saved is None or saved.run_id is None or saved.unit != unit.hash:
            return None
        age = (now - saved.requested_at).total_seconds()
        if age >= self.max_seconds:
            return None
        stalled = (now - saved.progressed_at).total_seconds()
        return RunningReport(
            handle=AsyncReportHandle(saved.run_id, unit),
            percent=saved.percent,
            age_seconds=age,
            stalled_seconds=stalled,
            requested_at=saved.requested_at,
            pages=saved.pages,
        )

    def start(self, unit: FetchUnit, submit: Callable[[], AsyncReportHandle]) -> RunningReport:
        """Request a report of `unit` by `submit`, record it, and return it.

        Raises:
            LeaseLost: the lease was lost; its new holder continues.
            AdwarmError: raised by `submit`.
        """
        if self._current and self._current.run_id:
            self.on_orphan(OrphanReport(f"report {self._current.run_id} is abandoned: another request is sent instead"))
        now = self.clock.now()
        announced = leases.SavedReport(unit.hash, now, None, 0.0, now)
        self._record(announced)
        try:
            handle = submit()
        except AdwarmError:
            self.clear()
            raise
        self._record(replace(announced, run_id=handle.id))
        return RunningReport(handle, requested_at=now)

    def save_progress(self, percent: float, stalled_seconds: float) -> None:
        """Record the report's percentage, and for how many seconds it has not risen."""
        if self._current is not None:
            progressed_at = self.clock.now() - timedelta(seconds=stalled_seconds)
            self._current = replace(self._current, percent=percent, progressed_at=progressed_at)
            leases.save_report(self.engine, self.lease, self._current)

    def save_pages(self, pages: leases.PagesRead) -> None:
        """Record which pages were read, so that the next holder continues behind them."""
        if self._current is not None:
            self._current = replace(self._current, pages=pages)
            leases.save_report(self.engine, self.lease, self._current)

    def clear(self) -> None:
        """Remove the report from the lease: it was read, or it failed."""
        self._current = None
        leases.save_report(self.engine, self.lease, None)

    def _record(self, report: leases.SavedReport) -> None:
        if not leases.save_report(self.engine, self.lease, report):
            raise LeaseLost(f"{self.lease.name}: the lease was lost; its new holder continues")
        self._current = report
