"""Codes for the values of dictionary columns that hold over batches, although each batch brings its own dictionary."""

import numpy as np
import pyarrow as pa

from adwarm.foundation.arrow_arrays import Codes, Ints, to_arrow_array, to_numpy, to_string_array


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
            codes = np.array([self.encode(value) for value in dictionary.to_pylist()], np.int32)
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
