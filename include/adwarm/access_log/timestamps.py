"""Parses the timestamps of logs, by column, into microseconds since 1970 in UTC.

Numbers are seconds, milliseconds, microseconds or nanoseconds, depending on their size; text is ISO 8601, the format of
web server logs or that of an email's date. Where it names no zone, the zone of the rules applies. Anything else, and
any time outside 1990 to 2100, becomes `INVALID`; nothing raises.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.foundation.arrow_arrays import Bools, Micros, to_numpy, to_python_values, to_string_array
from adwarm.foundation.local_time import zone

INVALID = np.iinfo(np.int64).min
SECOND = 1_000_000
HOUR = 3_600 * SECOND
_NUMBER = re.compile(r"-?[0-9]{1,25}(\.[0-9]{0,25})?")
_ZONED = r"(?:[zZ]|UTC|GMT|:[0-9.,]+ ?[+-][0-9]{2}:?(?:[0-9]{2})?)\]?\s*$|^\s*-?[0-9]+(?:\.[0-9]*)?\s*$"
"""Ends a time that names its zone; a number of seconds needs none."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_QUARTER = 900 * SECOND
_LOG_FORMAT = "%d/%b/%Y:%H:%M:%S %z"
_LOG_DAY = re.compile(r"([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):")
_OFFSET = re.compile(r" ([+-][0-9]{2}:?[0-9]{2})$")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_LONGEST = 40
_WITHIN_HOUR = {f"{n // 60:02d}:{n % 60:02d}": n * SECOND for n in range(3600)}
"""Microseconds since the full hour, by `MM:SS`."""


@dataclass(frozen=True, slots=True)
class TimestampRules:
    """How timestamps are read.

    Attributes:
        zone: IANA zone of those that name none.
        format: a format of `strptime` that is tried first.
    """

    zone: str = "UTC"
    format: str | None = None


DEFAULT_RULES = TimestampRules()


def to_micros(moment: datetime) -> int:
    """Return an aware `moment` as microseconds since the epoch."""
    return (moment - _EPOCH) // _TICK


def from_micros(micros: int) -> datetime:
    """Return the UTC moment `micros` after the epoch."""
    return _EPOCH + timedelta(microseconds=int(micros))


EARLIEST, LATEST = (to_micros(datetime(year, 1, 1, tzinfo=UTC)) for year in (1990, 2100))


def parse_values(values: Sequence[Any], rules: TimestampRules = DEFAULT_RULES) -> Micros:
    """Return raw values of a log as microseconds."""
    kinds = set(map(type, values))
    micros = None
    if kinds == {str}:
        micros = None if rules.format else _iso_column(to_string_array(values), rules)
    elif kinds == {int}:
        micros = _integer_column(values)
    if micros is None:
        micros = np.fromiter((_parse_one(value, rules) for value in values), np.int64, len(values))
    return mark_implausible(micros)


def parse_column(column: pa.Array, rules: TimestampRules = DEFAULT_RULES) -> Micros:
    """Return an Arrow column of timestamps, dates, numbers or text as microseconds."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone_name = kind.tz if pa.types.is_timestamp(kind) else None
        exact = pc.cast(column, pa.timestamp("us", zone_name), safe=False)
        micros = pc.cast(exact, pa.int64())
        if micros.null_count:
            micros = pc.fill_null(micros, INVALID)
        plausible = mark_implausible(to_numpy(micros))
        return plausible if zone_name else to_utc(plausible, rules)
    if pa.types.is_integer(kind) and not column.null_count:
        return mark_implausible(_to_microseconds(to_numpy(column).astype(np.int64)))
    if pa.types.is_string(kind) and not column.null_count and not rules.format:
        micros = _iso_column(column, rules)
        if micros is not None:
            return mark_implausible(micros)
    return parse_values(to_python_values(column), rules)


def find_local(values: Sequence[Any] | pa.Array) -> Bools:
    """Return which times are on some clock without saying of which zone."""
    if isinstance(values, pa.Array):
        if pa.types.is_timestamp(values.type):
            return np.full(len(values), values.type.tz is None)
        if pa.types.is_string(values.type) and pc.all(pc.ends_with(values, "Z"), skip_nulls=False).as_py():
            return np.zeros(len(values), np.bool_)
        values = to_python_values(values)
    kinds = set(map(type, values))
    if kinds == {int} or (kinds == {str} and {text[-1:] for text in values} == {"Z"}):  # most logs, ten times as fast
        return np.zeros(len(values), np.bool_)
    if kinds == {str}:
        texts = pa.array(values, pa.string())
        return ~np.asarray(pc.match_substring_regex(texts, _ZONED).to_numpy(zero_copy_only=False), np.bool_)
    is_local = (
        re.search(_ZONED, value) is None
        if isinstance(value, str)
        else isinstance(value, datetime) and value.tzinfo is None
        for value in values
    )
    return np.fromiter(is_local, np.bool_, len(values))


def mark_implausible(micros: Micros) -> Micros:
    """Return `micros` with times outside 1990 to 2100 replaced by `INVALID`."""
    if len(micros) and micros.min() >= EARLIEST and micros.max() < LATEST:
        return micros
    return np.where((micros < EARLIEST) | (micros >= LATEST), INVALID, micros)


def parse_log_time(text: str) -> int | None:
    """Return the time of a web server's log, such as `25/Nov/2026:09:00:00 +0100`; None when it is none."""
    within = _WITHIN_HOUR.get(text[15:20])  # only the hour is parsed, and remembered: each line has another second
    if within is None or text[14] != ":":
        return _parse_log_time(text)
    hour = _parse_log_time(f"{text[:15]}00:00{text[20:]}")
    return None if hour is None else hour + within


@lru_cache(maxsize=4096)
def _parse_log_time(text: str) -> int | None:
    try:
        return to_micros(datetime.strptime(text, _LOG_FORMAT).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def to_utc(micros: Micros, rules: TimestampRules) -> Micros:
    """Return times of the rules' zone as UTC. Of an hour that occurs twice, the first is meant."""
    if rules.zone == "UTC" or not len(micros):
        return micros
    quarters, row = np.unique(micros // _QUARTER, return_inverse=True)  # zones change their clocks at whole quarters
    here = zone(rules.zone)
    offsets = np.zeros(len(quarters), np.int64)
    for index, quarter in enumerate(quarters.tolist()):
        if EARLIEST <= quarter * _QUARTER < LATEST:
            local = from_micros(quarter * _QUARTER).replace(tzinfo=here)
            offsets[index] = (local.utcoffset() or timedelta()) // _TICK
    return np.where(micros == INVALID, INVALID, micros - offsets[row])


def _iso_column(texts: pa.Array, rules: TimestampRules) -> Micros | None:
    for kind in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            cast = pc.cast(pc.cast(texts, kind), pa.int64())
        except pa.ArrowInvalid:
            continue
        micros = to_numpy(cast).astype(np.int64)
        return micros if kind.tz else to_utc(micros, rules)
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


def _parse_one(value: Any, rules: TimestampRules) -> int:
    if isinstance(value, str):
        return _parse_text(value.strip(), rules)
    if isinstance(value, datetime):
        return _to_moment(value, rules)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return INVALID
    return _parse_number(value)


def _to_moment(moment: datetime, rules: TimestampRules) -> int:
    return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=zone(rules.zone), fold=0))


def _parse_text(text: str, rules: TimestampRules) -> int:
    if len(text) > _LONGEST:
        return INVALID
    if rules.format:
        try:
            return _to_moment(datetime.strptime(text, rules.format), rules)  # noqa: DTZ007 - the rules name the zone
        except (ValueError, OverflowError):
            text = text.strip()  # other notations are understood beside the one in the settings
    text = text.strip("[]")
    if _NUMBER.fullmatch(text):
        return _parse_number(float(text) if "." in text else int(text))
    try:
        return _to_moment(datetime.fromisoformat(_as_iso(text)), rules)
    except (ValueError, OverflowError):
        return _parse_words(text)


def _as_iso(text: str) -> str:
    """Return `2026/11/25 09:00:00 UTC`, `25/Nov/2026:09:00:00 +0100` and the like as ISO 8601."""
    if day := _LOG_DAY.match(text):
        text = f"{day[3]}-{_MONTHS.find(day[2]) // 3 + 1:02d}-{day[1]}T{text[day.end() :]}"
    text = _OFFSET.sub(r"\1", text)
    for name in (" UTC", " GMT", "UTC"):
        if text.endswith(name):
            text = text[: -len(name)] + "+00:00"
    return text.replace("/", "-", 2) if text[4:5] == "/" else text


def _parse_words(text: str) -> int:
    """Return the time of an email's date, which names the month and the zone."""
    try:
        moment = parsedate_to_datetime(text) if "," in text[:4] else None
        return to_micros(moment) if moment is not None and moment.tzinfo else INVALID
    except (ValueError, OverflowError, TypeError):
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
