"""Looks after the reports that are being made for a batch: up to fifty in one request, ever less often.

A look is admitted like any call, in the scopes of every account it is about; an account that is parked is left out and
looked after later. While a report is merely running nothing is held. A report that makes no progress, or is older
than it may be, is given up, and one that the platform does not know after a while counts as expired.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from adwarm.backpressure import Admission, CallRequest, acquire_grant
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, Refused, Throttled, TokenDead, Transient
from adwarm.model import Priority, Scope, UsageSample
from adwarm.settings import SourceSettings
from adwarm.sources.protocol import AsyncReportHandle, AsyncReportProgress, AsyncReportState, InsightsSource

_GROWTH = 1.6
_EARLY = 0.5
_UNSEEN_SECONDS = 60.0
log = logging.getLogger(__name__)
_ENDS = frozenset({AsyncReportState.READY, AsyncReportState.FAILED, AsyncReportState.EXPIRED})


@dataclass(frozen=True, slots=True)
class RunningReport:
    """A report that the platform is making.

    Attributes:
        percent: how far it was when somebody last waited for it.
        age: seconds since it was asked for.
        quiet: seconds since it is that far.
    """

    handle: AsyncReportHandle
    percent: float = 0.0
    age_seconds: float = 0.0
    stalled_seconds: float = 0.0


@dataclass
class PolledReport:
    """A running report.

    Attributes:
        pause: time between two looks; `due` until the next one.
        age: since it was asked for.
        quiet: since its percentage last rose.
    """

    handle: AsyncReportHandle
    interval: float
    due_in: float
    age_seconds: float = 0.0
    stalled_seconds: float = 0.0
    percent: float = 0.0

    @property
    def account_id(self) -> str:
        """Whose report it is."""
        return self.handle.unit.account_id


@dataclass(frozen=True, slots=True)
class PollResult:
    """What came of looking: the reports that have ended, and all that were asked about, each a call of the platform."""

    finished: dict[str, AsyncReportProgress] = field(default_factory=dict)
    polled: tuple[str, ...] = ()


@dataclass
class ReportSchedule:
    """The running reports of one upstream. Time passes by `advance`. One thread may look while another goes on."""

    admission: Admission
    clock: Clock
    priority: Priority
    rules: SourceSettings
    _reports: dict[str, PolledReport] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, report: RunningReport) -> None:
        """Watch a report."""
        first = self.rules.report_poll_seconds
        found = PolledReport(report.handle, first, first, report.age_seconds, report.stalled_seconds, report.percent)
        with self._lock:
            self._reports[report.handle.id] = found

    def remove(self, handle: AsyncReportHandle) -> PolledReport | None:
        """Watch the report no longer, and return how it stood."""
        with self._lock:
            return self._reports.pop(handle.id, None)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            for report in self._reports.values():
                report.due_in -= seconds
                report.age_seconds += seconds
                report.stalled_seconds += seconds

    def seconds_until_due(self) -> float | None:
        """Return the seconds until a report is due; None when there is none."""
        with self._lock:
            return min((max(0.0, report.due_in) for report in self._reports.values()), default=None)

    def poll_due(self, source: InsightsSource) -> PollResult:
        """Look at the reports that are due.

        Raises:
            TokenDead: the token of the reports is dead.
        """
        with self._lock:
            chosen = self._due(source.capabilities.poll_batch)
        seen: dict[AsyncReportHandle, AsyncReportProgress] = {}
        while chosen and not seen:
            try:
                seen = self._poll(source, chosen)
            except (Throttled, Refused) as error:
                chosen = self._postpone(chosen, error)
            except TokenDead:
                raise
            except AdwarmError as error:
                log.warning("%d running reports could not be looked at (%s); again later", len(chosen), error)
                break
        with self._lock:
            self._back_off(chosen)
            return PollResult(self._find_finished(seen), tuple(handle.id for handle in seen))

    def _back_off(self, chosen: Sequence[PolledReport]) -> None:
        for report in chosen:
            report.interval = min(self.rules.report_poll_max_seconds, report.interval * _GROWTH)
            report.due_in = report.interval

    def _due(self, most: int) -> list[PolledReport]:
        """Return the reports that are due, and those that would be soon: they come along."""
        ripe = sorted(self._reports.values(), key=lambda report: report.due_in)
        if not ripe or ripe[0].due_in > 0:
            return []
        return [report for report in ripe if report.due_in <= report.interval * _EARLY][:most]

    def _poll(
        self, source: InsightsSource, chosen: Sequence[PolledReport]
    ) -> dict[AsyncReportHandle, AsyncReportProgress]:
        scopes = dict.fromkeys(scope for report in chosen for scope in source.scopes(report.account_id))
        call = CallRequest(tuple(scopes), self.priority, source.name, cost=float(len(chosen)))
        with acquire_grant(self.admission, self.clock, call, timeout_seconds=0.0) as slot:
            seen = source.poll([report.handle for report in chosen])
            slot.record_usage([sample for progress in seen.values() for sample in _usage_samples(progress)])
        return seen

    def _postpone(self, chosen: list[PolledReport], error: Throttled | Refused) -> list[PolledReport]:
        """Put off the reports that may not be looked at now, and return the others."""
        if isinstance(error, Refused):
            held_up, seconds = chosen, error.retry_after
        else:
            named = [report for report in chosen if error.scope == f"account:{report.account_id}"]
            held_up = named or chosen
            seconds = max(0.0, (error.until - self.clock.now()).total_seconds())
        for report in held_up:
            report.due_in = max(seconds, self.rules.report_poll_seconds)
        return [report for report in chosen if report not in held_up]

    def _find_finished(self, seen: dict[AsyncReportHandle, AsyncReportProgress]) -> dict[str, AsyncReportProgress]:
        ended = {}
        for handle, progress in seen.items():
            report = self._reports.get(handle.id)
            if report is None:
                continue
            if progress.percent > report.percent:
                report.percent, report.stalled_seconds = progress.percent, 0.0
            verdict = progress if progress.state in _ENDS else self._check_stalled(report, progress)
            if verdict is not None:
                ended[handle.id] = verdict
                del self._reports[handle.id]
            elif isinstance(progress.error, Throttled):
                self._postpone([report], progress.error)
        return ended

    def _check_stalled(self, report: PolledReport, progress: AsyncReportProgress) -> AsyncReportProgress | None:
        rules, name = self.rules, f"report {report.handle.id}"
        if progress.state is AsyncReportState.UNKNOWN and report.stalled_seconds >= _UNSEEN_SECONDS:
            return AsyncReportProgress(
                AsyncReportState.EXPIRED, error=Transient(f"{name} is not known to the platform")
            )
        if report.stalled_seconds >= rules.report_stuck_seconds:
            words = f"{name} made no progress beyond {report.percent:.0f} % for {report.stalled_seconds:.0f} s"
            return AsyncReportProgress(AsyncReportState.FAILED, error=Transient(words, code="stuck"))
        if report.age_seconds >= rules.report_max_seconds:
            words = f"{name} was not ready after {report.age_seconds:.0f} s"
            return AsyncReportProgress(AsyncReportState.FAILED, error=Transient(words, code="stuck"))
        return None


def _usage_samples(progress: AsyncReportProgress) -> list[UsageSample]:
    """Return the usage that came with a report, or with the refusal to tell of it."""
    if isinstance(progress.error, Throttled):
        return [UsageSample(Scope.parse(progress.error.scope), 100.0, progress.error.retry_after)]
    return list(progress.usage)
