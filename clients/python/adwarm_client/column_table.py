"""Rows, and rows by column: one list per field, the field's name once."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

Row = dict[str, Any]
"""One insights row: numbers as the platform's numeric strings, ids as text, lists of actions as lists.

It always has `date_start`, `date_stop` and the id of its level; a metric that is zero or undefined may be missing.
"""
_BLOCK_ROWS = 512
"""Rows that are read at a time: few enough that they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class ColumnTable:
    """Rows by column. A column without any value is left out.

    Attributes:
        columns: the values of each field, in the order of the rows and by sorted name; None where a row has no value.
    """

    rows: int
    columns: dict[str, list[Any]]

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> "ColumnTable":
        """Return the columns of rows. A value of None counts as no value."""
        columns: dict[str, list[Any]] = {}
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = read_fields(rows[start : start + _BLOCK_ROWS])
            no_values = [None] * min(_BLOCK_ROWS, len(rows) - start)
            for name in block.keys() - columns.keys():
                columns[name] = [None] * start
            for name, values in columns.items():
                values.extend(block.get(name, no_values))
        return cls._without_empty_columns(len(rows), dict(sorted(columns.items())))

    @classmethod
    def _without_empty_columns(cls, rows: int, columns: dict[str, list[Any]]) -> "ColumnTable":
        return cls(rows, {name: column for name, column in columns.items() if any(v is not None for v in column)})

    @classmethod
    def concatenate(cls, tables: Sequence["ColumnTable"]) -> "ColumnTable":
        """Return the rows of all tables, one table after another."""
        columns: dict[str, list[Any]] = {}
        for name in sorted(set().union(*(table.columns for table in tables))):
            parts = (table.columns.get(name) or [None] * table.rows for table in tables)
            columns[name] = list(chain.from_iterable(parts))
        return cls._without_empty_columns(sum(table.rows for table in tables), columns)

    def take(self, rows: Sequence[int]) -> "ColumnTable":
        """Return the table with these rows, by number, in this order."""
        return ColumnTable(len(rows), {name: [values[row] for row in rows] for name, values in self.columns.items()})

    def to_rows(self) -> list[Row]:
        """Return the rows; a row has the fields that have a value."""
        names = tuple(self.columns)
        if not names:
            return [{} for _ in range(self.rows)]
        rows = zip(*self.columns.values(), strict=True)
        if not any(None in values for values in self.columns.values()):
            return [dict(zip(names, row, strict=True)) for row in rows]
        return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]


def read_fields(rows: Sequence[Row], skip: AbstractSet[str] = frozenset()) -> dict[str, list[Any]]:
    """Return the values of each field that a row has, except those to `skip`; None where a row does not have it.

    The fields of rows that all have the same ones are in the order of the first row.
    """
    first = rows[0].keys() if rows else skip
    if list(map(len, rows)).count(len(first)) == len(rows):
        with suppress(KeyError):  # most rows have the same fields
            return {name: list(map(itemgetter(name), rows)) for name in first if name not in skip}
    return {name: _read_field(rows, name) for name in set().union(*rows) - skip}


def _read_field(rows: Sequence[Row], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))  # twice as fast as `get`, and most columns are complete
    except KeyError:
        return [row.get(name) for row in rows]
