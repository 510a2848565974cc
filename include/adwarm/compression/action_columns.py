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
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, Final

import orjson

from adwarm.foundation.errors import Corrupt
from adwarm.model.column_table import ColumnTable

BY: Final = "action_type"
_MAX_EXCEPTIONS = 1 / 8
"""Of the cells with a value; a column with more of them is not pivoted."""
_MAX_SPARSENESS = 12
"""Places in a pivoted column per value. In JSON an item takes about twelve times the bytes of a null."""

Lists = dict[str, list[Any]]
"""A list of values by field."""
Cell = list[dict[str, Any]]
_BLOCK_ROWS = 512
"""Rows that are read at a time: few enough that their objects stay in the processor's cache."""


def pivot_column(values: list[Any]) -> list[Any] | dict[str, Any]:
    """Return a column as the document holds it: pivoted where that is exact and pays, else `values` itself.

    Args:
        values: the cells of a column, None where a row has no value.
    """
    if not isinstance(next((cell for cell in values if cell is not None), None), list):
        return values
    items = sum(len(cell) for cell in values if isinstance(cell, list))
    pivot = _Pivot(len(values))
    for start in range(0, len(values), _BLOCK_ROWS):
        pivot.add(values[start : start + _BLOCK_ROWS], start)
        if pivot.is_sparse(items * len(pivot.names)):
            return values
    spread = pivot.spread_in_order()
    if len(pivot.odd) > (len(values) - values.count(None)) * _MAX_EXCEPTIONS or pivot.is_sparse(pivot.values):
        return values
    column: dict[str, Any] = {"by": BY, "items": _share_equal_lists(spread)}
    return column | {"exceptions": {str(row): values[row] for row in sorted(pivot.odd)}} if pivot.odd else column


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


class _Pivot:
    """Collects the values of a column by type and field.

    Attributes:
        names: fields that occurred.
        values: number of values.
        odd: rows whose cells cannot be restored from the lists.
    """

    def __init__(self, rows: int) -> None:
        self.names: set[str] = set()
        self.values = 0
        self.odd: list[int] = []
        self._rows = rows
        self._lists: dict[str, Lists] = {}
        self._groups: dict[tuple[str, ...], list[int]] = {}

    def add(self, cells: Sequence[Any], start: int) -> None:
        """Add cells of consecutive rows; `start` is the number of the first."""
        groups, odd = _group_cells(cells)
        for kinds, places in groups.items():
            if not self._add_group(kinds, [start + place for place in places], [cells[place] for place in places]):
                regular = [place for place in places if _is_regular(cells[place])]
                odd += sorted({*places} - {*regular})
                self._add_group(kinds, [start + place for place in regular], [cells[place] for place in regular])
        self.odd += [start + place for place in odd]

    def is_sparse(self, values: int) -> bool:
        """Return whether most places would be null if there were so many values."""
        places = sum(map(len, self._lists.values())) * self._rows
        return places > _MAX_SPARSENESS * values

    def spread_in_order(self) -> dict[str, Lists]:
        """Return the lists by type, in the order of the types; rows with another order become odd."""
        order = {kind: place for place, kind in enumerate(_order_types(self._groups))}
        for kinds, rows in self._groups.items():
            if any(order[first] > order[second] for first, second in pairwise(kinds)):
                self._remove(kinds, rows)
        return {kind: dict(sorted(self._lists[kind].items())) for kind in order if self._lists.get(kind)}

    def _add_group(self, kinds: tuple[str, ...], rows: Sequence[int], cells: Sequence[Cell]) -> bool:
        """Add cells with the same types in the same order; False: some are not regular, and nothing was added."""
        if not cells:
            return True
        fields = _read_fields(cells)
        if fields is None:
            return False
        self._groups.setdefault(kinds, []).extend(rows)
        for name, column in fields.items():
            self._add_field(kinds, name, rows, column)
        return True

    def _add_field(self, kinds: tuple[str, ...], name: str, rows: Sequence[int], column: Sequence[Any]) -> None:
        self.names.add(name)
        self.values += len(column) - column.count(None)
        for place, kind in enumerate(kinds):
            of_kind = column[place :: len(kinds)]
            lists = self._lists.setdefault(kind, {})
            if name not in lists:
                if all(value is None for value in of_kind):
                    continue
                lists[name] = [None] * self._rows
            values = lists[name]
            for row, value in zip(rows, of_kind, strict=True):
                values[row] = value

    def _remove(self, kinds: tuple[str, ...], rows: Sequence[int]) -> None:
        self.odd += rows
        for kind in kinds:
            lists = self._lists[kind]
            for values in lists.values():
                for row in rows:
                    values[row] = None
            self._lists[kind] = {name: own for name, own in lists.items() if any(value is not None for value in own)}


def _group_cells(cells: Sequence[Any]) -> tuple[dict[tuple[str, ...], list[int]], list[int]]:
    """Return the places of cells by the types of their items, and of those without a type or with a repeated one."""
    groups: dict[tuple[str, ...], list[int]] = {}
    odd: list[int] = []
    read_type = itemgetter(BY)
    for place, cell in enumerate(cells):
        if cell is None:
            continue
        try:
            kinds = tuple(map(read_type, cell))
            group = groups.get(kinds)
        except (TypeError, KeyError):
            kinds, group = (), None
        if group is not None:
            group.append(place)
        elif kinds and _is_all_text(kinds) and len(set(kinds)) == len(kinds):
            groups[kinds] = [place]
        else:
            odd.append(place)
    return groups, odd


def _order_types(groups: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the types in an order that suits as many cells as possible.

    It depends only on which types follow each other in cells, so that a new day rarely changes it.
    """
    kinds = sorted(set(chain.from_iterable(groups)))
    numbers = {kind: number for number, kind in enumerate(kinds)}
    pairs = {(numbers[first], numbers[second]) for group in groups for first, second in pairwise(group)}
    return [kinds[number] for number in _sort_topologically(len(kinds), sorted(pairs))]


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


def _read_fields(cells: Sequence[Cell]) -> Lists | None:
    """Return the values of each field but the type over all items, one cell after another; None: some are not regular.

    A value is None where an item does not have the field.
    """
    flat = list(chain.from_iterable(cells))
    keys = sum(map(len, flat))
    fields = _read_equal_fields(flat, keys)
    if fields is None:
        names = sorted(set().union(*flat) - {BY})
        fields = {name: [item.get(name) for item in flat] for name in names}
    others = [column for column in fields.values() if not _is_all_text(column)]
    if any(value != value for column in others for value in column):  # NaN is null in JSON
        return None
    nulls = sum(column.count(None) for column in others)
    is_exact = keys == len(flat) * (1 + len(fields)) - nulls  # no null is written out
    has_bare_items = (nulls or not fields) and any(len(item) == 1 for item in flat)
    return fields if is_exact and not has_bare_items else None


def _read_equal_fields(flat: Sequence[dict[str, Any]], keys: int) -> Lists | None:
    """Return the values of each field of items that all have the same fields; None: they do not."""
    if not flat or keys != len(flat) * len(flat[0]):
        return None
    try:
        return {name: list(map(itemgetter(name), flat)) for name in sorted(flat[0].keys() - {BY})}
    except KeyError:
        return None


def _is_all_text(values: Iterable[Any]) -> bool:
    try:
        "".join(values)  # the fastest test of all types
    except TypeError:
        return False
    return True


def _share_equal_lists(spread: Mapping[str, Lists]) -> dict[str, str | Lists]:
    """Replace the lists of a type that equal those of an earlier one, as JSON, by the earlier one's name."""
    holders: dict[bytes, str] = {}
    shared: dict[str, str | Lists] = {}
    for kind, lists in spread.items():
        holder = holders.setdefault(orjson.dumps(lists), kind)
        shared[kind] = lists if holder == kind else holder
    return shared
