"""Rows come back from columns as they were, whatever their fields and values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import ColumnTable

VALUES = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.floats(allow_nan=False), st.lists(st.none()))
ROWS = st.lists(st.dictionaries(st.sampled_from("abcde"), VALUES, max_size=5), max_size=12)


@given(ROWS)
def test_round_trip(rows: list[dict[str, Any]]) -> None:
    """Rows with any set of fields come back; columns are sorted by name and as long as the table."""
    table = ColumnTable.from_rows(rows)
    assert table.to_rows() == rows
    assert list(table.columns) == sorted(table.columns)
    assert {len(values) for values in table.columns.values()} <= {len(rows)}


def test_a_null_is_no_value() -> None:
    """A row without a field and one with None in it are the same; a column without any value is left out."""
    table = ColumnTable.from_rows([{"a": None, "b": None}, {"b": 1}])
    assert (table.columns, table.to_rows()) == ({"b": [None, 1]}, [{}, {"b": 1}])


@given(st.lists(ROWS, max_size=4))
def test_concatenation(parts: list[list[dict[str, Any]]]) -> None:
    """Tables with different columns become the table of all their rows."""
    tables = [ColumnTable.from_rows(rows) for rows in parts]
    assert ColumnTable.concatenate(tables) == ColumnTable.from_rows([row for rows in parts for row in rows])


@pytest.mark.parametrize("order", [[2, 0, 1], [1], []])
def test_rows_can_be_taken_in_any_order(order: list[int]) -> None:
    """Rows are chosen by their numbers."""
    rows = [{"a": "x"}, {"a": "y", "b": 1}, {"b": 2}]
    assert ColumnTable.from_rows(rows).take(order).to_rows() == [rows[number] for number in order]
