"""Parses the timestamps of logs, by column, into microseconds since 1970 in UTC.

Numbers are seconds, milliseconds, microseconds or nanoseconds, depending on their size; text is ISO 8601, in UTC where
it names no zone. Anything else, and any time outside 1990 to 2100, becomes `INVALID`; nothing raises.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.foundation.arrow_arrays import Micros, to_numpy, to_python_values

INVALID = np.iinfo(np.int64).min
SECOND = 1_000_000
HOUR = 3_600 * SECOND
_NUMBER = re.compile(r"-?[0-9]{1,25}(\.[0-9]{0,25})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return an aware `moment` as microseconds since the epoch."""
    return (moment - _EPOCH) // _TICK


def from_micros(micros: int) -> datetime:
    """Return the UTC moment `micros` after the epoch."""
    return _EPOCH + timedelta(microseconds=int(micros))


EARLIEST, LATEST = (to_micros(datetime(year, 1, 1, tzinfo=UTC)) for year in (1990, 2100))


def parse_values(values: Sequence[Any]) -> Micros:
    """Return raw values of a log as microseconds."""
    kinds = set(map(type, values))
    found = None
    if kinds == {str}:
        found = _iso_column(values)
    elif kinds == {int}:
        found = _integer_column(values)
    if found is None:
        found = np.fromiter(map(_parse_one, values), np.int64, len(values))
    return mark_implausible(found)


def parse_column(column: pa.Array) -> Micros:
    """Return an Arrow column of timestamps, dates, numbers or text as microseconds."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        exact = pc.cast(column, pa.timestamp("us", zone), safe=False)
        micros = pc.cast(exact, pa.int64())
        if micros.null_count:
            micros = pc.fill_null(micros, INVALID)
        return mark_implausible(to_numpy(micros))
    if pa.types.is_integer(kind) and not column.null_count:
        return mark_implausible(_to_microseconds(to_numpy(column).astype(np.int64)))
    return parse_values(to_python_values(column))


def mark_implausible(micros: Micros) -> Micros:
    """Return `micros` with times outside 1990 to 2100 replaced by `INVALID`."""
    if len(micros) and micros.min() >= EARLIEST and micros.max() < LATEST:
        return micros
    return np.where((micros < EARLIEST) | (micros >= LATEST), INVALID, micros)


def _iso_column(values: Sequence[str]) -> Micros | None:
    texts = pa.array(values, pa.string())
    for kind in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            return np.array(pc.cast(pc.cast(texts, kind), pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)
        except pa.ArrowInvalid:
            continue
    return None


def _integer_column(values: Sequence[int]) -> Micros | None:
    try:
        return _to_microseconds(np.array(values, dtype=np.int64))
    except OverflowError:
        return None


def _to_microseconds(numbers: Micros) -> Micros:
    size = np.abs(numbers)
    result = np.where(size >= 10**17, numbers // 1000, numbers)
    result = np.where((size >= 10**11) & (size < 10**14), numbers * 1000, result)
    return np.where(size < 10**11, numbers * SECOND, result)


def _parse_one(value: Any) -> int:
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, datetime):
        return to_micros(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return INVALID
    return _parse_number(value)


def _parse_text(text: str) -> int:
    if len(text) > 40:
        return INVALID
    if _NUMBER.fullmatch(text):
        return _parse_number(float(text) if "." in text else int(text))
    try:
        moment = datetime.fromisoformat(text)
        return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return INVALID


def _parse_number(number: float) -> int:
    if isinstance(number, float) and not math.isfinite(number):
        return INVALID
    size = abs(number)
    if size >= 10**20:
        return INVALID
    if size >= 10**17:
        return int(number // 1000)
    if size >= 10**14:
        return int(number)
    return round(number * (1000 if size >= 10**11 else SECOND))
