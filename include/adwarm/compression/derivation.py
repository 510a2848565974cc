"""Finds the columns of a table that follow from others, and stores them as formulas.

`adwarm_client.derived_columns` has the formulas, and describes what is stored.
"""

from collections.abc import Sequence
from typing import Any, Final

from adwarm.compression.action_columns import order_types
from adwarm_client.column_table import ColumnTable
from adwarm_client.derived_columns import BY, FORMULAS, Numbers, compute_column

_MAX_EXCEPTIONS: Final = 1 / 2
"""Of the cells of a column; with more it is stored as it is, since an exception takes its row number as well."""


def find_derived_columns(table: ColumnTable) -> dict[str, dict[str, Any]]:
    """Return the columns that are stored as formulas, by name, as the document holds them."""
    columns = {}
    read: dict[str, Numbers] = {}
    for name in table.columns.keys() & FORMULAS.keys():
        if table.columns.keys() >= {FORMULAS[name].dividend, FORMULAS[name].divisor}:
            column = _describe(table, name, read)
            if column is not None:
                columns[name] = column
    return columns


def _describe(table: ColumnTable, name: str, read: dict[str, Numbers]) -> dict[str, Any] | None:
    """Return a column as its formula; None: too many of its cells are not what the formula gives."""
    ratio, cells = FORMULAS[name], table.columns[name]
    types = _list_types(cells)
    computed = compute_column(table.columns, ratio, types, read)
    exceptions = {}
    if computed != cells:
        exceptions = {str(row): cell for row, cell in enumerate(cells) if computed[row] != cell}
    if len(exceptions) > (table.rows - cells.count(None)) * _MAX_EXCEPTIONS:
        return None
    column: dict[str, Any] = {"ratio": (ratio.dividend, ratio.divisor)}
    if ratio.times != 1:
        column["times"] = ratio.times
    if types is not None:
        column["types"] = types
    if exceptions:
        column["exceptions"] = exceptions
    return column


def _list_types(cells: Sequence[Any]) -> list[str] | None:
    """Return the types of the lists of a column in their usual order; None where items have no types."""
    kinds = set()
    for cell in cells:
        if cell is not None:
            try:
                kinds.add(tuple([item[BY] for item in cell]))
            except (TypeError, KeyError):
                return None
    return order_types(kinds) if kinds and all(isinstance(kind, str) for group in kinds for kind in group) else None
