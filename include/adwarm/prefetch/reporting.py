"""Reports that the platform makes in the background, remembered in the lease of the account's span.

The lease knows of a report before it is asked for, and its id before anybody looks at it. So whoever holds the lease
next, in whatever process, takes the running report up; and one that was asked for by a worker that died before it could
note down the id is counted as an orphan.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Engine

from adwarm.clock import Clock
from adwarm.errors import AdwarmError, Transient
from adwarm.sources.protocol import Handle, Unit
from adwarm.store import leases
from adwarm.store.errors_log import ErrorEvent, ErrorsLog

ORPHAN = "OrphanReport"
"""Kind of the error event that counts a report nobody will read."""


@dataclass(frozen=True, slots=True)
class RunningReport:
    """A report that the platform is making.

    Attributes:
        percent: how far it was when somebody last waited for it.
        age: seconds since it was asked for.
        quiet: seconds since it is that far.
    """

    handle: Handle
    percent: float = 0.0
    age: float = 0.0
    quiet: float = 0.0


class ReportRunning(Exception):
    """The platform is making a report; go on when it has landed."""

    def __init__(self, report: RunningReport) -> None:
        super().__init__(f"report {report.handle.id} is being made")
        self.report = report


@dataclass
class ReportNotes:
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
    _noted: leases.Report | None = field(init=False)

    def __post_init__(self) -> None:
        self._noted = leases.report_of(self.engine, self.lease)
        if self._noted and self._noted.run_id is None:
            self._count("a report was asked for by a worker that stopped before it knew the report's id")
            self.forget()

    def running(self, unit: Unit) -> RunningReport | None:
        """Return the report of `unit` that is being made, if there is one that is young enough."""
        noted, now = self._noted, self.clock.now()
        if noted is None or noted.run_id is None or noted.unit != unit.hash:
            return None
        age, quiet = (now - noted.at).total_seconds(), (now - noted.moved_at).total_seconds()
        return None if age >= self.max_seconds else RunningReport(Handle(noted.run_id, unit), noted.percent, age, quiet)

    @property
    def asked_at(self) -> datetime | None:
        """When the report that is being made was asked for."""
        return self._noted.at if self._noted else None

    def begin(self, unit: Unit, submit: Callable[[], Handle]) -> RunningReport:
        """Ask for a report of `unit` and return it, noted down.

        Raises:
            Transient: the lease was lost; its new holder goes on.
            AdwarmError: the upstream's answer to the submit.
        """
        if self._noted and self._noted.run_id:
            self._count(f"report {self._noted.run_id} is left behind: another question is asked now")
        now = self.clock.now()
        self._must_hold(leases.announce_report(self.engine, self.lease, unit.hash, now))
        try:
            handle = submit()
        except AdwarmError:
            self.forget()
            raise
        self._must_hold(leases.keep_report(self.engine, self.lease, handle.id))
        self._noted = leases.Report(unit.hash, now, handle.id, 0.0, now)
        return RunningReport(handle)

    def stands(self, percent: float, quiet: float) -> None:
        """Note down how far the report is, and for how many seconds it has been, for whoever waits next."""
        leases.move_report(self.engine, self.lease, percent, self.clock.now() - timedelta(seconds=quiet))

    def forget(self) -> None:
        """Forget the report: it was read, or ended badly."""
        self._noted = None
        leases.forget_report(self.engine, self.lease)

    def _must_hold(self, held: bool) -> None:
        if not held:
            raise Transient(f"{self.lease.name}: the lease was lost; its new holder goes on")

    def _count(self, words: str) -> None:
        event = ErrorEvent(self.clock.now(), self.source, ORPHAN, words, self.lease.name)
        ErrorsLog(self.engine).record(event)
