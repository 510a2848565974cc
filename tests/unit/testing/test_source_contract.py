"""The contract suite itself: a source that keeps it passes, and each of its tests fails for a source that breaks it."""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import Throttled
from adwarm.model import Account, QuerySpec, Row, Scope, ScopeKind, UsageSample, Window
from adwarm.sources.daily import DailyRow, select_fields, sum_windows
from adwarm.sources.protocol import (
    AccountPage,
    AsyncReportHandle,
    FetchUnit,
    Increment,
    ResultPage,
)
from adwarm.sources.units import plan_units
from adwarm.testing import ContractBroken, UpstreamFailure
from adwarm.testing.value_tests import VALUES
from tests.unit.testing.memory_source import SECRET, MemoryContract, MemorySource


class TestMemory(MemoryContract):
    """A source that keeps the contract passes every test."""


def sums_with_reach(self: MemorySource, daily: Sequence[DailyRow], unit: FetchUnit) -> list[Row]:
    """Add a sum of reach to every summary."""
    return [{**row, "reach": "10"} for row in sum_windows(daily, unit.windows, unit.spec)]


def unsplit(self: MemorySource, unit: FetchUnit) -> list[FetchUnit]:
    """Split nothing."""
    return []


def lossy_split(self: MemorySource, unit: FetchUnit) -> list[FetchUnit]:
    """Leave the middle day out of two halves."""
    return [replace(part, windows=part.windows[:1]) for part in MemorySource.split(self, unit)][:1] * 2


def day_by_utc(self: MemorySource, unit: FetchUnit) -> list[dict[str, Any]]:
    """Take the rows of the day after a change of the clock for those of the day itself."""
    rows = MemorySource.select(self, unit)
    return [row for row in rows if row["date_start"] != "2026-10-25"]


def edge_lost(self: MemorySource, unit: FetchUnit) -> list[dict[str, Any]]:
    """Leave out the last day of a span."""
    last = str(unit.windows[-1].until)
    return [row for row in MemorySource.select(self, unit) if len(unit.windows[0]) == 1 or row["date_start"] != last]


def endless_report(self: MemorySource, name: str) -> Any:
    """Never finish a report."""
    return "pending"


def zero_quiet(self: MemorySource, unit: FetchUnit) -> list[Row]:
    """Make a row of zeros for a window without rows."""
    rows = MemorySource.rows(self, unit)
    if rows:
        return rows
    since = str(unit.windows[0].since)
    return [{"account_id": "1001", "ad_id": "1", "date_start": since, "date_stop": since, "impressions": "0"}]


def pages_by_day(self: MemorySource, target: Any, cursor: str | None) -> ResultPage:
    """Ignore the requested size of a page."""
    unit = target.unit if isinstance(target, AsyncReportHandle) else target
    return MemorySource.read(self, replace(unit, page_size=None), cursor)


def second_page_only_here(self: MemorySource, target: Any, cursor: str | None) -> ResultPage:
    """Keep the place in a result in the source, and not in the cursor."""
    page = MemorySource.read(self, target, cursor and self.__dict__.get("place"))
    self.place = page.next_cursor
    return replace(page, next_cursor=page.next_cursor and "next")


def any_cursor(self: MemorySource, target: Any, cursor: str | None) -> ResultPage:
    """Take a foreign cursor for the first page."""
    return MemorySource.read(self, target, cursor if cursor and cursor.isdecimal() else None)


def twice(self: MemorySource, target: Any, cursor: str | None) -> ResultPage:
    """Send a request twice."""
    MemorySource.read(self, target, cursor)
    return MemorySource.read(self, target, cursor)


def leak(self: MemorySource) -> str:
    """Show the token."""
    return f"MemorySource({SECRET})"


def foreign_scope(self: MemorySource, account_id: str) -> None:
    """Name a scope that no call has."""
    if self.upstream.failure is UpstreamFailure.THROTTLED:
        raise Throttled(scope="app:1", until=SystemClock().now())
    MemorySource._fail_for(self, account_id)


def untyped(self: MemorySource) -> None:
    """Let an error of a library through."""
    if self.upstream.failure is UpstreamFailure.UNREACHABLE:
        raise ConnectionResetError("reset")
    MemorySource._request(self)


def hang(self: MemorySource) -> None:
    """Wait without a limit."""
    if self.upstream.failure is UpstreamFailure.HANGS:
        import threading

        threading.Event().wait(30)
    MemorySource._request(self)


def only_parent(self: MemorySource) -> None:
    """Refuse to work in a forked process."""
    if self.upstream.__dict__.setdefault("pid", os.getpid()) != os.getpid():
        raise OSError("the connection of the parent")
    MemorySource._request(self)


def shared_threads(self: MemorySource) -> None:
    """Refuse to work in a second thread."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("made in another thread")
    MemorySource._request(self)


def one_thread(self: MemorySource) -> None:
    """Refuse to work in another thread than the first one."""
    import threading

    if self.__dict__.setdefault("thread", threading.get_ident()) != threading.get_ident():
        raise RuntimeError("used in another thread before")
    MemorySource._request(self)


def close_all(self: MemorySource) -> None:
    """Close what all sources share."""
    self.upstream.rows.clear()


def float_ids(self: MemorySource, unit: FetchUnit) -> list[Row]:
    """Let a number of 18 digits lose its last ones."""
    return [{**row, "ad_id": str(int(float(row["ad_id"])))} for row in MemorySource.rows(self, unit)]


def counting(self: MemorySource, unit: FetchUnit) -> list[Row]:
    """Return rows in another order each time."""
    rows = MemorySource.rows(self, unit)
    count = self.upstream.reports["reads"] = self.upstream.reports.get("reads", 0) + 1
    return rows[::-1] if count % 2 else rows


def ascii_names(self: MemorySource, daily: Sequence[DailyRow], spec: QuerySpec) -> list[Row]:
    """Replace every letter beyond ASCII."""
    rows = select_fields(daily, spec)
    return [
        {**row, **({"ad_name": row["ad_name"].encode("ascii", "replace").decode()} if "ad_name" in row else {})}
        for row in rows
    ]


def numbers(self: MemorySource, daily: Sequence[DailyRow], spec: QuerySpec) -> list[Row]:
    """Return figures as numbers."""
    return [{**row, "impressions": float(row.get("impressions", 1))} for row in select_fields(daily, spec)]


def all_fields(self: MemorySource, daily: Sequence[DailyRow], spec: QuerySpec) -> list[Row]:
    """Return fields that were not requested."""
    return [dict(item.row) for item in daily]


def deeper_ids(self: MemorySource, unit: FetchUnit) -> list[Row]:
    """Keep the ad's id in a row of a campaign."""
    return [{**row, "ad_id": "1"} for row in MemorySource.rows(self, unit)]


def first_range_only(self: MemorySource, daily: Sequence[DailyRow], unit: FetchUnit) -> list[Row]:
    """Summarize the first range of a request only."""
    return sum_windows(daily, unit.windows[:1], unit.spec)


def half_sums(self: MemorySource, daily: Sequence[DailyRow], unit: FetchUnit) -> list[Row]:
    """Summarize the last day only."""
    return [{**row, "impressions": "1"} for row in sum_windows(daily, unit.windows, unit.spec)]


def plan_by_day(
    self: MemorySource, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
) -> list[FetchUnit]:
    """Request each day by itself."""
    if increment is Increment.RANGE:
        return plan_units(self.capabilities, account, windows, increment, spec)
    days = sorted({day for window in windows for day in window.days()})
    return [FetchUnit(account.id, (Window(day, day),), increment, spec) for day in days]


def plan_whole(
    self: MemorySource, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
) -> list[FetchUnit]:
    """Plan a report with breakdowns as one without them."""
    whole = replace(spec, breakdowns=(), action_breakdowns=())
    return plan_units(self.capabilities, account, windows, increment, whole)


def limited(self: MemorySource, unit: FetchUnit) -> list[dict[str, Any]]:
    """Return at most 20 days, whatever is declared."""
    since = str(unit.windows[-1].since + timedelta(days=20))
    return [row for row in MemorySource.select(self, unit) if row["date_start"] < since]


def foreign_usage(self: MemorySource, unit: FetchUnit) -> tuple[UsageSample, ...]:
    """State the usage of an app that is not declared."""
    return (UsageSample(Scope(ScopeKind.APP, "1"), 10.0),)


def one_object(self: MemorySource, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
    """List one object only."""
    return ResultPage(MemorySource.list_objects(self, unit, level, None).rows[:1])


def same_accounts(self: MemorySource, cursor: str | None, page_size: int | None = None) -> AccountPage:
    """Never reach the end of the accounts."""
    return AccountPage(self.upstream.accounts[:1], "more" if page_size else None)


def utc_account(self: MemorySource, account_id: str) -> Account:
    """Return every account with days in UTC."""
    return replace(MemorySource.get_account(self, account_id), data_zone="UTC")


def any_account(self: MemorySource, account_id: str) -> Account:
    """Return an account for every id."""
    return Account(account_id)


def no_check(self: MemorySource, rows: list[Row], unit: FetchUnit) -> None:
    """Check nothing."""


MUTATIONS: tuple[tuple[str, str, Callable[..., Any] | Any], ...] = (
    ("test_daily_rows_are_those_of_the_upstream", "_DAYS_OFF", 1),
    ("test_a_span_has_the_rows_of_its_days", "select", edge_lost),
    ("test_days_without_delivery_have_no_rows", "rows", zero_quiet),
    ("test_zero_delivery_is_no_row", "keeps", lambda self, item: True),
    ("test_days_at_clock_changes", "select", day_by_utc),
    ("test_rows_have_the_platforms_form", "fields", numbers),
    ("test_every_level_sums_to_the_same", "rows", deeper_ids),
    ("test_reports_with_other_fields", "fields", all_fields),
    ("test_summaries_are_sums_of_days", "summaries", half_sums),
    ("test_several_summaries_equal_one_each", "summaries", first_range_only),
    ("test_unique_metrics_are_not_sums", "summaries", sums_with_reach),
    ("test_repeated_reads_are_equal", "rows", counting),
    ("test_plans_keep_the_declared_limits", "plan", plan_by_day),
    ("test_breakdowns_are_not_ignored", "plan", plan_whole),
    ("test_the_largest_requests_are_answered", "select", limited),
    ("test_pages_hold_every_row_once", "read", pages_by_day),
    ("test_a_page_can_be_read_again", "read", second_page_only_here),
    ("test_a_cursor_of_another_source_is_refused", "read", any_cursor),
    ("test_splits_hold_the_same_rows", "split", unsplit),
    ("test_splits_hold_the_same_rows", "split", lossy_split),
    ("test_async_reports", "_state", endless_report),
    ("test_lists_of_objects", "list_objects", one_object),
    ("test_costs_are_as_declared", "read", twice),
    ("test_scopes_and_usage_are_as_declared", "usage", foreign_usage),
    ("test_accounts_are_listed", "get_account", utc_account),
    ("test_accounts_come_in_pages", "list_account_page", same_accounts),
    ("test_an_unknown_account_is_an_error", "get_account", any_account),
    ("test_failures_are_typed[unreachable]", "_request", untyped),
    ("test_failures_are_typed[throttled]", "_fail_for", foreign_scope),
    ("test_failures_are_typed[too_much_data]", "split", unsplit),
    ("test_failures_are_typed[token_dead]", "_request", lambda self: None),
    ("test_failures_are_typed[denied]", "_fail_for", lambda self, account_id: None),
    ("test_failures_are_typed[damaged]", "_fail_for", lambda self, account_id: None),
    ("test_failures_are_typed[absent]", "_request", lambda self: None),
    ("test_failures_are_typed[hangs]", "_request", hang),
    ("test_no_secret_is_shown", "__repr__", leak),
    ("test_two_threads_with_a_source_each", "_request", shared_threads),
    ("test_two_threads_with_a_source_each", "_request", one_thread),
    ("test_a_forked_process_reads", "_request", only_parent),
    ("test_closing_is_final_for_one_source_only", "close", close_all),
    ("test_values[unicode]", "fields", ascii_names),
    ("test_values[id-of-18-digits]", "rows", float_ids),
    ("test_values[foreign-account]", "check", no_check),
)
"""The test that finds the fault, the member of the source that is replaced, and what replaces it."""


def find_failure(test: str, source_class: type[MemorySource]) -> str:
    """Run a test of the suite against a source, and return why it fails; empty when it passes."""
    contract = type("Broken", (MemoryContract,), {"source_class": source_class, "time_limit_seconds": 0.5})()
    name, _, case = test.rstrip("]").partition("[")
    arguments = []
    if case:
        is_value = name == "test_values"
        arguments = [next(item for item in VALUES if str(item) == case) if is_value else UpstreamFailure(case)]
    try:
        getattr(contract, name)(*arguments)
    except ContractBroken as error:
        return str(error)
    return ""


def test_a_source_that_breaks_the_contract_is_found() -> None:
    """Each test of the suite, which passes for the source as it is, fails once one member of the source is broken."""
    broken = [(test, member, type("BrokenSource", (MemorySource,), {member: item})) for test, member, item in MUTATIONS]

    assert [(test, member) for test, member, source in broken if not find_failure(test, source)] == []


def test_every_test_of_the_suite_can_fail() -> None:
    """Each test of the suite is the one that finds some broken source; two check the subclass instead."""
    tests = {name for name, _ in inspect.getmembers(MemoryContract, inspect.isfunction) if name.startswith("test_")}
    found = {test.partition("[")[0] for test, _, _ in MUTATIONS}

    assert tests - found == {"test_the_data_covers_the_cases", "test_failures_are_declared"}


def test_a_subclass_that_provides_too_little_is_told_so() -> None:
    """Data without a second account, and failures that are not declared, are refused with what to write."""

    class Thin(MemoryContract):
        failures = None

        def data(self) -> Any:
            full = super().data()
            return replace(full, accounts=full.accounts[:1])

    with pytest.raises(ContractBroken, match="give two"):
        Thin().test_the_data_covers_the_cases()
    with pytest.raises(ContractBroken, match="UNREACHABLE"):
        Thin().test_failures_are_declared()
