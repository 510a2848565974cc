"""Conversions between Arrow and numpy."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.arrow_arrays import to_arrow_array, to_numpy, to_string_array

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


def test_strided_arrays_are_copied() -> None:
    """Every second number is copied, because Arrow has no strides."""
    assert to_arrow_array(np.arange(6)[::2], pa.int64()).to_pylist() == [0, 2, 4]
