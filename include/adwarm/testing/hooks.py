"""What a subclass of the contract provides, and how its tests read a source."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, NoReturn, TypeVar

from adwarm.foundation.errors import AdwarmError
from adwarm.model import Account, QuerySpec, Row, Window
from adwarm.sources.protocol import CursorTrail, FetchUnit, Increment, InsightsSource, ResultPage
from adwarm.testing.upstream import UpstreamData, UpstreamFailure, sample_data

LEVELS = ("account", "campaign", "adset", "ad")
SUMS = ("impressions", "clicks", "inline_link_clicks", "spend")
_MOST_PAGES = 10_000
Error = TypeVar("Error", bound=AdwarmError)


class ContractBroken(AssertionError):
    """A source does not do what the product relies on; the message says what, and what it must do.

    Example:
        ```python
        from adwarm.testing import ContractBroken

        assert issubclass(ContractBroken, AssertionError)
        ```
    """


class CannotHold(Exception):
    """`replace_value` raises it for a value that the upstream cannot hold, such as text in a column of numbers.

    Example:
        ```python
        from adwarm.testing import CannotHold


        def replace_value(self, row, field, value):
            raise CannotHold("the column is an integer")
        ```
    """


class SourceHooks:
    """What a subclass provides; see `SourceContract`."""

    failures: ClassVar[frozenset[UpstreamFailure] | None] = None
    can_replace_values: ClassVar[bool] = True
    secrets: ClassVar[tuple[str, ...]] = ()
    page_size: ClassVar[int] = 7
    time_limit_seconds: ClassVar[float] = 60.0

    def make_source(self) -> InsightsSource:
        """Return a new source over the upstream; each is used by one thread at a time, a forked child makes its own."""
        broken("write make_source: it returns a new source over the upstream of the test")

    def make_source_with_time_limit(self) -> InsightsSource:
        """Return a source whose calls end after a few seconds, for an upstream that hangs; by default `make_source`."""
        return self.make_source()

    def data(self) -> UpstreamData:
        """Return what the upstream holds; by default `sample_data`, which the subclass loads into it."""
        return sample_data()

    def replace_value(self, row: Row, field: str, value: Any) -> AbstractContextManager[None]:
        """Let the upstream hold `value` in a field of one of the rows of `data` while the block runs.

        Args:
            row: one of `data().daily_rows`.
            value: a number, text, NaN, infinity, or None for null.

        Raises:
            CannotHold: the upstream cannot hold such a value.
        """
        broken("write replace_value, or set can_replace_values = False")

    def fail_upstream(self, failure: UpstreamFailure, account_id: str) -> AbstractContextManager[None]:
        """Make the upstream fail while the block runs, for one account where the failure is about accounts."""
        broken("write fail_upstream, or set failures = frozenset()")

    def count_requests(self) -> int | None:
        """Return how many requests the upstream has received so far; None where requests cost nothing."""
        return None

    # How the tests read. -------------------------------------------------------------------------------------------

    def spec(self, **values: Any) -> QuerySpec:
        """Return a query for every field of the rows, with other values."""
        data = self.data()
        return replace(QuerySpec(level=data.level, fields=data.fields), **values)

    def read(
        self,
        source: InsightsSource,
        windows: Window | Sequence[Window],
        increment: Increment = Increment.DAY,
        account: Account | None = None,
        spec: QuerySpec | None = None,
    ) -> list[Row]:
        """Return every row that a source has for some windows, in its own order."""
        listed = [windows] if isinstance(windows, Window) else list(windows)
        units = source.plan(account or self.data().main_account, listed, increment, spec or self.spec())
        return [row for unit in units for row in read_unit(source, unit)]

    def sums(self, rows: Iterable[Row], level: str, window: Window | None = None) -> dict[tuple[str, ...], Row]:
        """Return the sums of daily rows by object and day, or by object and window."""
        totals: dict[tuple[str, ...], dict[str, Decimal]] = {}
        for row in rows:
            days = (row["date_start"],) * 2 if window is None else (window.since.isoformat(), window.until.isoformat())
            total = totals.setdefault((row[f"{level}_id"], *days), {})
            for name in SUMS:
                if name in row:
                    total[name] = total.get(name, Decimal(0)) + Decimal(row[name])
        return {key: {name: str(value) for name, value in total.items()} for key, total in totals.items()}


def read_unit(source: InsightsSource, unit: FetchUnit) -> list[Row]:
    """Return every row of a unit, of all its pages."""
    return [row for page in iter_pages(source, unit) for row in page.rows]


def iter_pages(source: InsightsSource, unit: FetchUnit) -> Iterator[ResultPage]:
    """Yield the pages of a unit.

    Raises:
        ContractBroken: the source makes a report of a plain request, or has no last page.
    """
    page = source.submit(unit)
    trail = CursorTrail()
    for _ in range(_MOST_PAGES):
        if not isinstance(page, ResultPage):
            broken("submit returned no page; only submit_async starts an async report")
        yield page
        cursor = trail.follow(page.next_cursor)
        if cursor is None:
            return
        page = source.read(unit, cursor)
    broken(f"a request of {unit.windows} has more than {_MOST_PAGES} pages; the last page has no next_cursor")


def row_key(row: Mapping[str, Any], level: str) -> tuple[str, ...]:
    """Return what identifies a row."""
    return str(row.get(f"{level}_id")), str(row.get("date_start")), str(row.get("date_stop"))


def check(condition: object, message: str) -> None:
    """Raise ContractBroken with the message unless the condition holds."""
    if not condition:
        broken(message)


def broken(message: str) -> NoReturn:
    """Raise ContractBroken."""
    raise ContractBroken(message)


def check_same_rows(rows: Sequence[Row], expected: Sequence[Row], level: str, what: str) -> None:
    """Check that two lists hold the same rows, in any order; figures are compared as numbers.

    Raises:
        ContractBroken: a row is missing, repeated or not expected, or a value differs.
    """
    counts = Counter(row_key(row, level) for row in rows)
    repeated = [key for key, count in counts.items() if count > 1]
    check(not repeated, f"{what}: {len(repeated)} rows come more than once, such as {repeated[:1]}")
    by_key = {row_key(row, level): row for row in expected}
    missing, foreign = sorted(set(by_key) - set(counts)), sorted(set(counts) - set(by_key))
    check(not missing, f"{what}: {len(missing)} of {len(by_key)} rows are missing, such as {missing[:1]}")
    check(not foreign, f"{what}: {len(foreign)} rows are not expected, such as {foreign[:1]}")
    for row in rows:
        other = by_key[row_key(row, level)]
        for name, value in other.items():
            is_zero = name in SUMS and row.get(name) is None and is_same("0", value)  # platforms leave zeros out
            if not is_zero and not is_same(row.get(name), value):
                broken(f"{what}: {name} of {row_key(row, level)} is {row.get(name)!r}; the upstream holds {value!r}")


def is_same(value: Any, expected: Any) -> bool:
    """Whether two values are the same text or the same number."""
    if value == expected:
        return True
    try:
        return Decimal(str(value)) == Decimal(str(expected))
    except InvalidOperation:
        return False


def expect_error(kinds: tuple[type[Error], ...], call: Callable[[], Any], what: str) -> Error:
    """Return the error that a call raises.

    Raises:
        ContractBroken: it raises nothing, or an error of another class.
    """
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        call()
    except kinds as error:
        return error
    except Exception as error:
        raise ContractBroken(
            f"{what} raised {type(error).__name__} ({error}); a source raises {names} of adwarm.foundation.errors"
        ) from error
    broken(f"{what} raised nothing; a source raises {names}")


def days_of(rows: Iterable[Row]) -> set[date]:
    """Return the days that have rows."""
    return {date.fromisoformat(row["date_start"]) for row in rows}
