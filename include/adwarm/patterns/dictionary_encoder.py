"""Gives each word of a dictionary column one code that holds over batches, however the batches' dictionaries differ."""

import numpy as np
import pyarrow as pa

from adwarm.foundation.arrow_arrays import Codes, Ints, to_numpy, to_string_array


class DictionaryEncoder:
    """Codes count up from zero in the order of first appearance."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._codes: dict[str, int] = {}
        self._last: tuple[pa.Array, Codes | None] | None = None

    def encode(self, word: str) -> int:
        """Return the code of `word`, a new one if it has none."""
        code = self._codes.setdefault(word, len(self._codes))
        if code == len(self.values):
            self.values.append(word)
        return code

    def encode_column(self, column: pa.DictionaryArray) -> Codes:
        """Return the code of each value of a column without nulls."""
        places: Codes = to_numpy(column.indices)
        words = column.dictionary
        if self._last is None or not (self._last[0] is words or self._last[0].equals(words)):
            known = np.array([self.encode(word) for word in words.to_pylist()], np.int32)
            # A reader's own dictionary only grows, so that its codes are ours already.
            same = bool((known == np.arange(len(known))).all())
            self._last = (words, None if same else known)
        known_codes = self._last[1]
        return places if known_codes is None else known_codes[places]

    def sorted_values(self) -> tuple[pa.Array, Ints]:
        """Return the words in order, and the place of each code among them."""
        order = np.argsort(np.array(self.values, dtype=object), kind="stable")
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return to_string_array([self.values[at] for at in order]), ranks
