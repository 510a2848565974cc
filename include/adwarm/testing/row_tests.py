"""Tests of rows: days, gaps, clock changes, zero delivery, levels, fields, and summaries of ranges."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

from adwarm.foundation.errors import BadRequest
from adwarm.model import Row, Window, spell_account_id
from adwarm.sources.protocol import Increment
from adwarm.testing.hooks import (
    LEVELS,
    SUMS,
    SourceHooks,
    check,
    check_same_rows,
    days_of,
    expect_error,
    row_key,
)
from adwarm.testing.upstream import clock_changes

_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UNIQUE = ("reach", "frequency")


class RowTests(SourceHooks):
    """Tests of rows."""

    def test_the_data_covers_the_cases(self) -> None:
        """The data of the test has what the other tests need: accounts, gaps, and changes of the clock."""
        data = self.data()
        rows = data.rows_of(data.main_account.id)
        days = days_of(rows)
        check(len(data.accounts) > 1, "data() has one account; give two, so that rows of another one can be told")
        check(all(data.rows_of(account.id) for account in data.accounts), "data() has an account without rows")
        check(len(data.window) >= 7, f"data().window is {data.window}; give a week or more")
        check(
            len(rows) > 2 * self.page_size, f"{len(rows)} rows do not fill three pages of {self.page_size}; give more"
        )
        check(len(days) > 4, f"the rows of {data.main_account.id} are of {len(days)} days; give five or more")
        check(
            all(f"{data.level}_id" in row and _DAY.fullmatch(row["date_start"]) for row in data.daily_rows),
            f"a row of data() has no {data.level}_id or no day",
        )
        check(
            {row["account_id"] for row in data.daily_rows} <= {item.id.removeprefix("act_") for item in data.accounts},
            "data() has rows of an account that is not in its accounts; write account_id without act_",
        )
        for account in data.accounts:
            changes = list(clock_changes(account, data.window))
            check(changes, f"the clock does not change in {account.data_zone} within {data.window}; choose others")

    def test_daily_rows_are_those_of_the_upstream(self) -> None:
        """The rows of each account and day are exactly those that the upstream holds."""
        data, source = self.data(), self.make_source()
        for account in data.accounts:
            rows = self.read(source, data.window, account=account)
            check_same_rows(rows, data.rows_of(account.id), data.level, f"days of {account.id}")

    def test_a_span_has_the_rows_of_its_days(self) -> None:
        """A request for several days returns the rows of a request for each: none is lost or repeated at an edge."""
        data, source = self.data(), self.make_source()
        span = Window(data.window.since, data.window.since + timedelta(days=6))
        apart = [row for day in span.days() for row in self.read(source, Window(day, day))]
        check_same_rows(self.read(source, span), apart, data.level, "a span against its days")
        check_same_rows(apart, data.rows_of(data.main_account.id, span), data.level, "single days")

    def test_days_without_delivery_have_no_rows(self) -> None:
        """Days without delivery have no rows, by day and as a range, and are no error."""
        source, quiet = self.make_source(), self.data().quiet_window
        for increment in Increment:
            rows = self.read(source, quiet, increment)
            check(
                not rows, f"{quiet} has no delivery, and the source returned {len(rows)} rows ({increment}): {rows[:1]}"
            )

    def test_zero_delivery_is_no_row(self) -> None:
        """A row of zeros means no delivery, like a missing row, so it is left out."""
        source, data = self.make_source(), self.data()
        zeros = {row_key(row, data.level) for row in data.zero_rows}
        for increment in Increment:
            for row in self.read(source, data.window, increment):
                key = row_key(row, data.level)
                check(key not in zeros, f"{key} is a row of zeros; leave such rows out")
                figures = [Decimal(row[name]) for name in SUMS if row.get(name) is not None]
                check(not figures or any(figures), f"{key} has zeros only; leave such rows out")

    def test_days_at_clock_changes(self) -> None:
        """The days around a change of the clock have their own rows: days are those of the account's zone."""
        data, source = self.data(), self.make_source()
        for account in data.accounts:
            for change in clock_changes(account, data.window):
                for day in (change + timedelta(days=step) for step in (-1, 0, 1)):
                    if day in data.window:
                        rows = self.read(source, Window(day, day), account=account)
                        what = f"{day}, by the clock change of {account.data_zone},"
                        check_same_rows(rows, data.rows_of(account.id, Window(day, day)), data.level, what)

    def test_rows_have_the_platforms_form(self) -> None:
        """Rows name their account, object and days; figures are plain numbers as text."""
        data, source = self.data(), self.make_source()
        account = data.main_account
        for increment in Increment:
            expected_days = (
                {(str(day), str(day)) for day in data.window.days()}
                if increment is Increment.DAY
                else {(str(data.window.since), str(data.window.until))}
            )
            for row in self.read(source, data.window, increment):
                key = row_key(row, data.level)
                owner = row.get("account_id")
                check(owner in spell_account_id(account.id), f"{key} has account_id {owner!r}, not {account.id}")
                check(key[1:] in expected_days, f"{key} has days that were not requested ({increment})")
                check(isinstance(row.get(f"{data.level}_id"), str), f"{key}: {data.level}_id is not text")
                for name in SUMS:
                    check(_is_figure(row.get(name)), f"{key}: {name} is {row.get(name)!r}; write a number as text")

    def test_every_level_sums_to_the_same(self) -> None:
        """A report at each declared level has that level's ids, none below, and sums of the rows below."""
        data, source = self.data(), self.make_source()
        levels = source.capabilities.levels
        check(data.level in levels, f"the rows are by {data.level}, which capabilities.levels lacks: {sorted(levels)}")
        for level in LEVELS:
            spec = self.spec(level=level)
            if level not in levels:
                plan = lambda spec=spec: source.plan(data.main_account, [data.window], Increment.DAY, spec)  # noqa: E731
                expect_error((BadRequest,), plan, f"plan of level {level!r}, which is not declared,")
                continue
            if not all(f"{level}_id" in row for row in data.daily_rows):
                continue
            rows = self.read(source, data.window, spec=spec)
            below = {f"{name}{part}" for name in LEVELS[LEVELS.index(level) + 1 :] for part in ("_id", "_name")}
            for row in rows:
                check(not below & set(row), f"a row by {level} has {sorted(below & set(row))} of a level below")
            sums = self.sums(data.rows_of(data.main_account.id), level)
            expected = [_as_row(level, key, total) for key, total in sums.items()]
            check_same_rows(rows, expected, level, f"report by {level}")

    def test_reports_with_other_fields(self) -> None:
        """A report has the requested fields and the ids and days that identify a row, in any order of the request."""
        data, source = self.data(), self.make_source()
        always = {"account_id", f"{data.level}_id", "date_start", "date_stop"}
        for fields in (("impressions",), ("spend", "clicks"), ("clicks", "spend"), data.fields[::-1]):
            rows = self.read(source, data.window, spec=self.spec(fields=fields))
            expected = [
                {name: value for name, value in row.items() if name in always or name in fields}
                for row in data.rows_of(data.main_account.id)
            ]
            check_same_rows(rows, expected, data.level, f"report of {', '.join(fields)}")
            for row in rows:
                extra = set(row) - always - set(fields)
                check(not extra, f"a report of {', '.join(fields)} has {sorted(extra)}, which were not requested")

    def test_summaries_are_sums_of_days(self) -> None:
        """A summary of a range has one row per object, with the sums of its days."""
        data, source = self.data(), self.make_source()
        for window in self._ranges():
            rows = self.read(source, window, Increment.RANGE)
            sums = self.sums(data.rows_of(data.main_account.id, window), data.level, window)
            expected = [_as_row(data.level, key, total) for key, total in sums.items()]
            check_same_rows(rows, expected, data.level, f"summary of {window}")

    def test_several_summaries_equal_one_each(self) -> None:
        """Summaries of several ranges at once, also overlapping ones, equal a request for each."""
        data, source = self.data(), self.make_source()
        ranges = self._ranges()
        apart = [row for window in ranges for row in self.read(source, window, Increment.RANGE)]
        together = self.read(source, [*ranges[::-1], ranges[0]], Increment.RANGE)
        check_same_rows(together, apart, data.level, "several summaries at once")

    def test_unique_metrics_are_not_sums(self) -> None:
        """Reach of a range is between its best day and the sum of days where declared, and left out where not."""
        data, source = self.data(), self.make_source()
        declared, window = source.capabilities.unique_metrics, data.window
        daily: dict[str, list[int]] = {}
        for row in self.read(source, window):
            daily.setdefault(row[f"{data.level}_id"], []).append(int(row.get("reach") or 0))
        for row in self.read(source, window, Increment.RANGE):
            for name in _UNIQUE:
                check(
                    name in declared or name not in row, f"a summary has {name}, which unique_metrics does not declare"
                )
            if "reach" in declared and "reach" in data.fields:
                days, reach = daily[row[f"{data.level}_id"]], int(row["reach"])
                check(
                    max(days) <= reach <= sum(days) and (len(days) < 2 or reach < sum(days)),
                    f"reach of a range is {reach}, of its days {days}; it is not their sum",
                )

    def test_repeated_reads_are_equal(self) -> None:
        """The same request returns the same rows in the same order, from the same source and from a new one."""
        data, source = self.data(), self.make_source()
        for increment in Increment:
            first = self.read(source, data.window, increment)
            check(first == self.read(source, data.window, increment), "a second read of one source has other rows")
            check(first == self.read(self.make_source(), data.window, increment), "another source has other rows")

    def _ranges(self) -> list[Window]:
        since = self.data().window.since
        return [Window(since + timedelta(days=a), since + timedelta(days=b)) for a, b in ((0, 2), (1, 5), (3, 6))]


def _as_row(level: str, key: tuple[str, ...], total: Row) -> Row:
    return {f"{level}_id": key[0], "date_start": key[1], "date_stop": key[2], **total}


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, str) and bool(_NUMBER.fullmatch(value)))
