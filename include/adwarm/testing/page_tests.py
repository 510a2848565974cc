"""Tests of requests: plans, pages, splits, async reports, lists of objects, costs, and what a source declares."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any

from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import Row, Window
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportState,
    FetchUnit,
    Increment,
    InsightsSource,
    ResultPage,
)
from adwarm.sources.units import restrict_to_objects
from adwarm.testing.hooks import (
    LEVELS,
    SourceHooks,
    check,
    check_same_rows,
    expect_error,
    iter_pages,
    read_unit,
)

_MOST_POLLS = 1_000
_MOST_SPLITS = 12


class PageTests(SourceHooks):
    """Tests of requests."""

    def test_plans_keep_the_declared_limits(self) -> None:
        """A plan covers every day and window once, within the declared limits, and does not depend on their order."""
        data, source = self.data(), self.make_source()
        caps, account = source.capabilities, data.main_account
        first = data.window.since - timedelta(days=2 * caps.max_days_per_request)
        gap = timedelta(days=caps.max_days_per_request + 1)
        spans = [Window(first, data.window.until), Window(first - gap - timedelta(days=1), first - gap)]
        ranges = [Window(first, first + timedelta(days=n)) for n in range(caps.max_windows_per_request + 1)]
        for increment, windows in ((Increment.DAY, spans), (Increment.RANGE, ranges)):
            units = source.plan(account, windows, increment, self.spec())
            check(
                units == source.plan(account, windows[::-1], increment, self.spec()),
                f"the plan ({increment}) depends on the order of the windows",
            )
            for unit in units:
                check(unit.account_id == account.id and unit.increment is increment, f"the plan has a foreign {unit}")
                days = max(len(window) for window in unit.windows)
                check(
                    increment is Increment.RANGE or days <= caps.max_days_per_request,
                    f"a request of {days} days is over max_days_per_request ({caps.max_days_per_request})",
                )
                check(
                    len(unit.windows) <= caps.max_windows_per_request,
                    f"a request of {len(unit.windows)} windows is over max_windows_per_request",
                )
            _check_coverage(units, windows, increment)
        fewest = source.plan(account, [data.window], Increment.DAY, self.spec())
        check(len(fewest) == 1, f"{len(data.window)} days take {len(fewest)} requests; plan as few as the limits allow")

    def test_breakdowns_are_not_ignored(self) -> None:
        """A report with breakdowns is refused unless they are declared: whole rows would pass for groups."""
        data, source = self.data(), self.make_source()
        for divided in ({"breakdowns": ("age",)}, {"action_breakdowns": ("action_device",)}):
            plan = partial(source.plan, data.main_account, [data.window], Increment.DAY, self.spec(**divided))
            if not source.capabilities.has_breakdowns:
                expect_error((BadRequest,), plan, f"plan of {', '.join(divided)}, which are not declared,")

    def test_the_largest_requests_are_answered(self) -> None:
        """A request of as many days, or windows, as are declared is answered with all its rows."""
        data, source = self.data(), self.make_source()
        caps, account = source.capabilities, data.main_account
        since = data.window.until - timedelta(days=caps.max_days_per_request - 1)
        [unit] = source.plan(account, [Window(since, data.window.until)], Increment.DAY, self.spec())
        expected = data.rows_of(account.id, Window(max(since, data.window.since), data.window.until))
        rows = [row for row in read_unit(source, unit) if row["date_start"] >= str(data.window.since)]
        check_same_rows(rows, expected, data.level, f"a request of {len(unit.windows[0])} days")
        starts = [data.window.since + timedelta(days=n % 5) for n in range(caps.max_windows_per_request)]
        windows = sorted({Window(at, at + timedelta(days=n // 5)) for n, at in enumerate(starts)})
        [unit] = source.plan(account, windows, Increment.RANGE, self.spec())
        returned = {(row["date_start"], row["date_stop"]) for row in read_unit(source, unit)}
        missing = {(str(w.since), str(w.until)) for w in windows if data.rows_of(account.id, w)} - returned
        check(not missing, f"a request of {len(windows)} windows lacks the rows of {sorted(missing)[:2]}")

    def test_pages_hold_every_row_once(self) -> None:
        """Pages have at most the requested number of rows, and all together those of one large page."""
        data, source = self.data(), self.make_source()
        unit = self._unit(source)
        whole = list(iter_pages(source, unit))
        limit = source.capabilities.max_page_rows
        for page in whole:
            check(len(page.rows) <= limit, f"a page has {len(page.rows)} rows; capabilities.max_page_rows is {limit}")
        for size in (1, self.page_size):
            pages = list(iter_pages(source, replace(unit, page_size=size)))
            largest = max(len(page.rows) for page in pages)
            check(largest <= size, f"a request with page_size={size} has a page of {largest} rows")
            rows = [row for page in pages for row in page.rows]
            check_same_rows(rows, data.rows_of(unit.account_id), data.level, f"pages of {size} rows")

    def test_a_page_can_be_read_again(self) -> None:
        """A page that is read again, also by another source as after a restart, has the same rows."""
        source = self.make_source()
        unit = replace(self._unit(source), page_size=self.page_size)
        first = source.submit(unit)
        if not isinstance(first, ResultPage) or first.next_cursor is None:
            check(False, f"a request with page_size={self.page_size} has one page; its rows need three")
            return
        check(source.read(unit, None).rows == first.rows, "the first page, read again, has other rows")
        second = source.read(unit, first.next_cursor)
        for other in (source, self.make_source()):
            again = other.read(unit, first.next_cursor)
            check(again.rows == second.rows, "the second page, read again, has other rows")
            check((again.next_cursor is None) == (second.next_cursor is None), "a page, read again, has another end")
        check(second.rows != first.rows, "the second page is the first page")

    def test_a_cursor_of_another_source_is_refused(self) -> None:
        """A cursor that the source did not issue is a bad request, and not the first or the last page."""
        source = self.make_source()
        unit = replace(self._unit(source), page_size=self.page_size)
        read = lambda: source.read(unit, "no cursor of this source")  # noqa: E731 - a lambda keeps it next to its message
        expect_error((BadRequest, NotFound), read, "read with a foreign cursor")

    def test_splits_hold_the_same_rows(self) -> None:
        """The parts of a split request hold its rows, each once, and splitting ends."""
        data, source = self.data(), self.make_source()
        account = data.main_account
        ranges = [Window(data.window.since, data.window.since + timedelta(days=n)) for n in (1, 3, 5)]
        for increment, windows in ((Increment.DAY, [data.window]), (Increment.RANGE, ranges)):
            [unit] = source.plan(account, windows, increment, self.spec())
            parts = source.split(unit)
            check(
                len(parts) > 1, f"a request of {len(data.window)} days cannot be split; return its halves ({increment})"
            )
            rows = [row for part in parts for row in read_unit(source, part)]
            check_same_rows(rows, read_unit(source, unit), data.level, f"the parts of a split request ({increment})")
            for _ in range(_MOST_SPLITS):
                parts = [piece for part in parts for piece in (source.split(part) or [part])]
            check(all(not source.split(part) for part in parts), "splitting does not end; return [] for a single day")

    def test_async_reports(self) -> None:
        """Async reports end and hold the rows of a plain request; a source without them refuses to start one."""
        data, source = self.data(), self.make_source()
        unit = self._unit(source)
        check(source.poll([]) == {}, "poll([]) is not empty")
        foreign = AsyncReportHandle("9", unit)
        expect_error((BadRequest, NotFound), lambda: source.read(foreign, None), "read of an unknown report")
        if not source.capabilities.has_async_reports:
            expect_error((BadRequest,), lambda: source.submit_async(unit), "submit_async, which is not declared,")
            expect_error((BadRequest,), lambda: source.poll([foreign]), "poll of a report, which is not declared,")
            return
        check(source.poll([foreign])[foreign].state is AsyncReportState.UNKNOWN, "an unknown report is not UNKNOWN")
        handle = source.submit_async(unit)
        for _ in range(_MOST_POLLS):
            progress = source.poll([handle])[handle]
            if progress.state is not AsyncReportState.PENDING and progress.state is not AsyncReportState.UNKNOWN:
                break
            self.wait()
        check(progress.state is AsyncReportState.READY, f"a report ended as {progress.state}: {progress.error}")
        rows: list[Row] = []
        page = source.read(handle, None)
        while page.next_cursor is not None:
            rows += page.rows
            page = source.read(handle, page.next_cursor)
        check_same_rows([*rows, *page.rows], data.rows_of(unit.account_id), data.level, "an async report")

    def wait(self) -> None:
        """Let time pass between two polls of an async report; by default nothing."""

    def test_lists_of_objects(self) -> None:
        """A request restricted to listed objects returns their rows; a source that lists none says so."""
        data, source = self.data(), self.make_source()
        unit = self._unit(source)
        if not source.capabilities.can_list_objects:
            listing = lambda: source.list_objects(unit, "campaign", None)  # noqa: E731 - as above
            expect_error((BadRequest,), listing, "list_objects, which is not declared,")
            return
        for level in LEVELS[1 : LEVELS.index(data.level) + 1]:
            ids = _object_ids(source, unit, level)
            expected = {row[f"{level}_id"] for row in data.rows_of(unit.account_id) if f"{level}_id" in row}
            check(
                expected <= set(ids), f"the list of {level}s lacks {sorted(expected - set(ids))[:3]}, which have rows"
            )
            check(len(set(ids)) == len(ids), f"the list of {level}s names one twice")
            if len(expected) > 1:
                some = sorted(expected)[: len(expected) // 2]
                rows = read_unit(source, restrict_to_objects(unit, level, some))
                chosen_rows = [row for row in data.rows_of(unit.account_id) if row[f"{level}_id"] in some]
                check_same_rows(rows, chosen_rows, data.level, f"a request restricted to {len(some)} {level}s")

    def test_costs_are_as_declared(self) -> None:
        """Accounts, pages and lists cost one request each, plans and splits none; sources with quotas are counted."""
        data, source = self.data(), self.make_source()
        if self.count_requests() is None:
            quotas = source.capabilities.quota_scopes
            check(not quotas, f"the source declares quotas ({', '.join(quotas)}); write count_requests")
            return
        unit = replace(self._unit(source), page_size=self.page_size)
        self._check_cost(0, lambda: source.split(unit), "split")
        self._check_cost(0, lambda: source.scopes(unit.account_id), "scopes")
        self._check_cost(0, lambda: self._unit(source), "plan")
        self._check_cost(1, lambda: source.get_account(data.main_account.id), "get_account")
        self._check_cost(1, lambda: source.list_account_page(None), "list_account_page")
        self._check_cost(1, lambda: source.submit(unit), "submit")
        page = source.submit(unit)
        self._check_cost(1, lambda: source.read(unit, getattr(page, "next_cursor", None)), "read")

    def test_scopes_and_usage_are_as_declared(self) -> None:
        """Scopes of calls and of reported usage are of the declared kinds, the account's first."""
        data, source = self.data(), self.make_source()
        declared = set(source.capabilities.quota_scopes)
        for account in data.accounts:
            scopes = source.scopes(account.id)
            kinds = {scope.kind for scope in scopes}
            check(kinds <= declared, f"scopes has {sorted(kinds - declared)}, which quota_scopes does not declare")
            own = f"account:{account.id}"
            check(own not in map(str, scopes[1:]), f"the scope {own} is not the first; order scopes narrowest first")
        for page in iter_pages(source, self._unit(source)):
            used = {sample.scope.kind for sample in page.usage}
            check(
                used <= declared, f"usage of {sorted(used - declared)} is reported, which quota_scopes does not declare"
            )
            check(page.size_bytes >= 0, f"size_bytes is {page.size_bytes}")

    def _unit(self, source: InsightsSource) -> FetchUnit:
        data = self.data()
        return source.plan(data.main_account, [data.window], Increment.DAY, self.spec())[0]

    def _check_cost(self, most: int, call: Callable[[], Any], name: str) -> None:
        before = self.count_requests() or 0
        call()
        cost = (self.count_requests() or 0) - before
        check(cost <= most, f"{name} cost {cost} requests; it may cost {most}")


def _check_coverage(units: list[FetchUnit], windows: list[Window], increment: Increment) -> None:
    if increment is Increment.RANGE:
        planned = sorted(window for unit in units for window in unit.windows)
        check(planned == sorted(windows), "a plan of summaries lacks a window, or has one twice")
        return
    days: list[date] = [day for unit in units for window in unit.windows for day in window.days()]
    check(len(days) == len(set(days)), "a plan requests a day twice")
    lacking = {day for window in windows for day in window.days()} - set(days)
    check(not lacking, f"a plan lacks {len(lacking)} days, such as {min(lacking, default=None)}")


def _object_ids(source: InsightsSource, unit: FetchUnit, level: str) -> list[str]:
    page = source.list_objects(unit, level, None)
    ids = [row["id"] for row in page.rows]
    while page.next_cursor is not None:
        page = source.list_objects(unit, level, page.next_cursor)
        ids += [row["id"] for row in page.rows]
    return ids
