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
from itertools import chain, pairwise
from typing import Any

import orjson

from adwarm_client.column_table import read_fields
from adwarm_client.derived_columns import BY, group_by_types

_MAX_EXCEPTIONS = 1 / 8
"""Of the cells with a value; a column with more of them is not pivoted."""
_MAX_SPARSENESS = 12
"""Places in a pivoted column per value. In JSON an item takes about twelve times the bytes of a null."""

Fields = dict[str, list[Any]]
"""A list of values by field."""
Types = tuple[Any, ...]
"""The types of the items of a cell."""


@dataclass(frozen=True, slots=True)
class Pivot:
    """A column by action type.

    Attributes:
        lists: the values of each field by type, in the order of the items of a cell; None where a row has none.
        exceptions: the rows of cells that the lists do not hold, in order.
    """

    lists: dict[str, Fields]
    exceptions: list[int]

    def to_json(self, cells: Sequence[Any]) -> dict[str, Any]:
        """Return the column as the document holds it."""
        texts: dict[bytes, str] = {}
        items: dict[str, Any] = {}
        for kind, fields in self.lists.items():
            text = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
            first = texts.setdefault(text, kind)
            items[kind] = orjson.Fragment(text) if first == kind else first
        exceptions = {str(row): cells[row] for row in self.exceptions}
        return {"by": BY, "items": items, **({"exceptions": exceptions} if exceptions else {})}


def pivot(cells: Sequence[Any]) -> Pivot | None:
    """Return a column of lists by type; None where that is not exact or does not pay."""
    first = next((cell for cell in cells if cell), None)
    if not isinstance(first, list) or not isinstance(first[0], dict) or BY not in first[0]:
        return None
    groups = group_by_types([cell if isinstance(cell, list) else [] for cell in cells])
    order = {kind: place for place, kind in enumerate(order_types([kinds for kinds in groups if _are_texts(kinds)]))}
    lists: dict[str, Fields] = {kind: {} for kind in order}
    exceptions = {row for row, cell in enumerate(cells) if cell is not None}
    present = len(exceptions)
    for kinds, rows in groups.items():
        if _are_texts(kinds) and len({*kinds}) == len(kinds) and [*kinds] == sorted(kinds, key=order.__getitem__):
            exceptions.difference_update(_add_rows(lists, cells, kinds, rows))
    lists = {kind: fields for kind, fields in lists.items() if fields}
    columns = list(chain.from_iterable(fields.values() for fields in lists.values()))
    places, nulls = len(cells) * len(columns), sum(values.count(None) for values in columns)
    if len(exceptions) > present * _MAX_EXCEPTIONS or places > (places - nulls) * _MAX_SPARSENESS:
        return None
    return Pivot(lists, sorted(exceptions))


def _add_rows(lists: Mapping[str, Fields], cells: Sequence[Any], kinds: Types, rows: Sequence[int]) -> Sequence[int]:
    """Add the values of rows of the same types; return the rows that are regular, which were added."""
    fields = _read_items(cells, rows, len(kinds))
    if not all(own and all(map(_are_texts, own.values())) for own in fields):
        rows = [row for row in rows if _is_regular(cells[row])]
        fields = _read_items(cells, rows, len(kinds))
    for kind, own in zip(kinds, fields, strict=True):
        for name, values in own.items():
            column = lists[kind].setdefault(name, [None] * len(cells))
            for row, value in zip(rows, values, strict=True):
                column[row] = value
    return rows


def _read_items(cells: Sequence[Any], rows: Sequence[int], size: int) -> list[Fields]:
    """Return the values of each field of the items at each place of some lists."""
    return [read_fields([cells[row][place] for row in rows], skip={BY}) for place in range(size)]


def _are_texts(values: Iterable[Any]) -> bool:
    return {*map(type, values)} == {str}


def order_types(groups: Iterable[Types]) -> list[str]:
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
