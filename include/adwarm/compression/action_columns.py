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
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice, pairwise, product, repeat
from typing import Any

import orjson

from adwarm_client.column_table import read_fields
from adwarm_client.derived_columns import BY

_MAX_EXCEPTIONS = 1 / 8
"""Of the cells with a value; a column with more of them is not pivoted."""
_MAX_SPARSENESS = 12
"""Places in a pivoted column per value. In JSON an item takes about twelve times the bytes of a null."""
_BLOCK_ROWS = 128
"""Rows that are read at a time: few enough that their items stay in the processor's cache."""

Fields = dict[str, list[Any]]
"""A list of values by field."""
Types = tuple[Any, ...]
"""The types of the items of a cell."""


@dataclass(frozen=True, slots=True)
class Pivot:
    """A column by action type.

    Attributes:
        lists: the values of each field by type, in the order of the items of a cell; None where a row has none.
        items: the same as the document holds them.
        exceptions: the rows of cells that the lists do not hold, in order.
        groups: the rows of cells by the types of their items.
    """

    lists: dict[str, Fields]
    items: dict[str, Any]
    exceptions: list[int]
    groups: dict[Types, list[int]]

    def cut(self, start: int, stop: int) -> "Pivot | None":
        """Return what `pivot` does of the cells of some rows; None where that is quicker."""
        some = {own: [row for row in rows if start <= row < stop] for own, rows in self.groups.items()}
        groups = {own: rows for own, rows in some.items() if rows}
        order = _order(groups)
        if self.exceptions or any([*own] != _in_order(own, order) for own in groups):
            return None
        lists = {kind: {name: values[start:stop] for name, values in self.lists[kind].items()} for kind in order}
        return _build(lists, stop - start, [], groups)

    def to_json(self, cells: Sequence[Any]) -> dict[str, Any]:
        """Return the column as the document holds it."""
        exceptions = {str(row): cells[row] for row in self.exceptions}
        return {"by": BY, "items": self.items, **({"exceptions": exceptions} if exceptions else {})}


def pivot(cells: Sequence[Any]) -> Pivot | None:
    """Return a column of lists by type; None where that is not exact or does not pay."""
    first = next((cell for cell in cells if cell), None)
    if not isinstance(first, list) or not isinstance(first[0], dict) or BY not in first[0]:
        return None
    fields: dict[str, Fields] = defaultdict(lambda: defaultdict(lambda: [None] * len(cells)))
    groups: dict[Types, list[int]] = defaultdict(list)
    pivoted: set[int] = set()
    for start in range(0, len(cells), _BLOCK_ROWS):
        pivoted.update(_add_block(cells[start : start + _BLOCK_ROWS], start, fields, groups))
    order = _order(groups)
    for own, rows in groups.items():
        if [*own] != _in_order(own, order):
            pivoted.difference_update(rows)
            for column, row in product([by_type[kind] for by_type in fields.values() for kind in own], rows):
                column[row] = None
    exceptions = [row for row, cell in enumerate(cells) if cell is not None and row not in pivoted]
    if len(exceptions) > (len(exceptions) + len(pivoted)) * _MAX_EXCEPTIONS:
        return None
    lists = {kind: {name: by_type[kind] for name, by_type in fields.items()} for kind in order}
    return _build(lists, len(cells), exceptions, groups)


def _build(
    lists: Mapping[str, Fields], rows: int, exceptions: list[int], groups: dict[Types, list[int]]
) -> Pivot | None:
    """Return the pivot of lists without those that have no value; None where most values would be null."""
    present = {
        kind: {name: values for name, values in own.items() if any(v is not None for v in values)}
        for kind, own in lists.items()
    }
    present = {kind: own for kind, own in present.items() if own}
    columns = [*chain.from_iterable(own.values() for own in present.values())]
    size, nulls = rows * len(columns), sum(values.count(None) for values in columns)
    if size > (size - nulls) * _MAX_SPARSENESS:
        return None
    return Pivot(*_share_lists(present), exceptions, groups)


def _order(groups: Mapping[Types, list[int]]) -> dict[str, int]:
    """Return the place of each type in the order of a column."""
    order = order_types({own: len(rows) for own, rows in groups.items()})
    return {kind: place for place, kind in enumerate(order)}


def _in_order(own: Types, places: Mapping[str, int]) -> list[str]:
    return sorted({*own}, key=places.__getitem__)


def _add_block(cells: Sequence[Any], start: int, fields: dict[str, Fields], groups: dict[Types, list[int]]) -> set[int]:
    """Add the values of some rows by field and type, and their numbers by types; return those that are regular."""
    lists = [cell if isinstance(cell, list) else [] for cell in cells]
    flat = _flatten(lists)
    if len(flat) > 1 and all(map(_are_texts, flat.values())):
        kinds = iter(flat[BY])
        types = [tuple(islice(kinds, len(items))) for items in lists]
    else:
        types = [_read_types(items) for items in lists]
        lists = [items if _is_regular(items) else [] for items in lists]
        flat = _flatten(lists)
    for row, own in enumerate(types, start):
        groups[own].append(row)
    rows = [*chain.from_iterable(map(repeat, count(start), map(len, lists)))]
    for name in flat.keys() - {BY}:
        by_type = fields[name]
        for kind, row, value in zip(flat[BY], rows, flat[name], strict=True):
            by_type[kind][row] = value
    return {row for row, items in enumerate(lists, start) if items}


def _flatten(lists: Sequence[list[Any]]) -> Fields:
    """Return the values of each field of the items of all lists, list after list; nothing if one is not a dict."""
    items = [*chain.from_iterable(lists)]
    return read_fields(items) if {*map(type, items)} == {dict} else {}


def _read_types(items: list[Any]) -> Types:
    """Return the types of the items of a list; none where one of them has none."""
    has_types = all(isinstance(item, dict) and isinstance(item.get(BY), str) for item in items)
    return tuple([item[BY] for item in items]) if has_types else ()


def _share_lists(by_type: dict[str, Fields]) -> tuple[dict[str, Fields], dict[str, Any]]:
    """Return the lists with one object for those that are equal as JSON, and the `items` of the document."""
    first: dict[bytes, str] = {}
    lists, items = {}, dict[str, Any]()
    for kind, fields in by_type.items():
        text = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
        name = first.setdefault(text, kind)
        lists[kind] = by_type[name]
        items[kind] = orjson.Fragment(text) if name == kind else name
    return lists, items


def _are_texts(values: Iterable[Any]) -> bool:
    return {*map(type, values)} == {str}


def order_types(groups: Mapping[Types, int]) -> list[str]:
    """Return the types in an order that suits as many cells as possible.

    It depends only on which types follow each other in cells, so that a new day rarely changes it, and where cells
    contradict each other on how many do.

    Args:
        groups: the types of the items of cells, and how many cells have them.
    """
    kinds = sorted(set(chain.from_iterable(groups)))
    numbers = {kind: number for number, kind in enumerate(kinds)}
    pairs: Counter[tuple[int, int]] = Counter()
    for group, cells in groups.items():
        for first, second in pairwise(group):
            pairs[numbers[first], numbers[second]] += cells
    return [kinds[number] for number in _sort_topologically(len(kinds), pairs)]


def _sort_topologically(size: int, pairs: Mapping[tuple[int, int], int]) -> list[int]:
    """Return 0 to `size` - 1 so that the first of each pair comes first; in a cycle the lightest pairs lose."""
    after: list[list[int]] = [[] for _ in range(size)]
    waits_for = [0] * size
    for (first, second), weight in pairs.items():
        if first != second:
            after[first].append(second)
            waits_for[second] += weight
    ready = [number for number in range(size) if not waits_for[number]]
    remaining, order = dict.fromkeys(range(size)), []
    while remaining:
        number = heapq.heappop(ready) if ready else min(remaining, key=waits_for.__getitem__)
        if number not in remaining:
            continue  # it was taken to break a cycle
        del remaining[number]
        order.append(number)
        for other in after[number]:
            waits_for[other] -= pairs[number, other]
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
