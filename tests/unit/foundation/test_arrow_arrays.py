"""Conversions between Arrow and numpy."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.arrow_arrays import to_array, to_arrow_array, to_numpy, to_string_array

KINDS = [pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64(), pa.timestamp("us", "UTC")]


@given(st.sampled_from(KINDS), st.lists(st.integers(0, 127)), st.integers(0, 5))
def test_numbers_are_viewed_without_a_copy(kind: pa.DataType, values: list[int], skipped: int) -> None:
    """Any width, also of a slice of an array."""
    array = pa.array(values, pa.int64()).cast(kind)
    found = to_numpy(array.slice(skipped))
    assert found.tolist() == values[skipped:]
    assert to_arrow_array(found, kind).equals(array.slice(skipped))


@given(st.lists(st.text()))
def test_texts_equal_those_of_arrow(words: list[str]) -> None:
    """Text in any script gives the same array as Arrow's own conversion."""
    found = to_string_array(words)
    found.validate(full=True)
    assert found.equals(pa.array(words, pa.string()))


def _lists_of(cells: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.none() | cells, max_size=4)


LEAVES = [st.text(max_size=3), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans()]
OF_ONE_KIND = st.recursive(
    st.sampled_from(LEAVES),
    lambda kinds: (
        kinds.map(_lists_of)
        | st.lists(kinds, min_size=1, max_size=3).map(
            lambda some: st.fixed_dictionaries({"id": some[0]}, optional=dict(zip("xyz", some, strict=False)))
        )
    ),
    max_leaves=4,
)


@given(OF_ONE_KIND.flatmap(_lists_of))
def test_values_equal_those_of_arrow(values: list[Any]) -> None:
    """Texts, numbers, flags, and lists and objects of them, with and without nulls, have the type that Arrow infers."""
    found = to_array(values)
    found.validate(full=True)
    assert found.equals(pa.array(values))


@pytest.mark.parametrize("values", [["1", 1], [[1], ["1"]], [True, 1], [{}], [{"a": 1}, {"a": "1"}], [date.min]])
def test_values_of_several_kinds_have_no_type(values: list[Any]) -> None:
    """Neither do objects without fields, and what JSON does not have."""
    with pytest.raises(TypeError, match="several kinds"):
        to_array(values)


def test_strided_arrays_are_copied() -> None:
    """Every second number is copied, because Arrow has no strides."""
    assert to_arrow_array(np.arange(6)[::2], pa.int64()).to_pylist() == [0, 2, 4]
