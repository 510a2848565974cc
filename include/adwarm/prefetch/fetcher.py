"""Answers the units of one account: every call admitted and within its time, retried where that helps, split where not.

A small unit is answered at once; a large one, and one that the platform could not answer in time, goes as an async
report, for which the thread blocks on the batch's poller. An answer is bounded in pages, rows and bytes, and a cursor
is followed once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from adwarm.backpressure import CallRequest, acquire_grant
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
from adwarm.prefetch.async_reports import LeasedReport, ReportPending
from adwarm.prefetch.context import FetchContext
from adwarm.prefetch.fetch_lease import FetchLease, LeaseLost
from adwarm.prefetch.report_schedule import RunningReport
from adwarm.prefetch.row_buffer import RowBuffer
from adwarm.prefetch.splitting import FetchResult, MissingData, Splitter
from adwarm.settings import SourceSettings
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportProgress,
    AsyncReportState,
    CursorTrail,
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


class AccountTimeout(Transient):
    """The account took longer than it may."""


class BatchStopped(Transient):
    """The batch is stopped; what is left goes on in the next attempt."""

    own_refusal = True


RETRY_LATER_ERRORS = (Throttled, Refused, ReportPending, LeaseLost, AccountTimeout, BatchStopped)
"""Errors after which an account is left for now: what the platform has begun, and what was read, stays as it is."""


class BatchControl(Protocol):
    """What a fetch may do within its batch."""

    def check_call_allowed(self, connection: str, source: str) -> None:
        """Raise why no call may be made now; return when one may."""
        ...

    def wait_for_report(self, connection: str, report: RunningReport) -> tuple[AsyncReportProgress, int]:
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
    batch: BatchControl
    priority: Priority
    wait_seconds: float
    connection: str = ""
    calls: int = 0
    rows_per_day: int = 0
    lease: FetchLease | None = None
    leased_report: LeasedReport | None = None
    too_large: dict[str, str] = field(default_factory=dict)
    object_ids: dict[str, list[str]] = field(default_factory=dict)
    api_version: str = ""
    _splitter: Splitter = field(init=False)
    _smaller_pages_help: bool = True
    _reports_help: bool = True

    @property
    def source(self) -> InsightsSource:
        """The upstream, as made for the thread that works now."""
        return self.context.get_source(self.connection)

    def restore_learned(self, learned: FetchHints) -> None:
        """Take over what an earlier fetch has learned."""
        self.too_large, self.object_ids = dict(learned.too_large), dict(learned.listed)

    def start(self, known_missing: Sequence[MissingData] = ()) -> None:
        """Begin a fetch; called before `parts`.

        Args:
            known: what could not be read the last time.
        """
        listed = self._list_object_ids if self.source.capabilities.can_list_objects else None
        self._splitter = Splitter(self._fetch_whole, self.source.split, listed, known_missing)

    def iter_results(self, unit: FetchUnit) -> Iterator[FetchResult]:
        """Yield every row of `unit` that can be read, each part as soon as it is whole for its windows.

        Raises:
            Throttled, Refused, ReportPending, LeaseLost, OutOfTime, BatchOver: the rest has to be fetched another time.
            Denied, TokenDead, TooMuchData, Corrupt, Transient: as the upstream says, after what could be done.
        """
        empty: list[FetchResult] = []
        any_rows = False
        for part in self._splitter.iter_results(unit):
            self.api_version = part.api_version or self.api_version
            any_rows = any_rows or len(part.rows) > 0
            if part.missing and not any_rows:
                empty.append(part)  # a gap alone may mean that nothing of the account can be read
                continue
            yield from empty
            empty.clear()
            yield part
        if empty:
            raise TooMuchData(f"nothing of it can be read: {empty[0].missing[0]}")

    def call(self, account_id: str, operation: Callable[[], T]) -> T:
        """Make one upstream call under admission, with retries."""
        source = self.source
        self.batch.check_call_allowed(self.connection, source.name)

        def once() -> T:
            self.batch.check_call_allowed(self.connection, source.name)
            call = CallRequest(source.scopes(account_id), self.priority, source.name)
            with acquire_grant(
                self.context.admission, self.context.clock, call, timeout_seconds=self.wait_seconds
            ) as slot:
                self.calls += 1
                result = operation()
                if isinstance(result, ResultPage):
                    slot.record_usage(result.usage)
                return result

        value = self.context.pipeline.run(once, source=source.name, subject=account_id).value
        if self.lease:
            self.lease.record_progress()
        return value

    def _fetch_whole(self, unit: FetchUnit) -> FetchResult:
        """Answer a unit as a whole."""
        try:
            return self._fetch_unit(unit)
        except TooMuchData as error:
            self.too_large.setdefault(unit.hash, str(error))
            raise

    def _fetch_unit(self, unit: FetchUnit) -> FetchResult:
        known = self.too_large.get(unit.hash)
        running = self.leased_report.get_running(unit) if self.leased_report else None
        if running and running.handle.id == _NO_REPORT:
            return self._resume_pages(unit)
        if known == _INTERRUPTED and self._can_report and not split_by_time(unit):
            return self._fetch_as_report(unit)
        if known is not None:
            raise TooMuchData(known)
        if running or self._is_large(unit):
            return self._fetch_as_report(unit)
        try:
            return self._pages(unit)
        except TooMuchData as error:
            if not (error.in_background and self._reports_help and self._can_report) or is_single_object(unit):
                raise
        except RETRY_LATER_ERRORS:
            raise
        except Transient as error:
            if error.code != "timeout" or not self._can_report:
                raise
        return self._fetch_as_report(unit)

    @property
    def _can_report(self) -> bool:
        return self.leased_report is not None and self.source.capabilities.has_async_reports

    def _is_large(self, unit: FetchUnit) -> bool:
        """Whether a unit is large: by its days, or by the rows that they are expected to have."""
        if not self._can_report or unit.increment is not Increment.DAY or is_single_object(unit):
            return False
        rules = self.context.settings.source
        days = sum(len(window) for window in unit.windows)
        return days > rules.report_days or days * self.rows_per_day > rules.report_rows

    def _resume_pages(self, unit: FetchUnit) -> FetchResult:
        """Read the pages of a unit behind those that an earlier fetch has read."""
        notes = self.leased_report
        pages = notes.current.pages if notes and notes.current else None
        found = self._pages(unit, pages)
        if notes:
            notes.clear()
        return found

    def _fetch_as_report(self, unit: FetchUnit) -> FetchResult:
        """Have the unit made in the background and read it; after the second bad end it has to be split."""
        if self.leased_report is None:
            raise Transient(f"{unit.account_id}: a report cannot be begun without a lease")
        last: AdwarmError | None = None
        for _ in range(_REPORT_TRIES):
            report = self.leased_report.get_running(unit) or self._begin(self.leased_report, unit)
            try:
                found = self._read_report(self.leased_report, report)
            except (*RETRY_LATER_ERRORS, TokenDead, Denied):
                raise  # the report is as good as before, and stays noted
            except (Transient, NotFound) as error:
                self.leased_report.clear()
                last = error
                continue
            except Permanent as error:
                self.leased_report.clear()
                self._reports_help = self._reports_help and not isinstance(error, TooMuchData)
                raise
            self.leased_report.clear()
            return found
        self._reports_help = False
        code = last.code if last else None
        raise TooMuchData(f"{_REPORT_TRIES} reports of it ended badly; the last: {last}", code=code) from last

    def _begin(self, notes: LeasedReport, unit: FetchUnit) -> RunningReport:
        return notes.start(unit, lambda: self.call(unit.account_id, lambda: self.source.submit_async(unit)))

    def _read_report(self, notes: LeasedReport, report: RunningReport) -> FetchResult:
        """Wait for a report, and return its rows."""
        asked_at = notes.current.requested_at if notes.current else None
        pages = notes.current.pages if notes.current else None
        if pages is None:
            self._wait_for(notes, report)
        return replace(self._pages(report.handle, pages), requested_at=asked_at)

    def _wait_for(self, notes: LeasedReport, report: RunningReport) -> None:
        try:
            progress, looks = self.batch.wait_for_report(self.connection, report)
        except ReportPending as pending:
            if pending.status:
                notes.save_progress(pending.status.percent, pending.status.stalled_seconds)
            raise
        self.calls += looks
        if self.lease:
            self.lease.record_progress()
        if progress.state is not AsyncReportState.READY:
            raise progress.error or Transient(f"report {report.handle.id} ended as {progress.state}")

    def _pages(self, asked: FetchUnit | AsyncReportHandle, read: PagesRead | None = None) -> FetchResult:
        """Return the rows of every page of a unit, or of a report, of which some pages may have been read before."""
        unit = asked.unit if isinstance(asked, AsyncReportHandle) else asked
        progress = _PageAccumulator(RowBuffer(unit.spec.level), self.context.settings.source, unit.account_id)
        if read is not None:
            self._resume(progress, read)
        version = ""
        while progress.count == 0 or progress.cursor is not None:
            try:
                answer, asked = self._page(asked, progress.cursor)
            except RETRY_LATER_ERRORS:
                self._save_interrupted(asked, progress)
                raise
            if isinstance(answer, AsyncReportHandle):
                return self._await_implicit_report(answer)
            progress.add(answer)
            version = answer.api_version
        return FetchResult(progress.rows, unit.windows, version)

    def _resume(self, progress: "_PageAccumulator", read: PagesRead) -> None:
        if read.object_hash is None or read.cursor is None:
            return
        try:
            rows = unpack_rows(self.context.objects.get(read.object_hash))
        except (Corrupt, NotFound) as error:
            log.warning("the pages that were read before are lost (%s); they are read again", error)
        else:
            progress.resume(rows, read)

    def _save_interrupted(self, asked: FetchUnit | AsyncReportHandle, progress: "_PageAccumulator") -> None:
        """Keep what was read, where reading on is safe; else ask for smaller units from now on.

        The pages of a report do not change. Those of a unit may, so they are kept only where it cannot be made smaller
        and the source makes no reports.
        """
        notes = self.leased_report
        if isinstance(asked, FetchUnit):
            if progress.count == 0:
                return
            if self._can_report or notes is None or split_by_time(asked):
                self.too_large[asked.hash] = _INTERRUPTED
                return
            if notes.get_running(asked) is None:
                notes.start(asked, lambda: AsyncReportHandle(_NO_REPORT, asked))
        if notes:
            digest = self.context.objects.put(pack_rows(list(progress.rows.rows()))) if progress.count else None
            notes.save_pages(PagesRead(progress.cursor, digest, progress.size, progress.count))

    def _await_implicit_report(self, handle: AsyncReportHandle) -> FetchResult:
        """Wait for a report that the source chose to make by itself."""
        if self.leased_report is None:
            raise Transient(f"report {handle.id} cannot be waited for without a lease")
        self.leased_report.start(handle.unit, lambda: handle)
        return self._fetch_as_report(handle.unit)

    def _page(
        self, asked: FetchUnit | AsyncReportHandle, cursor: str | None
    ) -> tuple[ResultPage | AsyncReportHandle, FetchUnit | AsyncReportHandle]:
        """Return a page and what to ask for the next one by: a page that is too heavy is asked for in smaller ones."""
        while True:
            try:
                return self._one_page(asked, cursor), asked
            except TooMuchData as error:
                smaller = self._with_smaller_page(asked) if error.smaller_page else None
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

    def _with_smaller_page(self, asked: FetchUnit | AsyncReportHandle) -> FetchUnit | AsyncReportHandle | None:
        """Return the same with a quarter of the rows in a page; None when a page is small already."""
        unit = asked.unit if isinstance(asked, AsyncReportHandle) else asked
        size = (unit.page_size or self.source.capabilities.max_page_rows) // _PAGE_STEP
        if size < _SMALLEST_PAGE or is_single_object(unit):
            return None
        unit = replace(unit, page_size=size)
        return AsyncReportHandle(asked.id, unit) if isinstance(asked, AsyncReportHandle) else unit

    def _list_object_ids(self, unit: FetchUnit, level: str) -> list[str]:
        """Return the ids of the objects of a level that `unit` is about, every page of them."""
        name = f"{unit.hash}:{level}"
        if name not in self.object_ids:
            ids: list[str] = []
            pages = _PageAccumulator(None, self.context.settings.source, unit.account_id)
            while pages.count == 0 or pages.cursor is not None:
                page = self._fetch_objects_page(unit, level, pages.cursor)
                ids += [str(row["id"]) for row in page.rows if row.get("id")]
                pages.add(page)
            self.object_ids[name] = ids
        return self.object_ids[name]

    def _fetch_objects_page(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        return self.call(unit.account_id, lambda: self.source.list_objects(unit, level, cursor))


class _PageAccumulator:
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
