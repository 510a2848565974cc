"""Carries a unit through the upstream: every call admitted, retried where that helps, divided where it does not.

A small question is answered at once; a large one, and one that the platform could not answer in time, is made in the
background. While it is being made `ReportRunning` leaves this module: no slot is held and no thread waits. Fetching the
same again afterwards repeats no call, because each answer is remembered for as long as the fetcher lives.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from adwarm.backpressure import Admission, admitted
from adwarm.clock import Clock
from adwarm.errors import AdwarmError, NotFound, Permanent, Refused, Throttled, TooMuchData, Transient
from adwarm.model import Priority
from adwarm.prefetch.dividing import Division, Fetched, Gap
from adwarm.prefetch.reporting import ReportNotes, ReportRunning, RunningReport
from adwarm.recovery import RecoveryPipeline
from adwarm.settings import SourceSettings
from adwarm.sources.cursors import CursorTrail
from adwarm.sources.protocol import Handle, Increment, InsightsSource, JobProgress, JobState, Page, Unit
from adwarm.sources.units import is_about_one

T = TypeVar("T")
MAX_PAGES = 10_000
_SMALLEST_PAGE = 20
_PAGE_STEP = 4
_REPORT_TRIES = 2


@dataclass
class Fetcher:
    """Fetches units of one account. Made per account job and used by one thread at a time.

    Attributes:
        source: the upstream, as made for the thread that works now.
        rules: when a question goes as a report.
        wait_seconds: how long a call may wait for admission before it gives up with `Throttled` or `Refused`.
        requests: upstream calls made so far, failed ones included.
        rows_per_day: rows a day is expected to have, as far as is known.
        heartbeat: called after each call, so that a lease held around a long fetch stays alive.
        notes: what the lease remembers of a running report; without it none is begun.
        landed: reports that have ended, by id, until they are taken notice of.
        too_large: why questions were too large, by their hashes; what an earlier fetch has learned costs no call.
    """

    source: InsightsSource
    admission: Admission
    pipeline: RecoveryPipeline
    clock: Clock
    priority: Priority
    wait_seconds: float
    rules: SourceSettings = field(default_factory=SourceSettings)
    requests: int = 0
    rows_per_day: int = 0
    heartbeat: Callable[[], None] | None = None
    notes: ReportNotes | None = None
    landed: dict[str, JobProgress] = field(default_factory=dict)
    too_large: dict[str, str] = field(default_factory=dict)
    _answers: dict[Unit, Fetched | TooMuchData] = field(default_factory=dict)
    _listed: dict[tuple[Unit, str], list[str]] = field(default_factory=dict)
    _bad_ends: Counter[Unit] = field(default_factory=Counter)
    _division: Division | None = None
    _smaller_pages_help: bool = True
    _reports_help: bool = True

    def start_over(self, known: Sequence[Gap] = ()) -> Division:
        """Begin a fetch, or repeat it after a report has landed; answers that are there already cost no call.

        Args:
            known: what could not be read the last time.
        """
        listed = self._ids if self.source.caps.narrows else None
        self._division = Division(self._ask, self.source.split, listed, known)
        return self._division

    def fetch(self, unit: Unit) -> Fetched:
        """Return every row of `unit` that can be read; a unit that is too large is divided until it fits.

        Raises:
            ReportRunning: the platform is making it.
            Throttled, Denied, TokenDead, TooMuchData, Transient: as the upstream says, after what could be done.
        """
        division = self._division or self.start_over()
        found = division.fetch(unit)
        if found.gaps and not found.rows:
            raise TooMuchData(f"nothing of it can be read: {found.gaps[0]}")
        return found

    def call(self, account_id: str, operation: Callable[[], T]) -> T:
        """Make one upstream call under admission, with retries."""

        def once() -> T:
            scopes = self.source.scopes(account_id)
            with admitted(
                self.admission,
                self.clock,
                scopes,
                self.priority,
                source=self.source.name,
                timeout_seconds=self.wait_seconds,
            ) as slot:
                self.requests += 1
                result = operation()
                if isinstance(result, Page):
                    slot.heard(result.usage)
                return result

        value = self.pipeline.run(once, source=self.source.name, subject=account_id).value
        if self.heartbeat:
            self.heartbeat()
        return value

    def _ask(self, unit: Unit) -> Fetched:
        """Answer a unit as a whole, from memory where it was asked before."""
        known = self._answers.get(unit)
        if known is None:
            try:
                known = self._answered(unit)
            except TooMuchData as error:
                known = error
                self.too_large[unit.hash] = str(error)
            self._answers[unit] = known
        if isinstance(known, TooMuchData):
            raise known
        return known

    def _answered(self, unit: Unit) -> Fetched:
        if unit.hash in self.too_large:
            raise TooMuchData(self.too_large[unit.hash])
        running = self.notes.running(unit) if self.notes else None
        if running or self._goes_as_report(unit):
            return self._as_report(unit)
        try:
            return self._pages(unit)
        except TooMuchData as error:
            if not (error.in_background and self._reports_help and self._can_report) or is_about_one(unit):
                raise
        except Transient as error:
            if error.code != "timeout" or not self._can_report:
                raise
        return self._as_report(unit)

    @property
    def _can_report(self) -> bool:
        return self.notes is not None and self.source.caps.async_jobs

    def _goes_as_report(self, unit: Unit) -> bool:
        """Whether a unit is large: by its days, or by the rows that they are expected to have."""
        if not self._can_report or unit.increment is not Increment.DAY or is_about_one(unit):
            return False
        days = sum(len(window) for window in unit.windows)
        return days > self.rules.report_days or days * self.rows_per_day > self.rules.report_rows

    def _noted(self, handle: Handle) -> RunningReport:
        """Note down a report that the source chose to make by itself."""
        if self.notes is None:
            raise Transient(f"report {handle.id} cannot be waited for without a lease")
        return self.notes.begin(handle.unit, lambda: handle)

    def _as_report(self, unit: Unit) -> Fetched:
        notes = self.notes
        if notes is None:
            raise Transient(f"{unit.account_id}: a report cannot be begun without a lease")
        report = notes.running(unit) or notes.begin(
            unit, lambda: self.call(unit.account_id, lambda: self.source.begin(unit))
        )
        handle, progress = report.handle, self.landed.pop(report.handle.id, None)
        if progress is None:
            raise ReportRunning(report)
        asked_at = notes.asked_at
        try:
            if progress.state is not JobState.READY:
                raise progress.error or Transient(f"report {handle.id} ended as {progress.state}")
            found = self._pages(handle)
        except (Throttled, Refused):
            raise  # the report is as good as before, and stays noted down
        except (Transient, NotFound) as error:
            notes.forget()
            return self._once_more(unit, error)
        except Permanent as error:
            notes.forget()
            self._reports_help = self._reports_help and not isinstance(error, TooMuchData)
            raise
        notes.forget()
        return replace(found, asked_at=asked_at)

    def _once_more(self, unit: Unit, error: AdwarmError) -> Fetched:
        """Begin a report anew after its first bad end; after the second the question is divided."""
        self._bad_ends[unit] += 1
        if self._bad_ends[unit] >= _REPORT_TRIES:
            self._reports_help = False
            raise TooMuchData(
                f"{_REPORT_TRIES} reports of it ended badly; the last: {error}", code=error.code
            ) from error
        return self._as_report(unit)

    def _pages(self, asked: Unit | Handle) -> Fetched:
        rows, cursor, version, trail = [], None, "", CursorTrail()
        for _ in range(MAX_PAGES):
            answer, asked = self._page(asked, cursor)
            if isinstance(answer, Handle):
                raise ReportRunning(self._noted(answer))
            rows += answer.rows
            cursor, version = trail.follow(answer.next_cursor), answer.api_version
            if cursor is None:
                return Fetched(rows, version)
        account_id = asked.unit.account_id if isinstance(asked, Handle) else asked.account_id
        raise TooMuchData(f"{account_id}: more than {MAX_PAGES} pages; ask for fewer days or fields")

    def _page(self, asked: Unit | Handle, cursor: str | None) -> tuple[Page | Handle, Unit | Handle]:
        """Return a page and what to ask for the next one by: a page that is too heavy is asked for in smaller ones."""
        while True:
            try:
                return self._one_page(asked, cursor), asked
            except TooMuchData as error:
                smaller = self._smaller(asked) if error.smaller_page else None
                if smaller is None or not (self._smaller_pages_help or cursor or isinstance(asked, Handle)):
                    self._smaller_pages_help = self._smaller_pages_help and not error.smaller_page
                    raise
                asked = smaller

    def _one_page(self, asked: Unit | Handle, cursor: str | None) -> Page | Handle:
        if isinstance(asked, Unit) and cursor is None:
            unit = asked
            return self.call(unit.account_id, lambda: self.source.submit(unit))
        account_id = asked.unit.account_id if isinstance(asked, Handle) else asked.account_id
        return self.call(account_id, lambda: self.source.read(asked, cursor))

    def _smaller(self, asked: Unit | Handle) -> Unit | Handle | None:
        """Return the same with a quarter of the rows in a page; None when a page is small already."""
        unit = asked.unit if isinstance(asked, Handle) else asked
        size = (unit.page_size or self.source.caps.page_max) // _PAGE_STEP
        if size < _SMALLEST_PAGE or is_about_one(unit):
            return None
        unit = replace(unit, page_size=size)
        return Handle(asked.id, unit) if isinstance(asked, Handle) else unit

    def _ids(self, unit: Unit, level: str) -> list[str]:
        """Return the ids of the objects of a level that `unit` is about, every page of them."""
        if (unit, level) not in self._listed:
            ids, cursor, trail = [], None, CursorTrail()
            for _ in range(MAX_PAGES):
                page = self._objects(unit, level, cursor)
                ids += [str(row["id"]) for row in page.rows if row.get("id")]
                cursor = trail.follow(page.next_cursor)
                if cursor is None:
                    break
            self._listed[unit, level] = ids
        return self._listed[unit, level]

    def _objects(self, unit: Unit, level: str, cursor: str | None) -> Page:
        return self.call(unit.account_id, lambda: self.source.objects(unit, level, cursor))
