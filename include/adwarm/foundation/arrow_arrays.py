"""Converts between Arrow and numpy, and without pandas, which Arrow's own conversions import.

`pa.array`, `pa.scalar`, `empty_table`, literals in `pyarrow.compute` and `to_numpy` of its arrays do so, which takes a
third of a second and 35 MB in each process.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Ints16 = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.object_]
Micros = Ints
"""Moments in microseconds since 1970, UTC."""
Codes = Ints32
"""Numbers that stand for values of a dictionary."""

CONVERSION_ERRORS = (ValueError, ArithmeticError, LookupError, NotImplementedError)
"""Raised for text that is not UTF-8, timestamps out of range, and unknown time zones."""


def to_numpy(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return an Arrow column of integers or timestamps without nulls as a read-only view, if it is in one piece."""
    kind = np.dtype(f"{'u' if pa.types.is_unsigned_integer(array.type) else 'i'}{array.type.bit_width // 8}")
    if not len(array):
        return np.empty(0, kind)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


def to_python_values(column: pa.Array) -> list[Any]:
    """Return the values of a column. A value that Python cannot represent becomes bytes, which no column accepts."""
    try:
        values = column.to_pylist()
    except CONVERSION_ERRORS:
        values = [_value(column, row) for row in range(len(column))]
    return [_text(value) if type(value) is bytes else value for value in values]


def format_row(batch: pa.RecordBatch, row: int) -> str:
    """Return a row as text, whatever values it has."""
    return str({name: _value(column, row) for name, column in zip(batch.schema.names, batch.columns, strict=True)})


def _value(column: pa.Array, row: int) -> Any:
    try:
        return column[row].as_py()
    except CONVERSION_ERRORS:
        return b"\xff"


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def to_arrow_array(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return numbers as an Arrow array of `kind`, which must have the same width."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def to_string_array(values: Sequence[str | None]) -> pa.Array:
    """Return texts as an Arrow array; None is null."""
    has_nulls = None in values
    texts: Sequence[Any] = [value or "" for value in values] if has_nulls else values
    joined = "".join(texts)
    sizes = map(len, texts) if joined.isascii() else (len(text.encode()) for text in texts)
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(sizes, np.int32, len(texts)), out=ends[1:])
    valid = _bits(np.array([value is not None for value in values], np.bool_)) if has_nulls else None
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(joined.encode()), valid)


def to_array(values: Sequence[Any]) -> pa.Array:
    """Return JSON values of one kind as an Arrow array of the type that `pa.array` infers; None is null.

    Raises:
        TypeError: values, or those in their lists and objects, are of several kinds.
        OverflowError: an integer has more than 64 bits.
    """
    kinds = {*map(type, values)} - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {str}:
        return to_string_array(values)
    is_null = to_bool_array(np.array([value is None for value in values], np.bool_))
    if kinds == {list}:
        ends = np.zeros(len(values) + 1, np.int32)
        np.cumsum([len(value or ()) for value in values], out=ends[1:])
        items = to_array([item for value in values for item in value or ()])
        return pa.ListArray.from_arrays(to_arrow_array(ends, pa.int32()), items, mask=is_null)
    if kinds == {dict} and (names := dict.fromkeys(name for value in values for name in value or ())):
        fields = [to_array([value.get(name) if value else None for value in values]) for name in names]
        return pa.StructArray.from_arrays(fields, [*names], mask=is_null)
    if kinds == {bool}:
        return _with_nulls(pa.bool_(), _bits(np.array([bool(value) for value in values], np.bool_)), values)
    if kinds <= {int, float}:
        numbers = np.array([value or 0 for value in values], np.int64 if kinds == {int} else np.float64)
        return _with_nulls(pa.from_numpy_dtype(numbers.dtype), pa.py_buffer(numbers), values)
    raise TypeError(f"values of several kinds: {sorted(kind.__name__ for kind in kinds)}")


def _with_nulls(kind: pa.DataType, data: pa.Buffer, values: Sequence[Any]) -> pa.Array:
    valid = _bits(np.array([value is not None for value in values], np.bool_)) if None in values else None
    return pa.Array.from_buffers(kind, len(values), [valid, data])


def to_bool_array(values: Bools) -> pa.BooleanArray:
    """Return flags as an Arrow array, such as a mask to filter by."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def _bits(values: Bools) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


class DictionaryEncoder:
    """Numbers strings from zero in the order of their first appearance."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._codes: dict[str, int] = {}
        self._array = to_string_array([])
        # The dictionary of the last column, and its codes; None where they are the column's own.
        self._last: tuple[pa.Array, Codes | None] | None = None

    def encode(self, value: str) -> int:
        """Return the code of `value`, a new one if it has none."""
        code = self._codes.setdefault(value, len(self._codes))
        if code == len(self.values):
            self.values.append(value)
        return code

    def encode_column(self, column: pa.DictionaryArray) -> Codes:
        """Return the code of each value of a column without nulls."""
        indices: Codes = to_numpy(column.indices)
        dictionary = column.dictionary
        if self._last is None or not (self._last[0] is dictionary or self._last[0].equals(dictionary)):
            numbers = self._codes
            codes = np.array([numbers.setdefault(value, len(numbers)) for value in dictionary.to_pylist()], np.int32)
            self.values.extend(islice(numbers, len(self.values), None))
            # The dictionaries of one log reader only grow, so their codes are usually the ones assigned here.
            is_identity = bool((codes == np.arange(len(codes))).all())
            self._last = (dictionary, None if is_identity else codes)
        codes_of_dictionary = self._last[1]
        return indices if codes_of_dictionary is None else codes_of_dictionary[indices]

    def to_arrow(self, codes: Codes) -> pa.DictionaryArray:
        """Return `codes` as an Arrow column whose dictionary holds all values so far."""
        if len(self._array) != len(self.values):
            self._array = to_string_array(self.values)
        return dictionary_column(codes, self._array)

    def sorted_values(self) -> tuple[pa.Array, Ints]:
        """Return the values in order, and the position of each code among them."""
        order = np.argsort(np.array(self.values, dtype=object), kind="stable")
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return to_string_array([self.values[code] for code in order]), ranks


def dictionary_column(codes: Ints | Codes, values: pa.Array) -> pa.DictionaryArray:
    """Return the Arrow column of `values[codes]`."""
    return pa.DictionaryArray.from_arrays(to_arrow_array(codes.astype(np.int32, copy=False), pa.int32()), values)


@contextmanager
def system_memory_pool() -> Iterator[None]:
    """Let Arrow return memory to the system as soon as it is free; its own pool retains about 50 MB."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
