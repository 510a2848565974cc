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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any

import orjson

from adwarm_client.column_table import ColumnTable, read_fields
from adwarm_client.derived_columns import BY

_MAX_EXCEPTIONS = 1 / 8
"""Of the cells with a value; a column with more of them is not pivoted."""
_MAX_SPARSENESS = 12
"""Places in a pivoted column per value. In JSON an item takes about twelve times the bytes of a null."""
_BLOCK_ROWS = 256
"""Rows that are encoded at a time: few enough that their objects stay in the processor's cache."""
_NO_VALUES = b",".join([b"null"] * _BLOCK_ROWS)

Fields = dict[str, list[Any]]
"""A list of values by field."""
Types = tuple[str, ...]
"""The types of the items of a cell."""


def pivot_columns(table: ColumnTable) -> dict[str, list[Any] | orjson.Fragment]:
    """Return the columns as the document holds them, for `orjson.dumps`.

    A column of actions is pivoted where that is exact and pays. Columns are encoded block by block, which takes two
    thirds of the time in large tables: the objects of a row lie together in memory, those of a column far apart.
    """
    columns = {name: _make_encoder(values) for name, values in table.columns.items()}
    for start in range(0, table.rows, _BLOCK_ROWS):
        for column in columns.values():
            column.add_block(start)
    return {name: column.finish() for name, column in columns.items()}


class _PlainColumn:
    """Encodes a column as a list."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values
        self._blocks: list[bytes] = []

    def add_block(self, start: int) -> None:
        """Encode the block of rows that begins at `start`."""
        if len(self._values) > _BLOCK_ROWS:
            self._blocks.append(orjson.dumps(self._values[start : start + _BLOCK_ROWS])[1:-1])

    def finish(self) -> list[Any] | orjson.Fragment:
        """Return the column."""
        return orjson.Fragment(_join_blocks(self._blocks)) if self._blocks else self._values


class _ActionColumn:
    """Encodes a column pivoted by type, or as a list where that is not exact or does not pay.

    Args:
        values: the cells, None where a row has no value.
        exceptions: rows that are exceptions whatever they hold.
    """

    def __init__(self, values: list[Any], exceptions: Sequence[int] = ()) -> None:
        self._values = values
        self._cells = values.copy() if exceptions else values
        for row in exceptions:
            self._cells[row] = None
        self._exceptions = [*exceptions]
        self._groups: dict[Types, list[int]] = {}
        """The rows by the types of their items."""
        self._lists: dict[str, dict[str, list[bytes]]] = {}
        """By type and field the blocks of its list; the newest ones are left out when they have no value."""
        self._count = 0
        """Values in all lists."""

    def add_block(self, start: int) -> None:
        """Encode the block of rows that begins at `start`."""
        cells = self._cells[start : start + _BLOCK_ROWS]
        if not self._add_cells(cells, start):
            regular = [cell if _is_regular(cell) else None for cell in cells]
            self._exceptions += [start + row for row, cell in enumerate(cells) if cell is not regular[row]]
            self._add_cells(regular, start)

    def finish(self) -> list[Any] | orjson.Fragment:
        """Return the column."""
        order = {kind: place for place, kind in enumerate(order_types(tuple(self._groups)))}
        in_other_order: list[int] = []
        for kinds, rows in self._groups.items():
            if sorted(kinds, key=order.__getitem__) != [*kinds]:
                in_other_order += rows
        exceptions = len(self._exceptions) + len(in_other_order)
        places = len(self._values) * sum(map(len, self._lists.values()))
        cells = len(self._values) - self._values.count(None)
        if exceptions > cells * _MAX_EXCEPTIONS or places > self._count * _MAX_SPARSENESS:
            return self._values
        if in_other_order:
            again = _ActionColumn(self._values, in_other_order)
            for start in range(0, len(self._values), _BLOCK_ROWS):
                again.add_block(start)
            return again.finish()
        column = b'{"by":"%b","items":{%b}' % (BY.encode(), b",".join(self._encode_items(order)))
        if self._exceptions:
            column += b',"exceptions":' + orjson.dumps({
                str(row): self._values[row] for row in sorted(self._exceptions)
            })
        return orjson.Fragment(column + b"}")

    def _add_cells(self, cells: Sequence[Any], start: int) -> bool:
        """Add a block of cells; False: some are not regular, and nothing was added."""
        try:
            groups, odd = _group_cells(cells)
        except (TypeError, KeyError):
            return False
        rows = list(chain.from_iterable(groups.values()))
        decoded = _read_fields(list(chain.from_iterable([cells[row] for row in rows])))
        if decoded is None:
            return False
        fields, count = decoded
        self._count += count
        self._exceptions += [start + row for row in odd]
        for kinds, own in groups.items():
            self._groups.setdefault(kinds, []).extend([start + row for row in own])
        arrange = _arrange(rows, len(cells))
        for name, column in fields.items():
            for kind, values in _split_by_type(groups, column).items():
                if values[0] is not None or any(value is not None for value in values):
                    values.extend([None] * (len(rows) + 1 - len(values)))
                    blocks = self._lists.setdefault(kind, {}).setdefault(name, [])
                    blocks += [_NO_VALUES] * (start // _BLOCK_ROWS - len(blocks))
                    blocks.append(orjson.dumps(arrange(values))[1:-1])
        return True

    def _encode_items(self, kinds: Iterable[str]) -> Iterator[bytes]:
        """Yield the members of `items`, with the name of an earlier type in place of equal lists."""
        holders: dict[bytes, str] = {}
        full, rest = divmod(len(self._values), _BLOCK_ROWS)
        for kind in kinds:
            members = []
            for name, blocks in sorted(self._lists[kind].items()):
                blocks.extend([_NO_VALUES] * (full - len(blocks)))
                if rest and len(blocks) == full:
                    blocks.append(_NO_VALUES[: 5 * rest - 1])
                members.append(orjson.dumps(name) + b":" + _join_blocks(blocks))
            lists = b"{%b}" % b",".join(members)
            holder = holders.setdefault(lists, kind)
            yield orjson.dumps(kind) + b":" + (lists if holder == kind else orjson.dumps(holder))


def _make_encoder(values: list[Any]) -> _PlainColumn | _ActionColumn:
    first = next((cell for cell in values if cell is not None), None)
    return _ActionColumn(values) if isinstance(first, list) else _PlainColumn(values)


def _join_blocks(blocks: Iterable[bytes]) -> bytes:
    return b"[%b]" % b",".join(blocks)


def _group_cells(cells: Sequence[Any]) -> tuple[dict[Types, list[int]], list[int]]:
    """Return the rows of cells by the types of their items, and the rows without items or with a repeated type.

    Raises:
        TypeError, KeyError: a cell is something else than a list of objects with a type.
    """
    kinds = tuple(map(itemgetter(BY), chain.from_iterable([cell for cell in cells if cell is not None])))
    if not _is_all_text(kinds):
        raise TypeError("a type is no text")
    groups: dict[Types, list[int]] = {}
    newest: dict[int, tuple[Types, list[int]]] = {}  # by length; most cells are found here, which needs no hash
    end = 0
    for row, cell in enumerate(cells):
        if cell is not None:
            start, end = end, end + len(cell)
            own = kinds[start:end]
            group = newest.get(end - start)
            if group is None or group[0] != own:
                group = newest[end - start] = own, groups.setdefault(own, [])
            group[1].append(row)
    odd = [own for own in groups if not own or len({*own}) < len(own)]
    return groups, list(chain.from_iterable(map(groups.pop, odd)))


def _arrange(rows: Sequence[int], size: int) -> Callable[[list[Any]], Sequence[Any]]:
    """Return a function that puts values in the order of their rows, and the last value where there is no row.

    Args:
        rows: the row of each value but the last.
        size: number of rows.
    """
    places = [len(rows)] * size
    for place, row in enumerate(rows):
        places[row] = place
    return itemgetter(slice(size)) if size == 1 or places == list(range(size)) else itemgetter(*places)


def _split_by_type(groups: Mapping[Types, Sequence[int]], column: Sequence[Any]) -> Fields:
    """Return the values of a field by type, a value per cell. Nulls at the end are left out.

    Args:
        groups: cells by the types of their items.
        column: the value of each item, in the order of the groups.
    """
    lists: Fields = {}
    cells = start = 0
    for kinds, rows in groups.items():
        end = start + len(kinds) * len(rows)
        for place, kind in enumerate(kinds, start):
            values = lists.setdefault(kind, [])
            values += [None] * (cells - len(values))
            values += column[place : end : len(kinds)]
        start, cells = end, cells + len(rows)
    return lists


def order_types(groups: Iterable[tuple[str, ...]]) -> list[str]:
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


def _read_fields(items: Sequence[dict[str, Any]]) -> tuple[Fields, int] | None:
    """Return the values of each field but the type, and how many there are; None: some items are not regular.

    A value is None where an item does not have the field.
    """
    fields = read_fields(items, skip={BY})
    if fields and all(map(_is_all_text, fields.values())):
        return fields, len(items) * len(fields)
    if any(value != value for column in fields.values() for value in column):  # NaN is null in JSON
        return None
    values = len(items) * len(fields) - sum(column.count(None) for column in fields.values())
    sizes = list(map(len, items))
    has_written_nulls = sum(sizes) != len(items) + values
    return None if has_written_nulls or 1 in sizes else (fields, values)


def _is_all_text(values: Iterable[Any]) -> bool:
    try:
        "".join(values)  # the fastest test of all types
    except TypeError:
        return False
    return True
