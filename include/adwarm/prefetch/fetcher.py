"""Fetches the units of one account: every call admitted and within its time limit, retried or split where that helps.

| a unit                                       | is fetched                                          |
|----------------------------------------------|-----------------------------------------------------|
| is small                                     | page by page, at once                               |
| is large, by its days or expected rows       | as an async report                                  |
| timed out, or was too much for one request   | as an async report where the source has them        |
| was too large before, in this fetch or the   | split, without another call                         |
| one before                                   |                                                     |
| has a report running, recorded in the lease  | from that report                                    |

While a report runs, the thread blocks on the batch's poller. A result is bounded in pages, rows and bytes, and a cursor
is followed once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

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
from adwarm.foundation.time_limit import TimeLimitReached, limited
from adwarm.model import Row
from adwarm.prefetch.async_reports import ReportPending
from adwarm.prefetch.batch import AccountSlot, BatchStopped
from adwarm.prefetch.fetch_lease import FetchLease, LeasedReport, LeaseLost, RunningReport
from adwarm.prefetch.gap_filling import MissingData
from adwarm.prefetch.row_buffer import RowBuffer
from adwarm.prefetch.splitting import FetchResult, Splitter
from adwarm.recovery import Call
from adwarm.settings import SourceSettings
from adwarm.sources.bounds import PageTrail, call_limit
from adwarm.sources.pool import naming_credential
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportState,
    FetchUnit,
    Increment,
    InsightsSource,
    ResultPage,
)
from adwarm.sources.units import is_single_object, split_by_time
from adwarm.store.leases import FetchHints, PagesRead
from adwarm.store.partition_rows import pack_rows, unpack_rows

if TYPE_CHECKING:
    from adwarm.prefetch.engine import PrefetchEngine

log = logging.getLogger(__name__)
T = TypeVar("T")
REPORT_DAYS, REPORT_ROWS = 45, 10_000
"""More days or expected rows than these go as an async report: by pages they take minutes, one call after another."""
_SMALLEST_PAGE = 20
_PAGE_STEP = 4
_REPORT_TRIES = 2
_INTERRUPTED = "the account had to wait between two pages"
_NO_REPORT = "-"
"""Replaces the report id in the lease when the pages are those of a unit itself."""


RETRY_LATER_ERRORS = (Throttled, Refused, ReportPending, LeaseLost, TimeLimitReached, BatchStopped)
"""Errors after which the account has to wait: running reports and the pages that were read are kept for later."""


@dataclass
class Fetcher:
    """Fetches units of one account. Made for one fetch of an account and used by its thread.

    Attributes:
        context: the parts it works with.
        slot: says before each call whether it may be made, and waits for async reports.
        connection: whose token is used.
        calls: upstream calls made so far, failed ones included.
        rows_per_day: rows that a day is expected to have; 0 when nothing is stored.
        lease: records progress; without one no report is requested.
        leased_report: the running report recorded in the lease.
        too_large: why units were too large, by unit hash; units known from an earlier fetch cost no call.
        object_ids: ids of the objects that a unit covers, by `hash:level`.
        api_version: the API version of the last response.
    """

    context: "PrefetchEngine"
    slot: AccountSlot
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
        """The calling thread's source of the connection."""
        return self.context.get_source(self.connection)

    def restore_learned(self, learned: FetchHints) -> None:
        """Use what an earlier fetch has learned about too large units."""
        self.too_large, self.object_ids = dict(learned.too_large), dict(learned.listed)

    def start(self, known_missing: Sequence[MissingData] = ()) -> None:
        """Start a fetch; call it before `iter_results`.

        Args:
            known_missing: what could not be read the last time.
        """
        list_objects = self._list_object_ids if self.source.capabilities.can_list_objects else None
        self._splitter = Splitter(self._fetch_unit, self.source.split, list_objects, self.too_large, known_missing)

    def iter_results(self, unit: FetchUnit) -> Iterator[FetchResult]:
        """Yield every row of `unit` that can be read, each result as soon as it is complete for its windows.

        Raises:
            Throttled, Refused, ReportPending, LeaseLost, TimeLimitReached, BatchStopped: fetch the rest later.
            Denied, TokenDead, TooMuchData, Corrupt, Transient: raised by the source, after retries and splits.
        """
        # Results with missing data wait for a row: without any row, the whole account may be unreadable.
        empty: list[FetchResult] = []
        any_rows = False
        for result in self._splitter.iter_results(unit):
            self.api_version = result.api_version or self.api_version
            any_rows = any_rows or len(result.rows) > 0
            if result.missing and not any_rows:
                empty.append(result)
                continue
            yield from empty
            empty.clear()
            yield result
        if empty:
            raise TooMuchData(f"none of it can be read: {empty[0].missing[0]}")

    def call(self, account_id: str, operation: Callable[[], T]) -> T:
        """Make one upstream call under admission, with retries, which are a part of the call's time.

        Raises:
            AdwarmError: the error of the last try, or why no call may be made.
        """
        self.check_call_allowed()

        def once() -> T:
            source, batch = self.source, self.slot.batch  # another source than before when the token was renewed
            self.slot.check_call_allowed(source.connection, source.name, source.credential)
            request = CallRequest(source.scopes(account_id), batch.priority, source.name, connection=source.connection)
            with acquire_grant(
                self.context.admission, self.context.clock, request, timeout_seconds=batch.wait_seconds
            ) as grant:
                self.calls += 1
                with naming_credential(source):
                    result = operation()
                if isinstance(result, ResultPage):
                    grant.record_usage(result.usage)
                return result

        call = Call(self.source.name, self.source.connection, account_id)
        try:
            with limited(call_limit(self.context.settings.source)):
                value = self.context.pipeline.run(once, call=call).value
        except Transient as error:
            if error.code == "timeout":
                self.slot.check_time()  # the time that was over may be that of the account, or of the batch
            raise
        if self.lease:
            self.lease.record_progress()
        return value

    def check_call_allowed(self) -> None:
        """Check that a call may be made. A connection whose token is dead is read again before it is refused.

        Raises:
            AdwarmError: why no call may be made.
        """
        source = self.source
        try:
            self.slot.check_call_allowed(source.connection, source.name, source.credential)
        except TokenDead:
            if not self.context.sources.is_renewed(self.connection, source.credential):
                raise
            self.slot.check_call_allowed(source.connection, source.name, self.source.credential)

    def _fetch_unit(self, unit: FetchUnit) -> FetchResult:
        """Fetch a unit without splitting it."""
        reason = self.too_large.get(unit.hash)
        running = self.leased_report.get_running(unit) if self.leased_report else None
        if running and running.handle.id == _NO_REPORT:
            return self._resume_pages(unit)
        if reason == _INTERRUPTED and self._can_report and not split_by_time(unit):
            return self._fetch_as_report(unit)
        if reason is not None:
            raise TooMuchData(reason)
        if running or self._is_large(unit):
            return self._fetch_as_report(unit)
        try:
            return self._fetch_pages(unit)
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
        """Whether a unit is large: by its days, or by their expected rows."""
        if not self._can_report or unit.increment is not Increment.DAY or is_single_object(unit):
            return False
        days = sum(len(window) for window in unit.windows)
        return days > REPORT_DAYS or days * self.rows_per_day > REPORT_ROWS

    def _resume_pages(self, unit: FetchUnit) -> FetchResult:
        """Read the pages of a unit that follow those an earlier fetch has read."""
        leased = self.leased_report
        pages = leased.current.pages if leased and leased.current else None
        result = self._fetch_pages(unit, pages)
        if leased:
            leased.clear()
        return result

    def _fetch_as_report(self, unit: FetchUnit) -> FetchResult:
        """Fetch the unit as an async report.

        Raises:
            TooMuchData: two reports of it failed; it has to be split.
        """
        if self.leased_report is None:
            raise Transient(f"{unit.account_id}: a report cannot be requested without a lease")
        last: AdwarmError | None = None
        for _ in range(_REPORT_TRIES):
            report = self.leased_report.get_running(unit) or self._submit(self.leased_report, unit)
            try:
                result = self._read_report(self.leased_report, report)
            except (*RETRY_LATER_ERRORS, TokenDead, Denied):
                raise  # nothing is wrong with the report, so it stays in the lease
            except (Transient, NotFound) as error:
                if error.code == "timeout":
                    raise  # its rows come too slowly; another report of them would not be faster
                self.leased_report.clear()
                last = error
                continue
            except Permanent as error:
                self.leased_report.clear()
                self._reports_help = self._reports_help and not isinstance(error, TooMuchData)
                raise
            self.leased_report.clear()
            return result
        self._reports_help = False
        code = last.code if last else None
        raise TooMuchData(f"{_REPORT_TRIES} reports of it failed; the last: {last}", code=code) from last

    def _submit(self, leased: LeasedReport, unit: FetchUnit) -> RunningReport:
        return leased.start(unit, lambda: self.call(unit.account_id, lambda: self.source.submit_async(unit)))

    def _read_report(self, leased: LeasedReport, report: RunningReport) -> FetchResult:
        """Wait for a report, and return its rows."""
        requested_at = leased.current.requested_at if leased.current else None
        pages = leased.current.pages if leased.current else None
        if pages is None:
            self._wait_for(leased, report)
        return replace(self._fetch_pages(report.handle, pages), requested_at=requested_at)

    def _wait_for(self, leased: LeasedReport, report: RunningReport) -> None:
        try:
            progress, polls = self.slot.wait_for_report(self.connection, report)
        except ReportPending as pending:
            if pending.status:
                leased.save_progress(pending.status.percent, pending.status.stalled_seconds)
            raise
        self.calls += polls
        if self.lease:
            self.lease.record_progress()
        if progress.state is not AsyncReportState.READY:
            raise progress.error or Transient(f"report {report.handle.id} ended as {progress.state}")

    def _fetch_pages(self, target: FetchUnit | AsyncReportHandle, read: PagesRead | None = None) -> FetchResult:
        """Return the rows of every page of a unit or a report; `read` are pages that were read before."""
        unit = target.unit if isinstance(target, AsyncReportHandle) else target
        pages = _PageAccumulator(RowBuffer(unit.spec.level), self.context.settings.source, unit.account_id)
        if read is not None:
            self._resume(pages, read)
        version = ""
        while pages.count == 0 or pages.cursor is not None:
            try:
                page, target = self._fetch_page(target, pages.cursor)
            except RETRY_LATER_ERRORS:
                self._save_interrupted(target, pages)
                raise
            if isinstance(page, AsyncReportHandle):
                return self._await_implicit_report(page)
            pages.add(page, self._page_size(target))
            version = page.api_version
        return FetchResult(pages.rows, unit.windows, version)

    def _resume(self, pages: "_PageAccumulator", read: PagesRead) -> None:
        if read.object_hash is None or read.cursor is None:
            return
        try:
            rows = unpack_rows(self.context.objects.get(read.object_hash))
        except (Corrupt, NotFound) as error:
            log.warning("the pages that were read before are lost (%s); reading them again", error)
        else:
            pages.resume(rows, read)

    def _save_interrupted(self, target: FetchUnit | AsyncReportHandle, pages: "_PageAccumulator") -> None:
        """Keep the pages that were read where a later fetch can continue; otherwise ask for smaller units from now on.

        The pages of a report do not change. Those of a unit may, so they are kept only where it cannot be made smaller
        and the source has no reports.
        """
        leased = self.leased_report
        if isinstance(target, FetchUnit):
            if pages.count == 0:
                return
            if self._can_report or leased is None or split_by_time(target):
                self.too_large[target.hash] = _INTERRUPTED
                return
            if leased.get_running(target) is None:
                leased.start(target, lambda: AsyncReportHandle(_NO_REPORT, target))
        if leased:
            digest = self.context.objects.put(pack_rows(list(pages.rows.rows()))) if pages.count else None
            leased.save_pages(PagesRead(pages.cursor, digest, pages.size, pages.count))

    def _await_implicit_report(self, handle: AsyncReportHandle) -> FetchResult:
        """Wait for a report that the source started instead of returning a page."""
        if self.leased_report is None:
            raise Transient(f"report {handle.id} cannot be waited for without a lease")
        self.leased_report.start(handle.unit, lambda: handle)
        return self._fetch_as_report(handle.unit)

    def _fetch_page(
        self, target: FetchUnit | AsyncReportHandle, cursor: str | None
    ) -> tuple[ResultPage | AsyncReportHandle, FetchUnit | AsyncReportHandle]:
        """Return a page and the target for the next one: its pages are smaller after one that was too large."""
        while True:
            unit = target.unit if isinstance(target, AsyncReportHandle) else target
            try:
                return self.call(unit.account_id, partial(self._read_page, target, cursor)), target
            except TooMuchData as error:
                smaller = self._with_smaller_page(target) if error.smaller_page else None
                if smaller is None or not (self._smaller_pages_help or cursor or isinstance(target, AsyncReportHandle)):
                    self._smaller_pages_help = self._smaller_pages_help and not error.smaller_page
                    raise
                target = smaller

    def _read_page(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage | AsyncReportHandle:
        if isinstance(target, FetchUnit) and cursor is None:
            return self.source.submit(target)
        return self.source.read(target, cursor)

    def _page_size(self, target: FetchUnit | AsyncReportHandle) -> int:
        unit = target.unit if isinstance(target, AsyncReportHandle) else target
        return unit.page_size or self.source.capabilities.max_page_rows

    def _with_smaller_page(self, target: FetchUnit | AsyncReportHandle) -> FetchUnit | AsyncReportHandle | None:
        """Return the target with a quarter of the rows per page; None when its pages are already small."""
        unit = target.unit if isinstance(target, AsyncReportHandle) else target
        size = self._page_size(target) // _PAGE_STEP
        if size < _SMALLEST_PAGE or is_single_object(unit):
            return None
        unit = replace(unit, page_size=size)
        return AsyncReportHandle(target.id, unit) if isinstance(target, AsyncReportHandle) else unit

    def _list_object_ids(self, unit: FetchUnit, level: str) -> list[str]:
        """Return the ids of the objects of a level that `unit` covers, from all pages."""
        name = f"{unit.hash}:{level}"
        if name not in self.object_ids:
            ids: list[str] = []
            pages = _PageAccumulator(None, self.context.settings.source, unit.account_id)
            while pages.count == 0 or pages.cursor is not None:
                page = self._fetch_objects_page(unit, level, pages.cursor)
                ids += [str(row["id"]) for row in page.rows if row.get("id")]
                pages.add(page, self.source.capabilities.max_page_rows)
            self.object_ids[name] = ids
        return self.object_ids[name]

    def _fetch_objects_page(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        return self.call(unit.account_id, lambda: self.source.list_objects(unit, level, cursor))


class _PageAccumulator:
    """The pages read so far, within the bounds of the settings.

    Args:
        rows: collects the rows; None when they are only counted.
        rules: the bounds.
        account_id: named in the error when a bound is exceeded.
    """

    def __init__(self, rows: RowBuffer | None, rules: SourceSettings, account_id: str) -> None:
        self.rows = rows if rows is not None else RowBuffer("")
        self._keep = rows is not None
        self._trail = PageTrail(rules, account_id)

    @property
    def cursor(self) -> str | None:
        """The cursor of the next page; None before the first page, and after the last."""
        return self._trail.cursor

    @property
    def count(self) -> int:
        """The number of pages."""
        return self._trail.count

    @property
    def size(self) -> int:
        """The size of the pages in bytes."""
        return self._trail.size_bytes

    def resume(self, rows: Sequence[Row], read: PagesRead) -> None:
        """Continue after the pages that were read before."""
        self.rows.add(rows)
        self._trail.resume(read.cursor, read.count, len(rows), read.size)

    def add(self, page: ResultPage, page_size: int) -> None:
        """Add a page of up to `page_size` rows.

        Raises:
            Corrupt, TooMuchData: as for `PageTrail.add`.
        """
        if self._keep:
            self.rows.add(page.rows)
        self._trail.add(page.next_cursor, len(page.rows), len(page.rows) / page_size, page.size_bytes)
