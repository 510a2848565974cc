"""Answers the units of one account: every call admitted and within its time, retried where that helps, split where not.

A small unit is answered at once; a large one, and one that the platform could not answer in time, goes as an async
report, for which the thread blocks on the batch's poller. An answer is bounded in pages, rows and bytes, and a cursor
is followed once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from adwarm.backpressure import acquire_grant
from adwarm.foundation.errors import (
    AdwarmError,
    Corrupt,
    Denied,
    NotFound,
    Permanent,
    Refused,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.model import Priority, Row
from adwarm.prefetch.async_reports import ReportNotes, ReportPending
from adwarm.prefetch.context import FetchContext
from adwarm.prefetch.fetch_lease import HeldLease, LeaseLost
from adwarm.prefetch.report_schedule import RunningReport
from adwarm.prefetch.row_buffer import RowBuffer
from adwarm.prefetch.splitting import Fetched, Gap, Splitter
from adwarm.settings import SourceSettings
from adwarm.sources.cursors import CursorTrail
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportProgress,
    AsyncReportState,
    FetchUnit,
    Increment,
    InsightsSource,
    ResultPage,
)
from adwarm.sources.units import is_single_object, split_by_time
from adwarm.store.leases import FetchHints, PagesRead
from adwarm.store.partition_rows import pack_rows, unpack_rows

log = logging.getLogger(__name__)
T = TypeVar("T")
_SMALLEST_PAGE = 20
_PAGE_STEP = 4
_REPORT_TRIES = 2
_INTERRUPTED = "the account had to be left alone between two pages"
_NO_REPORT = "-"
"""Stands in the lease for the id of a report where the pages of a unit itself are kept."""


class OutOfTime(Transient):
    """The account took longer than it may."""


class BatchOver(Transient):
    """The batch is stopped; what is left goes on in the next attempt."""

    own_refusal = True


ENDS_FOR_NOW = (Throttled, Refused, ReportPending, LeaseLost, OutOfTime, BatchOver)
"""Errors after which an account is left for now: what the platform has begun, and what was read, stays as it is."""


class BatchAccess(Protocol):
    """What a fetch may do within its batch."""

    def check(self, connection: str, source: str) -> None:
        """Raise why no call may be made now; return when one may."""
        ...

    def wait_for(self, connection: str, report: RunningReport) -> tuple[AsyncReportProgress, int]:
        """Block until a report has ended; return how, and the calls that were made to look at it."""
        ...


@dataclass
class Fetcher:
    """Fetches units of one account. Made for one fetch of an account and used by its thread.

    Attributes:
        batch: says before each call whether it may be made, and waits for async reports.
        wait_seconds: how long a call may wait for admission before it gives up with `Throttled` or `Refused`.
        connection: whose token is used.
        requests: upstream calls made so far, failed ones included.
        rows_per_day: rows a day is expected to have, as far as is known.
        lease: renewed while calls are made; without one no report is begun.
        notes: what the lease remembers of a running report.
        too_large: why units were too large, by their hashes; what an earlier fetch has learned costs no call.
        listed: ids of the objects that a unit is about, by `hash:level`.
        api_version: the version that answered last.
    """

    context: FetchContext
    batch: BatchAccess
    priority: Priority
    wait_seconds: float
    connection: str = ""
    requests: int = 0
    rows_per_day: int = 0
    lease: HeldLease | None = None
    notes: ReportNotes | None = None
    too_large: dict[str, str] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)
    api_version: str = ""
    _splitter: Splitter = field(init=False)
    _smaller_pages_help: bool = True
    _reports_help: bool = True

    @property
    def source(self) -> InsightsSource:
        """The upstream, as made for the thread that works now."""
        return self.context.source(self.connection)

    def remember(self, lesson: FetchHints) -> None:
        """Take over what an earlier fetch has learned."""
        self.too_large, self.listed = dict(lesson.too_large), dict(lesson.listed)

    def start(self, known: Sequence[Gap] = ()) -> None:
        """Begin a fetch; called before `parts`.

        Args:
            known: what could not be read the last time.
        """
        listed = self._ids if self.source.capabilities.can_list_objects else None
        self._splitter = Splitter(self._ask, self.source.split, listed, known)

    def parts(self, unit: FetchUnit) -> Iterator[Fetched]:
        """Yield every row of `unit` that can be read, each part as soon as it is whole for its windows.

        Raises:
            Throttled, Refused, ReportPending, LeaseLost, OutOfTime, BatchOver: the rest has to be fetched another time.
            Denied, TokenDead, TooMuchData, Corrupt, Transient: as the upstream says, after what could be done.
        """
        empty: list[Fetched] = []
        any_rows = False
        for part in self._splitter.parts(unit):
            self.api_version = part.api_version or self.api_version
            any_rows = any_rows or len(part.rows) > 0
            if part.gaps and not any_rows:
                empty.append(part)  # a gap alone may mean that nothing of the account can be read
                continue
            yield from empty
            empty.clear()
            yield part
        if empty:
            raise TooMuchData(f"nothing of it can be read: {empty[0].gaps[0]}")

    def call(self, account_id: str, operation: Callable[[], T]) -> T:
        """Make one upstream call under admission, with retries."""
        source = self.source
        self.batch.check(self.connection, source.name)

        def once() -> T:
            self.batch.check(self.connection, source.name)
            with acquire_grant(
                self.context.admission, self.context.clock, source.scopes(account_id), self.priority,
                source=source.name, timeout_seconds=self.wait_seconds,
            ) as slot:  # fmt: skip
                self.requests += 1
                result = operation()
                if isinstance(result, ResultPage):
                    slot.record_usage(result.usage)
                return result

        value = self.context.pipeline.run(once, source=source.name, subject=account_id).value
        if self.lease:
            self.lease.progress()
        return value

    def _ask(self, unit: FetchUnit) -> Fetched:
        """Answer a unit as a whole."""
        try:
            return self._answer(unit)
        except TooMuchData as error:
            self.too_large.setdefault(unit.hash, str(error))
            raise

    def _answer(self, unit: FetchUnit) -> Fetched:
        known = self.too_large.get(unit.hash)
        running = self.notes.running(unit) if self.notes else None
        if running and running.handle.id == _NO_REPORT:
            return self._read_on(unit)
        if known == _INTERRUPTED and self._can_report and not split_by_time(unit):
            return self._as_report(unit)
        if known is not None:
            raise TooMuchData(known)
        if running or self._goes_as_report(unit):
            return self._as_report(unit)
        try:
            return self._pages(unit)
        except TooMuchData as error:
            if not (error.in_background and self._reports_help and self._can_report) or is_single_object(unit):
                raise
        except ENDS_FOR_NOW:
            raise
        except Transient as error:
            if error.code != "timeout" or not self._can_report:
                raise
        return self._as_report(unit)

    @property
    def _can_report(self) -> bool:
        return self.notes is not None and self.source.capabilities.has_async_reports

    def _goes_as_report(self, unit: FetchUnit) -> bool:
        """Whether a unit is large: by its days, or by the rows that they are expected to have."""
        if not self._can_report or unit.increment is not Increment.DAY or is_single_object(unit):
            return False
        rules = self.context.settings.source
        days = sum(len(window) for window in unit.windows)
        return days > rules.report_days or days * self.rows_per_day > rules.report_rows

    def _read_on(self, unit: FetchUnit) -> Fetched:
        """Read the pages of a unit behind those that an earlier fetch has read."""
        notes = self.notes
        pages = notes.noted.pages if notes and notes.noted else None
        found = self._pages(unit, pages)
        if notes:
            notes.forget()
        return found

    def _as_report(self, unit: FetchUnit) -> Fetched:
        """Have the unit made in the background and read it; after the second bad end it has to be split."""
        if self.notes is None:
            raise Transient(f"{unit.account_id}: a report cannot be begun without a lease")
        last: AdwarmError | None = None
        for _ in range(_REPORT_TRIES):
            report = self.notes.running(unit) or self._begin(self.notes, unit)
            try:
                found = self._read_report(self.notes, report)
            except (*ENDS_FOR_NOW, TokenDead, Denied):
                raise  # the report is as good as before, and stays noted
            except (Transient, NotFound) as error:
                self.notes.forget()
                last = error
                continue
            except Permanent as error:
                self.notes.forget()
                self._reports_help = self._reports_help and not isinstance(error, TooMuchData)
                raise
            self.notes.forget()
            return found
        self._reports_help = False
        code = last.code if last else None
        raise TooMuchData(f"{_REPORT_TRIES} reports of it ended badly; the last: {last}", code=code) from last

    def _begin(self, notes: ReportNotes, unit: FetchUnit) -> RunningReport:
        return notes.begin(unit, lambda: self.call(unit.account_id, lambda: self.source.submit_async(unit)))

    def _read_report(self, notes: ReportNotes, report: RunningReport) -> Fetched:
        """Wait for a report, and return its rows."""
        asked_at = notes.noted.requested_at if notes.noted else None
        pages = notes.noted.pages if notes.noted else None
        if pages is None:
            self._wait_for(notes, report)
        return replace(self._pages(report.handle, pages), asked_at=asked_at)

    def _wait_for(self, notes: ReportNotes, report: RunningReport) -> None:
        try:
            progress, looks = self.batch.wait_for(self.connection, report)
        except ReportPending as pending:
            if pending.seen:
                notes.save_progress(pending.seen.percent, pending.seen.quiet)
            raise
        self.requests += looks
        if self.lease:
            self.lease.progress()
        if progress.state is not AsyncReportState.READY:
            raise progress.error or Transient(f"report {report.handle.id} ended as {progress.state}")

    def _pages(self, asked: FetchUnit | AsyncReportHandle, read: PagesRead | None = None) -> Fetched:
        """Return the rows of every page of a unit, or of a report, of which some pages may have been read before."""
        unit = asked.unit if isinstance(asked, AsyncReportHandle) else asked
        progress = _Pages(RowBuffer(unit.spec.level), self.context.settings.source, unit.account_id)
        if read is not None:
            self._resume(progress, read)
        version = ""
        while progress.count == 0 or progress.cursor is not None:
            try:
                answer, asked = self._page(asked, progress.cursor)
            except ENDS_FOR_NOW:
                self._interrupted(asked, progress)
                raise
            if isinstance(answer, AsyncReportHandle):
                return self._made_by_itself(answer)
            progress.add(answer)
            version = answer.api_version
        return Fetched(progress.rows, unit.windows, version)

    def _resume(self, progress: "_Pages", read: PagesRead) -> None:
        if read.object_hash is None or read.cursor is None:
            return
        try:
            rows = unpack_rows(self.context.objects.get(read.object_hash))
        except (Corrupt, NotFound) as error:
            log.warning("the pages that were read before are lost (%s); they are read again", error)
        else:
            progress.resume(rows, read)

    def _interrupted(self, asked: FetchUnit | AsyncReportHandle, progress: "_Pages") -> None:
        """Keep what was read, where reading on is safe; else ask for smaller units from now on.

        The pages of a report do not change. Those of a unit may, so they are kept only where it cannot be made smaller
        and the source makes no reports.
        """
        notes = self.notes
        if isinstance(asked, FetchUnit):
            if progress.count == 0:
                return
            if self._can_report or notes is None or split_by_time(asked):
                self.too_large[asked.hash] = _INTERRUPTED
                return
            if notes.running(asked) is None:
                notes.begin(asked, lambda: AsyncReportHandle(_NO_REPORT, asked))
        if notes:
            digest = self.context.objects.put(pack_rows(list(progress.rows.rows()))) if progress.count else None
            notes.save_pages(PagesRead(progress.cursor, digest, progress.size, progress.count))

    def _made_by_itself(self, handle: AsyncReportHandle) -> Fetched:
        """Wait for a report that the source chose to make by itself."""
        if self.notes is None:
            raise Transient(f"report {handle.id} cannot be waited for without a lease")
        self.notes.begin(handle.unit, lambda: handle)
        return self._as_report(handle.unit)

    def _page(
        self, asked: FetchUnit | AsyncReportHandle, cursor: str | None
    ) -> tuple[ResultPage | AsyncReportHandle, FetchUnit | AsyncReportHandle]:
        """Return a page and what to ask for the next one by: a page that is too heavy is asked for in smaller ones."""
        while True:
            try:
                return self._one_page(asked, cursor), asked
            except TooMuchData as error:
                smaller = self._smaller(asked) if error.smaller_page else None
                if smaller is None or not (self._smaller_pages_help or cursor or isinstance(asked, AsyncReportHandle)):
                    self._smaller_pages_help = self._smaller_pages_help and not error.smaller_page
                    raise
                asked = smaller

    def _one_page(self, asked: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage | AsyncReportHandle:
        if isinstance(asked, FetchUnit) and cursor is None:
            unit = asked
            return self.call(unit.account_id, lambda: self.source.submit(unit))
        account_id = asked.unit.account_id if isinstance(asked, AsyncReportHandle) else asked.account_id
        return self.call(account_id, lambda: self.source.read(asked, cursor))

    def _smaller(self, asked: FetchUnit | AsyncReportHandle) -> FetchUnit | AsyncReportHandle | None:
        """Return the same with a quarter of the rows in a page; None when a page is small already."""
        unit = asked.unit if isinstance(asked, AsyncReportHandle) else asked
        size = (unit.page_size or self.source.capabilities.max_page_rows) // _PAGE_STEP
        if size < _SMALLEST_PAGE or is_single_object(unit):
            return None
        unit = replace(unit, page_size=size)
        return AsyncReportHandle(asked.id, unit) if isinstance(asked, AsyncReportHandle) else unit

    def _ids(self, unit: FetchUnit, level: str) -> list[str]:
        """Return the ids of the objects of a level that `unit` is about, every page of them."""
        name = f"{unit.hash}:{level}"
        if name not in self.listed:
            ids: list[str] = []
            pages = _Pages(None, self.context.settings.source, unit.account_id)
            while pages.count == 0 or pages.cursor is not None:
                page = self._objects(unit, level, pages.cursor)
                ids += [str(row["id"]) for row in page.rows if row.get("id")]
                pages.add(page)
            self.listed[name] = ids
        return self.listed[name]

    def _objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        return self.call(unit.account_id, lambda: self.source.list_objects(unit, level, cursor))


class _Pages:
    """Pages read so far, within the bounds of the settings.

    Args:
        rows: takes the rows in; None when they are only counted.
        rules: the bounds.
        account_id: named when a bound is passed.
    """

    def __init__(self, rows: RowBuffer | None, rules: SourceSettings, account_id: str) -> None:
        self.rows = rows if rows is not None else RowBuffer("")
        self.cursor: str | None = None
        self.count = 0
        self.size = 0
        self._keep = rows is not None
        self._row_count = 0
        self._rules = rules
        self._account_id = account_id
        self._trail = CursorTrail()

    def resume(self, rows: Sequence[Row], read: PagesRead) -> None:
        """Go on behind the pages that were read before."""
        self.rows.add(rows)
        self._row_count = len(rows)
        self.cursor, self.size, self.count = read.cursor, read.size, read.count
        self._trail.follow(read.cursor)

    def add(self, page: ResultPage) -> None:
        """Take a page in.

        Raises:
            Corrupt: the next cursor was there before, so that reading on would never end.
            TooMuchData: a bound is passed.
        """
        self.count += 1
        self.size += page.size_bytes
        self._row_count += len(page.rows)
        if self._keep:
            self.rows.add(page.rows)
        self.cursor = self._trail.follow(page.next_cursor)
        if self.cursor is not None:
            self._check_bounds()

    def _check_bounds(self) -> None:
        rules = self._rules
        for name, value, most in (
            ("pages", self.count, rules.max_pages),
            ("rows", self._row_count, rules.max_rows),
            ("bytes", self.size, rules.max_bytes),
        ):
            if value >= most:
                bound = f"{most:,} {name} (ADWARM_SOURCE__MAX_{name.upper()})"
                raise TooMuchData(f"{self._account_id}: the answer goes on after {bound}; ask for fewer days or fields")
