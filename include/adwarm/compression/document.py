"""Writes the stored document of an entry, as columnar JSON, and packs it for the store; the client reads it.

Equal data gives equal bytes; the header has the times of the fetch, so a new fetch gives new bytes. The format is
described in `adwarm_client.document`.

The shapes in which a stored document is returned: columns as stored, rows, NDJSON, CSV and Arrow.

| shape      | holds                                   | columns of actions                                |
|------------|-----------------------------------------|---------------------------------------------------|
| `columnar` | the document, ratios as formulas        | pivoted by type                                   |
| `rows`     | the header, `summary` and `daily` rows  | lists of objects, as the source sent them         |
| `ndjson`   | one table, a row per line               | the same                                          |
| `csv`      | one table, with a line of column names  | JSON text                                         |
| `arrow`    | one table, as an IPC stream             | lists of structs, or JSON text where types differ |
"""

import io
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from hashlib import sha256
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast, get_args

import orjson

from adwarm.compression.action_columns import Pivot, order_types, pivot
from adwarm.compression.choice import CompressedPayload, compress, decompress_envelope, open_envelope
from adwarm.foundation.errors import BadRequest, TooMuchData
from adwarm.foundation.wording import format_csv
from adwarm.model import Window
from adwarm.settings import CompressionSettings
from adwarm_client.column_table import ColumnTable
from adwarm_client.derived_columns import (
    BY,
    FORMULAS,
    Numbers,
    compute_column,
    divide_fields,
    read_once,
)
from adwarm_client.document import (
    CONTENT_TYPE,
    FORMAT_VERSION,
    Document,
    Header,
    Summary,
    decode_document,
    name_account,
)

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
_MAX_EXCEPTIONS: Final = 1 / 2
"""Of the cells of a column; with more it is stored as it is, since an exception takes its row number as well."""
TableName = Literal["daily", "summary"]
"""The daily rows, or one row per object over the whole window."""
MAX_CELLS: Final = 20_000_000
"""Rows times columns of a document; a larger one is returned as columns only."""
_JSON_COLUMN: Final = {b"adwarm.encoding": b"json"}


def encode_document(document: Document) -> bytes:
    """Return the bytes of a document, whose content type is `CONTENT_TYPE`."""
    summary, account_id = document.summary, document.header.account_id
    return orjson.dumps({
        "format_version": FORMAT_VERSION,
        **header_fields(document.header),
        "summary": None if summary is None else {**summary_fields(summary), **_table_fields(summary.table, account_id)},
        "daily": _table_fields(document.daily, account_id),
    })


def pack_document(document: Document, settings: CompressionSettings) -> tuple[CompressedPayload, str]:
    """Return a document compressed and in an envelope, and the SHA-256 of its bytes before compression.

    The settings' patterns are compared with `account/report/date range`.

    Raises:
        TooMuchData: it is larger than the settings allow.
    """
    raw = encode_document(document)
    header = document.header
    name = f"{header.account_id}/{header.report}/{header.date_range}"
    return compress(raw, settings, content_type=CONTENT_TYPE, name=name), sha256(raw).hexdigest()


def unpack_document(blob: bytes, settings: CompressionSettings) -> Document:
    """Return the document in an envelope.

    Raises:
        Corrupt: the bytes fail verification, or the document cannot be read; treat it as absent.
        TooMuchData: it is larger than the settings allow.
    """
    envelope = open_envelope(blob)
    return decode_document(decompress_envelope(envelope, settings), envelope.content_type)


def header_fields(header: Header) -> dict[str, Any]:
    """Return the fields of a header, in their order."""
    return {field.name: getattr(header, field.name) for field in fields(header)}


def summary_fields(summary: Summary) -> dict[str, Any]:
    """Return what a document stores about a summary beside its rows."""
    return {"fetched_at": summary.fetched_at, "versions": summary.versions, "missing": summary.missing}


@dataclass(frozen=True, slots=True)
class WindowTable(ColumnTable):
    """The daily rows of a window, some of those of a longer one: what was computed of these is not computed again.

    Attributes:
        whole: the rows of the longer window.
        start: number of the first row in `whole`.
        computed: pivots of `whole`, and rows whose cells a formula does not give, by what they are.
    """

    whole: ColumnTable
    start: int = 0
    computed: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, table: ColumnTable) -> "WindowTable":
        """Return the rows of the longest window, as `daily_table` returns them."""
        return cls(table.rows, table.columns, table)

    def take_window(self, window: Window) -> "WindowTable":
        """Return the rows of a window within this one, equal to its own `daily_table`."""
        days = self.whole.columns.get("date_start", [])
        start, stop = bisect_left(days, str(window.since)), bisect_right(days, str(window.until))
        rows = stop - start
        columns = {name: values[start:stop] for name, values in self.whole.columns.items()}
        columns = {name: values for name, values in columns.items() if values.count(None) < rows}
        return WindowTable(rows, columns, self.whole, start, self.computed)

    def find(self, what: object, compute: Callable[[], T]) -> T:
        """Return what is computed of `whole`, once."""
        if what not in self.computed:
            self.computed[what] = compute()
        result: T = self.computed[what]
        return result

    def select(self, rows: Iterable[int]) -> list[int]:
        """Return those of some rows of `whole` that are in this window, by their numbers in it."""
        return [row - self.start for row in rows if self.start <= row < self.start + self.rows]


def _pivot(table: ColumnTable, name: str) -> Pivot | None:
    if isinstance(table, WindowTable):
        whole = table.find(name, lambda: pivot(table.whole.columns[name]))
        if table.rows == table.whole.rows:
            return whole
        if whole is not None and (own := whole.cut(table.start, table.start + table.rows)) is not None:
            return own
    return pivot(table.columns[name])


def _table_fields(table: ColumnTable, account_id: str) -> dict[str, Any]:
    pivots = {name: own for name in table.columns if (own := _pivot(table, name)) is not None}
    columns: dict[str, Any] = name_account(table.columns, account_id) | find_derived_columns(table, pivots)
    for name, own in pivots.items():
        if columns[name] is table.columns[name]:  # it does not follow from others
            columns[name] = own.to_json(table.columns[name])
    return {"rows": table.rows, "columns": columns}


def find_derived_columns(table: ColumnTable, pivots: Mapping[str, Pivot]) -> dict[str, dict[str, Any]]:
    """Return the columns that follow from others as their formulas, by name, as the document holds them.

    Args:
        table: rows by column, as a reader gets them.
        pivots: its columns of lists that are stored by type.
    """
    columns = {}
    read: dict[str, Numbers] = {}
    for name in table.columns.keys() & FORMULAS.keys():
        if table.columns.keys() >= {FORMULAS[name].dividend, FORMULAS[name].divisor}:
            column = _describe(table, name, pivots, read)
            if column is not None:
                columns[name] = column
    return columns


def _describe(
    table: ColumnTable, name: str, pivots: Mapping[str, Pivot], read: dict[str, Numbers]
) -> dict[str, Any] | None:
    """Return a column as its formula; None: too many of its cells are not what the formula gives."""
    ratio, cells = FORMULAS[name], table.columns[name]
    if name in pivots and ratio.divisor in pivots:
        types: list[str] | None = list(pivots[name].lists)
        rows = _find_other_lists(table, name, pivots, read)
    else:
        types = _list_types(cells)
        rows = _find_other_cells(table, name, types, read)
    if len(rows) > (table.rows - cells.count(None)) * _MAX_EXCEPTIONS:
        return None
    column: dict[str, Any] = {"ratio": (ratio.dividend, ratio.divisor)}
    if ratio.times != 1:
        column["times"] = ratio.times
    if types is not None:
        column["types"] = types
    if rows:
        column["exceptions"] = {str(row): cells[row] for row in rows}
    return column


def _find_other_cells(
    table: ColumnTable, name: str, types: Sequence[str] | None, read: dict[str, Numbers]
) -> list[int]:
    """Return the rows of cells that are not what the formula gives."""
    ratio, cells = FORMULAS[name], table.columns[name]
    if isinstance(table, WindowTable) and types is None:
        whole = table.whole
        kinds = table.find((ratio.divisor, "kinds"), lambda: {*map(type, whole.columns[ratio.divisor])} - {NoneType})
        if len(kinds) < 2 or list not in kinds:
            numbers = table.find(Numbers, dict[str, Numbers])
            rows = table.find((name, "cells"), lambda: _find_other_cells(whole, name, None, numbers))
            return table.select(rows)
    computed = compute_column(table.columns, ratio, types, read)
    return [] if computed == cells else [row for row, cell in enumerate(cells) if computed[row] != cell]


def _find_other_lists(
    table: ColumnTable, name: str, pivots: Mapping[str, Pivot], read: dict[str, Numbers]
) -> list[int]:
    """Return the rows of lists that are not the quotients of other lists, without making those lists."""
    own, divisor = pivots[name], FORMULAS[name].divisor
    other = {*own.exceptions, *pivots[divisor].exceptions}
    if isinstance(table, WindowTable):
        of_whole = {item: table.computed[item] for item in (name, divisor)}
        if all(item is not None and not item.exceptions for item in of_whole.values()):
            numbers = table.find(Numbers, dict[str, Numbers])
            whole = table.find((name, "lists"), lambda: [*_compare_lists(table.whole, name, of_whole, numbers)])
            return sorted(other.union(*(table.select(rows) for kinds, rows in whole if kinds & own.lists.keys())))
    return sorted(other.union(*(rows for _, rows in _compare_lists(table, name, pivots, read))))


def _compare_lists(
    table: ColumnTable, name: str, pivots: Mapping[str, Pivot], read: dict[str, Numbers]
) -> Iterator[tuple[set[str], set[int]]]:
    """Yield types that have the same lists, and the rows of these that are not the quotients of other lists."""
    ratio, own, kinds = FORMULAS[name], pivots[name].lists, dict[tuple[int, int], set[str]]()
    divisors, dividends = pivots[ratio.divisor].lists, read_once(table.columns, ratio.dividend, read)
    no_values: list[Any] = [None] * table.rows
    for kind, sent in own.items():
        kinds.setdefault((id(sent), id(divisors.get(kind))), set()).add(kind)
    for group in kinds.values():
        kind = next(iter(group))
        sent, (quotients, other) = own[kind], divide_fields(dividends, divisors.get(kind, {}), ratio.times)
        for item in sent.keys() | quotients.keys():
            texts, computed = sent.get(item, no_values), quotients.get(item, no_values)
            if computed != texts:
                other.update(row for row, cell in enumerate(texts) if cell != computed[row])
        yield group, other


def _list_types(cells: Sequence[Any]) -> list[str] | None:
    """Return the types of the lists of a column in their usual order; None where items have no types."""
    kinds: Counter[tuple[Any, ...]] = Counter()
    for cell in cells:
        if cell is not None:
            try:
                kinds[tuple([item[BY] for item in cell])] += 1
            except (TypeError, KeyError):
                return None
    return order_types(kinds) if kinds and all(isinstance(kind, str) for group in kinds for kind in group) else None


class Shape(StrEnum):
    """How a document is returned."""

    COLUMNAR = "columnar"
    ROWS = "rows"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"


MEDIA_TYPES: Final = {
    Shape.COLUMNAR: CONTENT_TYPE,
    Shape.ROWS: "application/json",
    Shape.NDJSON: "application/x-ndjson",
    Shape.CSV: "text/csv; charset=utf-8",
    Shape.ARROW: "application/vnd.apache.arrow.stream",
}
"""The content type of each shape."""


def parse_shape(text: str) -> Shape:
    """Return the shape of external input.

    Raises:
        BadRequest: there is no such shape.
    """
    try:
        return Shape(text)
    except ValueError:
        raise BadRequest(f"shape {text[:40]!r} is unknown; the shapes are {', '.join(Shape)}") from None


def parse_table(text: str) -> TableName:
    """Return the name of a table of external input.

    Raises:
        BadRequest: there is no such table.
    """
    for name in get_args(TableName):
        if name == text:
            return cast("TableName", name)
    raise BadRequest(f"table {text[:40]!r} is unknown; the tables are daily and summary")


def render_shape(raw: bytes, shape: Shape, table: TableName = "daily") -> bytes:
    """Return a document in a shape, whose type is that of `MEDIA_TYPES`. Equal documents give equal bytes.

    Args:
        raw: the decoded payload of an entry.
        table: the table of NDJSON, CSV and Arrow. The summary of a window of one day is its daily rows.

    Raises:
        Corrupt: the document cannot be read.
        TooMuchData: it is too large for a shape other than `columnar`.
    """
    if shape is Shape.COLUMNAR:
        return raw
    document = decode_document(raw, CONTENT_TYPE)
    chosen = document.daily if table == "daily" else document.window_table
    for rendered in (document.daily, document.window_table) if shape is Shape.ROWS else (chosen,):
        _check_size(rendered)
    return _render(document, chosen, shape)


def _render(document: Document, chosen: ColumnTable, shape: Shape) -> bytes:
    match shape:
        case Shape.NDJSON:
            return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in chosen.to_rows())
        case Shape.CSV:
            return _render_csv(_in_query_order(document.header, chosen))
        case Shape.ARROW:
            return _render_arrow(document.header, _in_query_order(document.header, chosen))
        case _:
            return _render_rows(document)


def _check_size(table: ColumnTable) -> None:
    cells = table.rows * len(table.columns)
    if cells > MAX_CELLS:
        raise TooMuchData(
            f"the report has {cells:,} cells, more than the {MAX_CELLS:,} of this shape; "
            "read it as columnar, or read a shorter date range"
        )


def _in_query_order(header: Header, table: ColumnTable) -> ColumnTable:
    """Return the columns with the days first, then as the query lists its fields, then the others by name."""
    names = dict.fromkeys(("date_start", "date_stop", *header.query.fields, *table.columns))
    return ColumnTable(table.rows, {name: table.columns[name] for name in names if name in table.columns})


def _render_rows(document: Document) -> bytes:
    summary = document.summary
    return orjson.dumps({
        **header_fields(document.header),
        "summary_metadata": None if summary is None else summary_fields(summary),
        "summary": None if summary is None else summary.table.to_rows(),
        "daily": document.daily.to_rows(),
    })


def _render_csv(table: ColumnTable) -> bytes:
    """Return a table as CSV by `format_csv`; values other than texts are JSON."""
    columns = [map(_csv_value, values) for values in table.columns.values()]
    return format_csv(tuple(table.columns), zip(*columns, strict=True)).encode()


def _csv_value(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _render_arrow(header: Header, table: ColumnTable) -> bytes:
    """Return a table as an Arrow IPC stream, with the header as JSON in the metadata of its schema."""
    import pyarrow as pa

    fields, arrays = [], []
    for name, values in table.columns.items():
        array, is_json = _to_arrow(values)
        fields.append(pa.field(name, array.type, metadata=_JSON_COLUMN if is_json else None))
        arrays.append(array)
    schema = pa.schema(fields, metadata={b"adwarm.header": orjson.dumps(header_fields(header))})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return sink.getvalue()


def _to_arrow(values: list[Any]) -> "tuple[pa.Array, bool]":
    """Return a column in the type that its values share, or as JSON text; and whether it is JSON."""
    from adwarm.foundation.arrow_arrays import to_array, to_string_array

    try:
        return to_array(values), False
    except (TypeError, OverflowError):
        return to_string_array([None if value is None else orjson.dumps(value).decode() for value in values]), True
