"""Tests of orders by columns of numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.ordering import order_by


@given(st.lists(st.tuples(*[st.one_of(st.integers(0, 3), st.integers(0, 2**40))] * 3), min_size=1))
def test_rows_are_ordered_the_same_however_wide_their_numbers(rows: list[tuple[int, int, int]]) -> None:
    """Rows sorted by one packed key, or by column where it does not fit, are in the order of their tuples."""
    order = order_by(list(np.array(rows, np.int64).T))
    assert [rows[at] for at in order] == sorted(rows)


@given(st.lists(st.tuples(st.integers(0, 3), st.one_of(st.integers(0, 3), st.integers(0, 2**30 - 1))), min_size=1))
def test_equal_rows_stay_in_their_order(rows: list[tuple[int, int]]) -> None:
    """A stable order of numbers of 16, 32 and more bits is the one that Python's stable sort makes."""
    for columns in ([0], [0, 1], [1, 1]):
        values = [np.array([row[column] for row in rows], np.int64) for column in columns]
        order = order_by(values, "stable").tolist()
        assert order == sorted(range(len(rows)), key=lambda at: [rows[at][column] for column in columns])
