"""Columns of action lists, pivoted by action type: one list of values per type and field instead of an object per item.

A column whose cells are lists of objects with an `action_type` (`actions`, `cost_per_action_type`, ...) becomes

    {"by": "action_type", "items": {"purchase": {"value": ["24", null, ...]}, "omni_purchase": "purchase"},
     "exceptions": {"17": []}}

Every list under `items` is as long as the table; null means that the row has no such item, or the item no such field.
Platforms report one action under several types: a type with the same lists as an earlier one has that one's name.
The items of a row have the order of `items`. `exceptions` holds the cells, by row number, that this form cannot restore
exactly: empty lists, repeated types, items without a type or with nulls, and another order. It is absent when it is
empty. A column with many of them, or with so many types that most values would be null, stays a list of lists.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
import orjson

from adwarm.foundation.arrow_arrays import Bools, Ints
from adwarm.foundation.errors import Corrupt
from adwarm.model.column_table import ColumnTable

BY: Final = "action_type"
_MAX_EXCEPTIONS = 1 / 8
"""Of the cells with a value; a column with more of them is not pivoted."""
_MAX_SPARSENESS = 12
"""Places in a pivoted column per value. In JSON an item takes about twelve times the bytes of a null."""


@dataclass(frozen=True, slots=True)
class _Items:
    """The items of all regular cells, one after another.

    Attributes:
        rows: the row of each item.
        types: the action type of each item.
        kinds: the action types that occur, sorted.
        fields: the values of each other field, None where an item does not have it.
    """

    rows: Ints
    types: list[str]
    kinds: list[str]
    fields: dict[str, list[Any]]


def pivot_column(values: list[Any]) -> list[Any] | dict[str, Any]:
    """Return a column as the document holds it: pivoted where that is exact and pays, else `values` itself.

    Args:
        values: the cells of a column, None where a row has no value.
    """
    if not isinstance(next((cell for cell in values if cell is not None), None), list):
        return values
    rows = [row for row, cell in enumerate(values) if cell is not None]
    regular = [row for row in rows if values[row]]
    items = _read_items(values, regular)
    if items is None:
        regular = [row for row in regular if _is_regular(values[row])]
        items = _read_items(values, regular)
    if items is None:
        return values
    kinds, places = _number_types(items)
    unordered = _find_unordered_rows(items, places)
    exceptions = sorted({*rows} - {*regular} | {*unordered.tolist()})
    if len(exceptions) > len(rows) * _MAX_EXCEPTIONS:
        return values
    if _is_sparse(items, places, len(values)):
        return values
    spread = _spread(items, places, ~np.isin(items.rows, unordered), (len(kinds), len(values)))
    column: dict[str, Any] = {"by": BY, "items": _collect(kinds, spread)}
    return column | {"exceptions": {str(row): values[row] for row in exceptions}} if exceptions else column


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
        for row, cell in column.get("exceptions", {}).items():
            cells[_read_row_number(row)] = cell
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise Corrupt("a pivoted column of the document is malformed; fetch it again") from error
    return cells


def _read_row_number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("an exception has no row number")
    return int(text)


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


def _is_regular(cell: Any) -> bool:
    """Whether a cell is a list of objects with an action type and other fields, none of them null."""
    return (
        isinstance(cell, list)
        and bool(cell)
        and all(
            isinstance(item, dict)
            and isinstance(item.get(BY), str)
            and len(item) > 1
            and all(value is not None and value == value for value in item.values())
            for item in cell
        )
    )


def _read_items(values: Sequence[Any], rows: Sequence[int]) -> _Items | None:
    """Return the items of the cells of `rows`; None when there are none, or a cell is not regular."""
    cells = [values[row] for row in rows]
    try:
        flat = list(chain.from_iterable(cells))
        types = list(map(itemgetter(BY), flat))
        kinds = sorted(set(types))
        keys = sum(map(len, flat))
    except (TypeError, KeyError):
        return None
    if not kinds or not _is_all_text(kinds):
        return None
    fields = _read_fields(flat, keys)
    others = [column for column in fields.values() if not _is_all_text(column)]
    if any(value != value for column in others for value in column):  # NaN is null in JSON
        return None
    nulls = sum(column.count(None) for column in others)
    if keys != len(flat) * (1 + len(fields)) - nulls or ((nulls or not fields) and min(map(len, flat)) == 1):
        return None  # an item with a null that is written out, or without any field
    return _Items(np.repeat(np.array(rows), list(map(len, cells))), types, kinds, fields)


def _read_fields(flat: Sequence[dict[str, Any]], keys: int) -> dict[str, list[Any]]:
    """Return the values of each field but the type, None where an item does not have it; `keys`: in all items."""
    names = sorted(flat[0].keys() - {BY})
    try:
        if keys == len(flat) * len(flat[0]):
            return {name: list(map(itemgetter(name), flat)) for name in names}  # all have the same fields
    except KeyError:
        names = []
    names = sorted(set().union(*flat) - {BY})
    return {name: [item.get(name) for item in flat] for name in names}


def _is_all_text(values: Iterable[Any]) -> bool:
    try:
        "".join(values)  # the fastest test of all types
    except TypeError:
        return False
    return True


def _number_types(items: _Items) -> tuple[list[str], Ints]:
    """Return the types in an order that suits as many cells as possible, and the place of each item's type in it.

    The order depends only on which types follow each other in cells, so that a new day rarely changes it.
    """
    kinds = items.kinds
    numbers = {kind: number for number, kind in enumerate(kinds)}
    codes = np.fromiter(map(numbers.__getitem__, items.types), np.int64, len(items.types))
    in_same_row = items.rows[1:] == items.rows[:-1]
    pairs = np.unique((codes[:-1] * len(kinds) + codes[1:])[in_same_row]).tolist()
    order = _sort_topologically(len(kinds), [divmod(pair, len(kinds)) for pair in pairs])
    places = np.empty(len(kinds), np.int64)
    places[order] = np.arange(len(kinds))
    return [kinds[number] for number in order], places[codes]


def _sort_topologically(size: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return 0 to `size` - 1 so that the first of each pair comes first; in a cycle the smallest number comes first."""
    after: list[set[int]] = [set() for _ in range(size)]
    waits_for = [0] * size
    for first, second in pairs:
        if first != second:
            after[first].add(second)
            waits_for[second] += 1
    ready = [number for number in range(size) if not waits_for[number]]
    remaining, order = dict.fromkeys(range(size)), []
    while remaining:
        number = heapq.heappop(ready) if ready else next(iter(remaining))
        if number not in remaining:
            continue  # it was taken to break a cycle
        del remaining[number]
        order.append(number)
        for other in after[number]:
            waits_for[other] -= 1
            if not waits_for[other]:
                heapq.heappush(ready, other)
    return order


def _find_unordered_rows(items: _Items, places: Ints) -> Ints:
    """Return the rows in which a type is repeated or not in order."""
    is_wrong = (places[1:] <= places[:-1]) & (items.rows[1:] == items.rows[:-1])
    return np.unique(items.rows[1:][is_wrong])


def _is_sparse(items: _Items, places: Ints, rows: int) -> bool:
    """Return whether most values of the pivoted column would be null."""
    lists = present = 0
    for column in items.fields.values():
        if _is_all_text(column):
            lists += len(items.kinds)
            present += len(column)
        else:
            has_value = np.fromiter((value is not None for value in column), np.bool_, len(column))
            lists += len(np.unique(places[has_value]))
            present += int(has_value.sum())
    return lists * rows > _MAX_SPARSENESS * present


def _spread(items: _Items, places: Ints, kept: Bools, shape: tuple[int, int]) -> dict[str, list[list[Any]]]:
    """Return, per field, a list of values for each type, in the order of the types; only items in `kept` are used."""
    positions = (places * shape[1] + items.rows)[kept]
    spread = {}
    for name, column in items.fields.items():
        values = np.full(shape[0] * shape[1], None, object)
        values[positions] = np.fromiter(column, object, len(column))[kept]
        spread[name] = values.reshape(shape).tolist()
    return spread


def _collect(kinds: Sequence[str], spread: Mapping[str, Sequence[list[Any]]]) -> dict[str, str | dict[str, list[Any]]]:
    """Return the lists of values by type and field, without those that hold nulls only; equal lists once."""
    collected: dict[str, str | dict[str, list[Any]]] = {}
    for place, kind in enumerate(kinds):
        lists = {name: of_types[place] for name, of_types in spread.items()}
        lists = {name: values for name, values in lists.items() if any(value is not None for value in values)}
        if lists:
            collected[kind] = next((other for other, own in collected.items() if _are_same(own, lists)), lists)
    return collected


def _are_same(first: str | dict[str, list[Any]], second: dict[str, list[Any]]) -> bool:
    """Whether two lots of lists are the same in JSON, where 1, 1.0 and true differ."""
    return first == second and orjson.dumps(first) == orjson.dumps(second)
