"""Encodes the text columns of a log: each distinct value is validated once and then represented by a code."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from adwarm.foundation.arrow_arrays import (
    CONVERSION_ERRORS,
    Codes,
    DictionaryEncoder,
    to_numpy,
    to_python_values,
)
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm.model import Actor, normalize_account_id

REJECTED = -1
_CACHE_LIMIT = 500_000
_CACHE_MAX_LENGTH = 256
"""Longer raw values are not cached, so that hostile ones take no memory."""
_NOT_TEXT = "\0"
"""Stands for values that are not text. It has no canonical form where one is required."""
_EXACT_FLOAT = 2.0**53
_WHOLE = re.compile(r"([0-9]{1,20})\.0*")
_SCIENTIFIC = re.compile(r"([0-9])(?:\.([0-9]{1,20}))?[eE]\+([0-9]{1,2})")
_NO_IDS = frozenset({"null", "none", "nan", "undefined"})
"""What programs write where they have no id."""
_REJECTED_KEPT = 10

Canonical = Callable[[str | None], str | None]
"""Returns the canonical form of a value, or of a missing one; None when there is none."""


class ValueEncoder(dict[Any, int]):
    """Maps a raw value to the code of its canonical form; `REJECTED` when it has none.

    Codes are stable for the life of the encoder. The cache of raw values is bounded. The canonical values are not: the
    result contains each of them.

    Args:
        canonical: returns the canonical form of a value or of a missing one, None when there is none.

    Attributes:
        rejected: some of the values that have no canonical form.
    """

    def __init__(self, canonical: Canonical, default: str | None = None) -> None:
        super().__init__()
        self.rejected: set[str] = set()
        self._default = default
        self._canonical = canonical
        self._encoder = DictionaryEncoder()
        self._last: tuple[pa.Array, Codes] | None = None

    def __missing__(self, raw: Any) -> int:
        if type(raw) is int:  # not cached: as a key, 1 equals True and 1.0
            return self._code(str(raw) if abs(raw) < 10**20 else _NOT_TEXT)
        if type(raw) is float:  # an identifier that a table stores as a number
            is_exact = raw.is_integer() and abs(raw) < _EXACT_FLOAT
            return self._code(str(int(raw)) if is_exact else None if raw != raw else _NOT_TEXT)
        if raw is not None and type(raw) is not str:
            return self._code(_NOT_TEXT)
        if raw is not None and len(raw) > _CACHE_MAX_LENGTH:
            return self._code(raw)
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        code = self[raw] = self._code(raw)
        return code

    def _code(self, raw: str | None) -> int:
        value = self._canonical(raw or self._default)
        if value is None and raw and len(self.rejected) < _REJECTED_KEPT:
            self.rejected.add(raw[:_CACHE_MAX_LENGTH])
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
            if pa.types.is_floating(column.type):
                return self.encode(to_python_values(column))
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

    def get_value(self, code: int) -> str:
        """Return the canonical value of a code."""
        return self._encoder.values[code]

    def to_arrow(self, codes: Codes) -> pa.DictionaryArray:
        """Return `codes`, none of them rejected, as an Arrow column."""
        return self._encoder.to_arrow(codes)


def account_encoder(default: str | None = None, normalize: Callable[[str], str] = normalize_account_id) -> ValueEncoder:
    """Return an encoder of account ids; one that a table wrote as `1234.0` or `1.234E+3` is understood when exact."""
    return ValueEncoder(_checked(lambda text: normalize(_undo_number(text))), default)


def date_range_encoder(read: Callable[[str], str], default: str | None = None) -> ValueEncoder:
    """Return an encoder of date ranges; see `date_range_reader`."""
    return ValueEncoder(_checked(read), default)


def report_encoder(configured: Iterable[str], default: str | None = None) -> ValueEncoder:
    """Return an encoder of the names of configured reports; a missing name means the default report."""
    names = {*configured, "default"}
    return ValueEncoder(lambda text: text if text in names else "default" if not text else None, default)


def time_zone_encoder(default: str | None = None) -> ValueEncoder:
    """Return an encoder of IANA zones; an unknown zone becomes empty, and is recorded among the rejected values."""

    def canonical(text: str | None) -> str:
        if not text:
            return ""
        try:
            return str(zone(text.strip())) if len(text) <= 64 else _record(encoder, text)
        except BadRequest:
            return _record(encoder, text)

    encoder = ValueEncoder(canonical, default)
    return encoder


def actor_encoder(default: str | None = None) -> ValueEncoder:
    """Return an encoder of actor classes; an unknown class becomes human, and is recorded among the rejected values."""
    actors = {str(actor) for actor in Actor}

    def canonical(text: str | None) -> str:
        name = text.strip().lower() if text else ""
        if name and name not in actors:
            _record(encoder, name)
        return name if name in actors else str(Actor.HUMAN)

    encoder = ValueEncoder(canonical, default)
    return encoder


def _record(encoder: ValueEncoder, text: str) -> str:
    if text != _NOT_TEXT and len(encoder.rejected) < _REJECTED_KEPT:
        encoder.rejected.add(text[:_CACHE_MAX_LENGTH])
    return ""


def _undo_number(text: str) -> str:
    """Return the digits of an account id that was written as a number, if none of them was rounded away."""
    text = text.strip().lstrip("'")
    word = text.lower()
    if word in _NO_IDS:
        return ""
    if word.startswith("act_") and word[4:].isdecimal():
        return word
    if match := _WHOLE.fullmatch(text):
        return match[1]
    if not (match := _SCIENTIFIC.fullmatch(text)):
        return text
    fraction, exponent = match[2] or "", int(match[3])
    is_exact = len(fraction) >= exponent and not fraction[exponent:].strip("0")
    return match[1] + fraction[:exponent] if is_exact else text


def _checked(check: Callable[[str], str]) -> Canonical:
    def canonical(text: str | None) -> str | None:
        if not text:
            return None
        try:
            return check(text)
        except BadRequest:
            return None

    return canonical
