"""Fetches the units of one account: every call admitted and within its time limit, retried or split where that helps.

| a unit                                       | is fetched                                          |
|----------------------------------------------|-----------------------------------------------------|
| is small                                     | page by page, at once                               |
| is large, by its days or expected rows       | as an async report                                  |
| had no answer in time, or was too much for   | as an async report where the source has them        |
| one request                                  |                                                     |
| was too large before, in this fetch or the   | split, without another call                         |
| one before                                   |                                                     |
| has a report running, recorded in the lease  | from that report                                    |
| is too large for any of these                | split until its parts fit: by days, without another |
|                                              | call; by campaigns, ad sets, ads, whose ids the     |
|                                              | source lists; a single object by fields             |

One ad that the platform cannot compute ends up alone: everything else is read, and the ad is reported as missing with
its reason. Later units of the same fetch exclude it and ask for it separately, so it is isolated only once. Equal
responses give equal requests.

While a report runs, the thread blocks on the batch's poller. A result is bounded in pages, rows and bytes, and a cursor
is followed once.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from adwarm.backpressure import CallRequest, acquire_grant
from adwarm.fetch_plan import is_large
from adwarm.foundation.clock import TimeLimit, TimeLimitReached, limited
from adwarm.foundation.errors import (
    TIMEOUTS,
    Corrupt,
    Denied,
    FieldRefused,
    NoCapacity,
    NotFound,
    Permanent,
    Refused,
    TokenDead,
    TooMuchData,
    Transient,
    VersionEnded,
    clear_tracebacks,
)
from adwarm.prefetch.async_reports import ReportPending
from adwarm.prefetch.batch import Batch, BatchStopped
from adwarm.prefetch.fetch_context import FetchContext
from adwarm.prefetch.fetch_lease import FetchLease, LeasedReport, LeaseLost, RunningReport
from adwarm.prefetch.fetch_result import FetchResult, RowBuffer, concatenate, merge_fields
from adwarm.prefetch.gap_filling import MissingData, exclude_missing
from adwarm.prefetch.refused_fields import RefusedFields
from adwarm.recovery import Call
from adwarm.sources.pool import naming_credential
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportState,
    FetchUnit,
    Increment,
    InsightsSource,
    ResultPage,
)
from adwarm.sources.units import (
    PageTrail,
    call_limit,
    filtered_objects,
    has_one_row,
    is_single_object,
    level_below,
    restrict_to_objects,
    split_by_objects,
    split_by_time,
    with_fields,
)
from adwarm.store.leases import PagesRead
from adwarm.store.partition_rows import pack_rows, unpack_rows

log = logging.getLogger(__name__)
T = TypeVar("T")
Target = FetchUnit | AsyncReportHandle
"""What pages are read of."""
MAX_SPLIT_REQUESTS, MAX_MISSING = 600, 20
"""More requests or gaps than these cost more than the result is worth."""
_IDENTITY_SUFFIXES = ("_id", "_name")
_DATE_FIELDS = frozenset({"date_start", "date_stop"})
_SMALLEST_PAGE, _PAGE_STEP = 20, 4
_REPORT_TRIES = 2
_INTERRUPTED = "the account had to wait between two pages"
_NO_REPORT = "-"
"""Replaces the report id in the lease when the pages are those of a unit itself."""
RETRY_LATER_ERRORS = (NoCapacity, Refused, ReportPending, LeaseLost, TimeLimitReached, BatchStopped)
"""Errors after which the account has to wait: running reports and the pages that were read are kept for later."""


@dataclass
class Fetcher:
    """Fetches units of one account. Made for one fetch of an account and used by its thread.

    Attributes:
        batch: says before each call whether it may be made, and waits for async reports.
        calls: upstream calls made so far, failed ones included.
        rows_per_day: rows that a day is expected to have; 0 when nothing is stored.
        lease: records progress; without one no report is requested.
        too_large: why units were too large, by unit hash; units known from an earlier fetch cost no call.
        object_ids: ids of the objects that a unit covers, by `hash:level`.
        api_version: the API version of the last response.
    """

    context: FetchContext
    batch: Batch
    limit: TimeLimit
    connection: str = ""
    calls: int = 0
    rows_per_day: int = 0
    lease: FetchLease | None = None
    leased_report: LeasedReport | None = None
    too_large: dict[str, str] = field(default_factory=dict)
    object_ids: dict[str, list[str]] = field(default_factory=dict)
    api_version: str = ""
    refused: RefusedFields = field(default_factory=RefusedFields)
    _missing: list[MissingData] = field(default_factory=list)
    _split_requests: int = 0
    _smaller_pages_help: bool = True
    _reports_help: bool = True

    @property
    def source(self) -> InsightsSource:
        """The calling thread's source of the connection."""
        return self.context.get_source(self.connection)

    def start(self, known_missing: Sequence[MissingData] = ()) -> None:
        """Start a fetch anew; what could not be read the last time is requested separately from the beginning."""
        self._missing, self._split_requests = list(known_missing), 0

    def iter_results(self, unit: FetchUnit) -> Iterator[FetchResult]:
        """Yield every row of `unit` that can be read, each result as soon as it is complete for its windows.

        Raises:
            NoCapacity, Refused, ReportPending, LeaseLost, TimeLimitReached, BatchStopped: fetch the rest later.
            Denied, TokenDead, TooMuchData, Corrupt, Transient: raised by the source, after retries and splits.
        """
        # Results with missing data wait for a row: without any row, the whole account may be unreadable.
        empty: list[FetchResult] = []
        any_rows = False
        for result in self._iter_parts(unit):
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

    def _iter_parts(self, unit: FetchUnit) -> Iterator[FetchResult]:
        """Yield what can be read of `unit` and what is missing, each part as soon as it is complete for its windows."""
        readable, isolated, gaps = exclude_missing(unit, [*self._missing, *self.refused.gaps])
        try:
            result = self._try_whole(readable)
        except FieldRefused as error:
            self.refused.drop(self.context, self.source, readable, error)
            yield from self._iter_parts(unit)
            return
        if isinstance(result, TooMuchData):
            smaller = self.source.split(readable) or self._split_by_objects(readable)
            if smaller and smaller[0].windows != readable.windows:
                for part in self.source.split(unit):
                    yield from self._iter_parts(part)
                return
            result = self._fetch_smaller(readable, smaller) if smaller else self._fetch_by_fields(readable, result)
        whole = concatenate(result, (self._fetch_isolated(part) for part in isolated))
        yield replace(whole, missing=tuple(dict.fromkeys((*gaps, *whole.missing, *whole.rows.list_unclear()))))

    def fetch(self, unit: FetchUnit) -> FetchResult:
        """Return what can be read of `unit` and what is missing, as one result.

        Raises:
            TooMuchData: it can neither be fetched nor split, or too much of it cannot be read.
        """
        first, *others = self._iter_parts(unit)
        return replace(concatenate(first, others), windows=unit.windows)

    def _try_whole(self, unit: FetchUnit) -> FetchResult | TooMuchData:
        """Return the result, or the error without its traceback, whose frames would keep the rows in memory."""
        self._split_requests += 1
        if self._split_requests > MAX_SPLIT_REQUESTS:
            raise TooMuchData(f"{unit.account_id}: still too large after {MAX_SPLIT_REQUESTS} smaller requests")
        try:
            return self.fetch_whole(unit)
        except TooMuchData as error:
            self.too_large.setdefault(unit.hash, str(error))
            return clear_tracebacks(error)

    def _fetch_smaller(self, unit: FetchUnit, smaller: Iterable[FetchUnit]) -> FetchResult:
        """Return the rows of units that cover the objects of `unit`, as the result for its windows."""
        nothing = FetchResult(RowBuffer(unit.spec.identity), unit.windows)
        return replace(concatenate(nothing, map(self.fetch, smaller)), windows=unit.windows)

    def _split_by_objects(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return units by the objects below; a level with one object is skipped, because it would be the same unit."""
        level = level_below(unit) if self.source.capabilities.can_list_objects else None
        while level:
            ids = self.list_object_ids(unit, level)
            if len(ids) != 1:
                return split_by_objects(unit, level, ids)
            unit = restrict_to_objects(unit, level, ids)
            level = level_below(unit)
            if level is None:
                return [unit]
        return []

    def _fetch_by_fields(self, unit: FetchUnit, error: TooMuchData) -> FetchResult:
        """Fetch without any metric, then by halves of the metrics; a half that fails is halved down to single ones."""
        identity = [name for name in unit.spec.fields if name.endswith(_IDENTITY_SUFFIXES)]
        metrics = [name for name in unit.spec.fields if name not in identity and name not in _DATE_FIELDS]
        bare = self._try_whole(with_fields(unit, identity)) if metrics else error
        if isinstance(bare, TooMuchData):
            return self._as_missing(unit, error)
        results, failing = [bare], [metrics]
        gaps: list[MissingData] = []
        while failing:
            suspects = failing.pop()
            if len(suspects) == 1:
                gaps.append(self._record_missing(MissingData("field", suspects[0], unit.windows, str(error))))
                continue
            middle = len(suspects) // 2
            for half in (suspects[:middle], suspects[middle:]):
                result = self._try_whole(with_fields(unit, [*identity, *half]))
                if isinstance(result, TooMuchData):
                    failing.append(half)
                else:
                    results.append(result)
        rows = merge_fields(results, unit.spec.identity)
        return replace(concatenate(bare, results[1:]), rows=rows, missing=tuple(gaps))

    def _fetch_isolated(self, unit: FetchUnit) -> FetchResult:
        """Fetch an object that failed before; if it fails again, all of it is missing."""
        result = self._try_whole(unit)
        return self._as_missing(unit, result) if isinstance(result, TooMuchData) else result

    def _as_missing(self, unit: FetchUnit, error: TooMuchData) -> FetchResult:
        if not is_single_object(unit):
            raise error
        level, (name,) = filtered_objects(unit)
        gap = self._record_missing(MissingData(level, name, unit.windows, str(error)))
        return FetchResult(RowBuffer(unit.spec.identity), unit.windows, missing=(gap,))

    def _record_missing(self, gap: MissingData) -> MissingData:
        self._missing.append(gap)
        if len({item.id for item in self._missing}) > MAX_MISSING:
            raise TooMuchData(f"more than {MAX_MISSING} things cannot be read; the last: {gap}")
        return gap

    def call(self, account_id: str, operation: Callable[[], T]) -> T:
        """Make one upstream call under admission, with retries, which are a part of the call's time.

        Raises:
            AdwarmError: the error of the last try, or why no call may be made.
        """
        self.check_call_allowed()

        def once() -> T:
            source, batch = self.source, self.batch  # another source than before when the token was renewed
            batch.check_call_allowed(source.connection, source.name, source.credential)
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

        source = self.source
        call = Call(source.name, source.connection, account_id, version=source.capabilities.api_version)
        try:
            with limited(call_limit(self.context.settings.source)):
                value = self.context.pipeline.run(once, call=call).value
        except Transient as error:
            if error.code in TIMEOUTS:
                self.batch.check_time()  # the time that was over may be that of the account, or of the batch
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
            self.batch.check_call_allowed(source.connection, source.name, source.credential)
        except TokenDead:
            if not self.context.sources.is_renewed(self.connection, source.credential):
                raise
            self.batch.check_call_allowed(source.connection, source.name, self.source.credential)

    def fetch_whole(self, unit: FetchUnit) -> FetchResult:
        """Fetch a unit without splitting it.

        Raises:
            TooMuchData: it has to be split.
            AdwarmError: as for `iter_results`.
        """
        reason, leased = self.too_large.get(unit.hash), self.leased_report
        running = leased.get_running(unit) if leased else None
        if leased and running and running.handle.id == _NO_REPORT:
            result = self._fetch_pages(unit, running.pages)
            leased.clear()
            return result
        if reason == _INTERRUPTED and self._can_report and not split_by_time(unit):
            return self._fetch_as_report(unit)
        if reason is not None:
            raise TooMuchData(reason)
        if running or self._is_large(unit):
            return self._fetch_as_report(unit)
        try:
            return self._fetch_pages(unit)
        except TooMuchData as error:
            if not (error.in_background and self._reports_help and self._can_report) or has_one_row(unit):
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
        if not self._can_report or unit.increment is not Increment.DAY or has_one_row(unit):
            return False
        return is_large(sum(map(len, unit.windows)), self.rows_per_day)

    def _fetch_as_report(self, unit: FetchUnit) -> FetchResult:
        """Fetch the unit as an async report."""
        leased, last = self.leased_report, None
        if leased is None:
            raise Transient(f"{unit.account_id}: a report cannot be requested without a lease")
        for _ in range(_REPORT_TRIES):
            report = leased.get_running(unit)
            if report is None:
                report = leased.start(unit, lambda: self.call(unit.account_id, lambda: self.source.submit_async(unit)))
            try:
                if report.pages is None:
                    self._wait_for(leased, report)
                result = replace(self._fetch_pages(report.handle, report.pages), requested_at=report.requested_at)
            except (*RETRY_LATER_ERRORS, TokenDead, VersionEnded, Denied):
                raise  # nothing is wrong with the report, so it stays in the lease
            except (Transient, NotFound) as error:
                if error.code in TIMEOUTS:
                    raise  # its rows come too slowly; another report of them would not be faster
                leased.clear()
                last = error
                continue
            except Permanent as error:
                leased.clear()
                self._reports_help = self._reports_help and not isinstance(error, TooMuchData)
                raise
            leased.clear()
            return result
        self._reports_help = False
        code = last.code if last else None
        raise TooMuchData(f"{_REPORT_TRIES} reports of it failed; the last: {last}", code=code) from last

    def _wait_for(self, leased: LeasedReport, report: RunningReport) -> None:
        try:
            progress, polls = self.batch.wait_for_report(self.connection, report, self.limit)
        except ReportPending as pending:
            if pending.status:
                leased.save_progress(pending.status.percent, pending.status.stalled_seconds)
            raise
        self.calls += polls
        if self.lease:
            self.lease.record_progress()
        if progress.state is not AsyncReportState.READY:
            raise progress.error or Transient(f"report {report.handle.id} ended as {progress.state}")

    def _fetch_pages(self, target: Target, read: PagesRead | None = None) -> FetchResult:
        """Return the rows of every page of a unit or a report; `read` are pages that were read before."""
        unit = _unit_of(target)
        rows, pages = RowBuffer(unit.spec.identity), PageTrail(unit.account_id)
        if read is not None:
            self._resume(rows, pages, read)
        version = ""
        while pages.count == 0 or pages.cursor is not None:
            try:
                page = self.call(unit.account_id, partial(self._read_page, target, pages.cursor))
            except TooMuchData as error:
                target = self._make_pages_smaller(target, pages.cursor, error)
                continue
            except RETRY_LATER_ERRORS:
                self._save_interrupted(target, rows, pages)
                raise
            if isinstance(page, AsyncReportHandle):
                if self.leased_report is None:
                    raise Transient(f"report {page.id} cannot be waited for without a lease")
                self.leased_report.start(page.unit, partial(AsyncReportHandle, page.id, page.unit))
                return self._fetch_as_report(page.unit)
            rows.add(page.rows)
            pages.add(page.next_cursor, len(page.rows), len(page.rows) / self._page_size(target), page.size_bytes)
            version = page.api_version
        return FetchResult(rows, unit.windows, version)

    def _resume(self, rows: RowBuffer, pages: PageTrail, read: PagesRead) -> None:
        """Continue after the pages that were read before."""
        if read.object_hash is None or read.cursor is None:
            return
        try:
            stored = unpack_rows(self.context.objects.get(read.object_hash))
        except (Corrupt, NotFound) as error:
            log.warning("the pages that were read before are lost (%s); reading them again", error)
        else:
            rows.add(stored)
            pages.resume(read.cursor, read.count, len(stored), read.size)

    def _save_interrupted(self, target: Target, rows: RowBuffer, pages: PageTrail) -> None:
        """Keep the pages where a later fetch can continue from them; else ask for smaller units from now on."""
        # The pages of a report do not change. Those of a unit may, so they are kept only where it cannot be made
        # smaller and the source has no reports.
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
            digest = self.context.objects.put(pack_rows(list(rows.rows()))) if pages.count else None
            leased.save_pages(PagesRead(pages.cursor, digest, pages.size_bytes, pages.count))

    def _read_page(self, target: Target, cursor: str | None) -> ResultPage | AsyncReportHandle:
        if isinstance(target, FetchUnit) and cursor is None:
            return self.source.submit(target)
        return self.source.read(target, cursor)

    def _page_size(self, target: Target) -> int:
        return _unit_of(target).page_size or self.source.capabilities.max_page_rows

    def _make_pages_smaller(self, target: Target, cursor: str | None, error: TooMuchData) -> Target:
        """Return the target with a quarter of the rows per page; raise the error where that does not help."""
        size, unit = self._page_size(target) // _PAGE_STEP, _unit_of(target)
        may_help = self._smaller_pages_help or cursor or isinstance(target, AsyncReportHandle)
        if not (error.smaller_page and may_help) or size < _SMALLEST_PAGE or has_one_row(unit):
            self._smaller_pages_help = self._smaller_pages_help and not error.smaller_page
            raise error
        unit = replace(unit, page_size=size)
        return replace(target, unit=unit) if isinstance(target, AsyncReportHandle) else unit

    def list_object_ids(self, unit: FetchUnit, level: str) -> list[str]:
        """Return the ids of the objects of a level that `unit` covers, from all pages."""
        name = f"{unit.hash}:{level}"
        if name not in self.object_ids:
            ids: list[str] = []
            pages = PageTrail(unit.account_id)
            while pages.count == 0 or pages.cursor is not None:
                page = self._fetch_objects_page(unit, level, pages.cursor)
                ids += [str(row["id"]) for row in page.rows if row.get("id")]
                filled = len(page.rows) / self.source.capabilities.max_page_rows
                pages.add(page.next_cursor, len(page.rows), filled, page.size_bytes)
            self.object_ids[name] = ids
        return self.object_ids[name]

    def _fetch_objects_page(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        return self.call(unit.account_id, lambda: self.source.list_objects(unit, level, cursor))


def _unit_of(target: Target) -> FetchUnit:
    return target.unit if isinstance(target, AsyncReportHandle) else target
