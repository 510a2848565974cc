"""Encodes the text columns of a log: each distinct value is validated once and then represented by a code."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from adwarm.foundation.arrow_arrays import (
    CONVERSION_ERRORS,
    Codes,
    to_numpy,
    to_python_values,
)
from adwarm.foundation.dictionary_encoder import DictionaryEncoder
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm.model import Actor, normalize_account_id
from adwarm.model.windows import validate_date_range

REJECTED = -1
_CACHE_LIMIT = 500_000
_CACHE_MAX_LENGTH = 256
"""Longer raw values are not cached, so that hostile ones take no memory."""
_NOT_TEXT = "\0"
"""Stands for values that are not text. It has no canonical form where one is required."""


class ValueEncoder(dict[Any, int]):
    """Maps a raw value to the code of its canonical form; `REJECTED` when it has none.

    Codes are stable for the life of the encoder. The cache of raw values is bounded. The canonical values are not: the
    result contains each of them.

    Args:
        canonical: returns the canonical form of a value or of a missing one, None when there is none.
    """

    def __init__(self, canonical: Callable[[str | None], str | None]) -> None:
        super().__init__()
        self._canonical = canonical
        self._encoder = DictionaryEncoder()
        self._last: tuple[pa.Array, Codes] | None = None

    def __missing__(self, raw: Any) -> int:
        if type(raw) is int:  # not cached: as a key, 1 equals True and 1.0
            return self._code(str(raw) if abs(raw) < 10**20 else _NOT_TEXT)
        if raw is not None and type(raw) is not str:
            return self._code(_NOT_TEXT)
        if raw is not None and len(raw) > _CACHE_MAX_LENGTH:
            return self._code(raw)
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        code = self[raw] = self._code(raw)
        return code

    def _code(self, raw: str | None) -> int:
        value = self._canonical(raw)
        return REJECTED if value is None else self._encoder.encode(value)

    def encode(self, values: Iterable[Any]) -> Codes:
        """Return the code of each of `values`."""
        values = list(values)
        try:
            return np.fromiter(map(self.__getitem__, values), np.int32, len(values))
        except TypeError:  # a list or an object instead of text
            return np.fromiter((self._encode_any(value) for value in values), np.int32, len(values))

    def _encode_any(self, value: Any) -> int:
        return self._code(_NOT_TEXT) if isinstance(value, (list, dict)) else self[value]

    def encode_column(self, column: pa.Array) -> Codes:
        """Return the code of each value of an Arrow column.

        Raises:
            ArrowInvalid: the column is damaged.
        """
        if not pa.types.is_dictionary(column.type):
            try:
                column = column.cast(pa.string()).dictionary_encode()
            except CONVERSION_ERRORS:  # some values are not text
                return self.encode(to_python_values(column))
        dictionary = column.dictionary
        if self._last is None or not self._last[0].equals(dictionary):  # a row group's batches share their dictionary
            self._last = (dictionary, self.encode([*to_python_values(dictionary), None]))
        codes, nullable = self._last[1], column.indices
        if column.null_count:
            nullable = nullable.fill_null(len(codes) - 1)
        indices: Codes = to_numpy(nullable)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(codes):
            raise pa.ArrowInvalid("a value points to a dictionary entry that does not exist")
        return codes[indices]

    def to_arrow(self, codes: Codes) -> pa.DictionaryArray:
        """Return `codes`, none of them rejected, as an Arrow column."""
        return self._encoder.to_arrow(codes)


def account_encoder() -> ValueEncoder:
    """Return an encoder of account ids."""
    return ValueEncoder(_checked(normalize_account_id))


def date_range_encoder() -> ValueEncoder:
    """Return an encoder of date presets and absolute ranges."""
    return ValueEncoder(_checked(lambda text: validate_date_range(text.strip())))


def report_encoder(configured: Iterable[str]) -> ValueEncoder:
    """Return an encoder of the names of configured reports; a missing name means the default report."""
    names = {*configured, "default"}
    return ValueEncoder(lambda text: text if text in names else "default" if not text else None)


def time_zone_encoder() -> ValueEncoder:
    """Return an encoder of IANA zones; an unknown zone becomes empty."""

    def canonical(text: str | None) -> str:
        if not text or len(text) > 64:
            return ""
        try:
            return str(zone(text.strip()))
        except BadRequest:
            return ""

    return ValueEncoder(canonical)


def actor_encoder() -> ValueEncoder:
    """Return an encoder of actor classes; an unknown class becomes human."""
    actors = {str(actor) for actor in Actor}

    def canonical(text: str | None) -> str:
        name = text.strip().lower() if text else ""
        return name if name in actors else str(Actor.HUMAN)

    return ValueEncoder(canonical)


def _checked(check: Callable[[str], str]) -> Callable[[str | None], str | None]:
    def canonical(text: str | None) -> str | None:
        if not text:
            return None
        try:
            return check(text)
        except BadRequest:
            return None

    return canonical
