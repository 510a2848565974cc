"""The document of a report, which is columnar JSON, and how it is read; adwarm's store writes it.

One object: the fields of `Header`, then `summary` (null for a window of one day) and `daily`. A table is
`{"rows": N, "columns": {name: [...]}}`; its rows are sorted by day, then by ad. A column is a list with a value per
row, null where the source sent none; or a column of actions pivoted by type, as `unpivot_column` reads it; or the
formula of a ratio, as `derived_columns` describes it. The content type names the version of the format.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import msgspec
import orjson

from adwarm_client.column_table import ColumnTable
from adwarm_client.derived_columns import BY, Numbers, Ratio, compute_column, divide_fields, divide_lists, read_once
from adwarm_client.errors import Corrupt
from adwarm_client.keys import spell_account_id

FORMAT_VERSION: Final = 3
CONTENT_TYPE: Final = f"application/vnd.adwarm.report+json;version={FORMAT_VERSION}"
_TYPE = re.compile(r"application/vnd\.adwarm\.report\+json; ?version=([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class QueryFields:
    """The query of a report: its hash, the level of its rows, its fields, and what counts its conversions.

    Attributes:
        fields: those of the breakdowns last.
        attribution: the setting that counts conversions, such as `unified`, that of each ad set; empty where a document
            does not say.
        attribution_windows: windows beside that setting's own figure, such as `7d_click`.
    """

    hash: str
    level: str
    fields: tuple[str, ...]
    attribution: str = ""
    attribution_windows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """What a document says about its data.

    Attributes:
        account_id: such as `act_1234`.
        time_zone: the zone of the days.
        days_fetched_at: when the oldest day was fetched, UTC; None without a stored day.
        complete: whether nothing is missing.
        settled: whether the data is final.
        data_version: grows when a day is restated.
        missing: what could not be read, and why.
    """

    account_id: str
    date_range: str
    report: str
    since: date
    until: date
    time_zone: str
    currency: str
    query: QueryFields
    source: str
    api_version: str
    fetched_at: datetime
    days_fetched_at: datetime | None
    complete: bool
    settled: bool
    data_version: int
    missing: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One row per object over the whole window.

    Attributes:
        versions: sum of the data versions of the window's days when the rows were fetched.
        missing: what could not be read, and why.
    """

    table: ColumnTable
    fetched_at: datetime
    versions: int
    missing: str | None


class _DerivedColumn(msgspec.Struct, frozen=True):
    """A column that is stored as a formula; `derived_columns` describes it."""

    ratio: tuple[str, str]
    times: int = 1
    types: tuple[str, ...] | None = None
    exceptions: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its header, the summary (None for a window of one day) and the daily rows."""

    header: Header
    summary: Summary | None
    daily: ColumnTable

    @property
    def window_table(self) -> ColumnTable:
        """The rows over the whole window: the summary's, or the daily rows of a window of one day."""
        return self.daily if self.summary is None else self.summary.table


def decode_document(raw: bytes, content_type: str) -> Document:
    """Return the document in `raw`.

    Args:
        raw: the decoded payload of an entry.
        content_type: the content type in its envelope.

    Raises:
        Corrupt: the version is another, or the document is malformed; treat it as absent, so that it is fetched again.
    """
    check_content_type(content_type)
    try:
        body = orjson.loads(raw)
        header, summary = msgspec.convert(body, Header), body["summary"]
        if body["format_version"] != FORMAT_VERSION:
            raise Corrupt(f"the document is not of version {FORMAT_VERSION} as its content type says; fetch it again")
        daily = _read_table(body["daily"], header.account_id)
        return Document(header, None if summary is None else _read_summary(summary, header.account_id), daily)
    except (
        orjson.JSONDecodeError,
        msgspec.ValidationError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise Corrupt(f"the document is malformed ({type(error).__name__}); fetch it again") from error


def check_content_type(content_type: str) -> None:
    """Check that a content type names the version of the format that is read here.

    Raises:
        Corrupt: it names another version, or another type.
    """
    match = _TYPE.fullmatch(content_type)
    version = int(match[1]) if match else None
    if version is None:
        raise Corrupt(f"content type {content_type[:80]!r} is not that of a report; fetch the report again")
    if version != FORMAT_VERSION:
        raise Corrupt(
            f"the report is stored in version {version} of the format and this adwarm reads version {FORMAT_VERSION}; "
            "it is fetched again, or upgrade adwarm to the version that wrote it"
        )


def name_account(columns: dict[str, list[Any]], account_id: str) -> dict[str, list[Any]]:
    """Return columns that name the account as adwarm does; the platform may leave out its `act_`."""
    spelled = spell_account_id(account_id)
    if len(spelled) == 1 or "account_id" not in columns:
        return columns
    return {**columns, "account_id": [account_id if name in spelled else name for name in columns["account_id"]]}


def _read_summary(fields: Mapping[str, Any], account_id: str) -> Summary:
    return Summary(
        _read_table(fields, account_id),
        fetched_at=msgspec.convert(fields["fetched_at"], datetime),
        versions=msgspec.convert(fields["versions"], int),
        missing=msgspec.convert(fields["missing"], str | None),
    )


def _read_table(fields: Mapping[str, Any], account_id: str) -> ColumnTable:
    rows = fields["rows"]
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise TypeError("the number of rows is not a number")
    stored = fields["columns"]
    columns = {name: unpivot_column(column, rows) for name, column in stored.items() if not _is_derived(column)}
    read: dict[str, Numbers] = {}
    derived = {
        name: _read_derived(column, stored, columns, read) for name, column in stored.items() if _is_derived(column)
    }
    in_order = {name: derived[name] if name in derived else columns[name] for name in stored}
    return ColumnTable(rows, name_account(in_order, account_id))


def _is_derived(column: Any) -> bool:
    return isinstance(column, dict) and "ratio" in column


def _read_derived(
    column: Any, stored: Mapping[str, Any], columns: Mapping[str, list[Any]], read: dict[str, Numbers]
) -> list[Any]:
    """Return the cells of a column that is stored as the formula of a ratio of other columns."""
    formula = msgspec.convert(column, _DerivedColumn)
    ratio = Ratio(*formula.ratio, formula.times)
    divisors = stored[ratio.divisor]
    if formula.types is not None and isinstance(divisors, dict):
        numbers = read_once(columns, ratio.dividend, read)
        cells = _divide_types(numbers, divisors, columns[ratio.divisor], formula.types, ratio.times)
    else:
        cells = compute_column(columns, ratio, formula.types, read)
    _replace_cells(cells, formula.exceptions)
    return cells


def _divide_types(
    dividends: Numbers, divisors: Mapping[str, Any], lists: list[Any], types: Sequence[str], times: int
) -> list[Any]:
    """Return lists with the quotients of lists that are stored by type; equal to `divide_lists`."""
    cells: list[Any] = [None] * len(lists)
    odd = {*map(int, divisors.get("exceptions", {}))}
    items = divisors["items"]
    divided: dict[str, dict[str, list[Any]]] = {}
    for kind in types:
        if kind in items:
            name = items[kind] if isinstance(items[kind], str) else kind
            if name not in divided:
                divided[name], own = divide_fields(dividends, items[name], times)
                odd |= own
            _add_items(cells, kind, divided[name])
    rows = sorted(odd)
    numbers = [dividends[0][row] for row in rows], dividends[1]
    for row, cell in zip(rows, divide_lists(numbers, [lists[row] for row in rows], times, types), strict=True):
        cells[row] = cell
    return cells


def unpivot_column(column: Any, rows: int) -> list[Any]:
    """Return the cells of a column of a document with `rows` rows; the inverse of `pivot_column`.

    Raises:
        Corrupt: the column has another form or length.
    """
    if isinstance(column, list):
        if len(column) != rows:
            raise Corrupt(f"a column of the document has {len(column)} values and should have {rows}; fetch it again")
        return column
    try:
        if column["by"] != BY:
            raise Corrupt("a column of the document is pivoted by an unknown field; fetch it again")
        cells: list[Any] = [None] * rows
        items = column["items"]
        for kind, fields in items.items():
            _add_items(cells, kind, items[fields] if isinstance(fields, str) else fields)
        _replace_cells(cells, column.get("exceptions", {}))
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise Corrupt("a pivoted column of the document is malformed; fetch it again") from error
    return cells


def _replace_cells(cells: list[Any], exceptions: Mapping[str, Any]) -> None:
    for row, cell in exceptions.items():
        if not row.isdecimal():
            raise ValueError("an exception has no row number")
        cells[int(row)] = cell


def _add_items(cells: list[Any], kind: str, fields: dict[str, list[Any]]) -> None:
    """Append an item of a type to each cell that has one."""
    if any(len(values) != len(cells) for values in fields.values()):
        raise ValueError("a list of values has another length than the table")
    if len(fields) == 1:
        [(name, values)] = fields.items()
        items = [value if value is None else {BY: kind, name: value} for value in values]
    else:
        present = ColumnTable(len(cells), fields).to_rows()
        items = [{BY: kind, **item} if item else None for item in present]
    for row, item in enumerate(items):
        if item is not None:
            cell = cells[row]
            if cell is None:
                cells[row] = [item]
            else:
                cell.append(item)
