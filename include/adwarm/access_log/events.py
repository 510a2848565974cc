"""Turns raw columns of a log into batches of events in `EVENT_SCHEMA`; invalid rows are rejected one by one."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.access_log import dictionary_columns
from adwarm.access_log.column_mapping import LATENCY_FIELDS, REQUEST_ID, TEXT_FIELDS
from adwarm.access_log.dictionary_columns import REJECTED, ValueEncoder
from adwarm.access_log.timestamps import INVALID, TimestampRules, find_local, parse_column, parse_values, to_utc
from adwarm.foundation.arrow_arrays import (
    Bools,
    Codes,
    Micros,
    to_arrow_array,
    to_bool_array,
    to_float_array,
    to_python_values,
)
from adwarm.foundation.errors import BadRequest
from adwarm.model import PRESETS
from adwarm.settings import Settings
from adwarm_client.date_ranges import validate_date_range

_SEPARATORS = re.compile(r"[^a-z0-9]+")
_DAYS = re.compile(r"(?:the)?(?:last|past|previous|prev|trailing|now)?([0-9]{1,4})(?:d|days?)")
_DAY = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
_BETWEEN = re.compile(rf"{_DAY}\s*(?:\.\.|/|,|;|:|_|\||~|-|\u2013|\u2014|to|\s|&\w{{1,20}}=)\s*{_DAY}")
_OBJECT = re.compile(
    rf"\{{\s*[\"']?(since|until)[\"']?\s*:\s*[\"']?{_DAY}[\"']?\s*,"
    rf"\s*[\"']?(?:since|until)[\"']?\s*:\s*[\"']?{_DAY}[\"']?\s*\}}"
)
_OTHER_WORDS = {
    "last1d": "yesterday",
    "all": "maximum",
    "alltime": "maximum",
    "lifetime": "maximum",
    "max": "maximum",
    "wtd": "this_week",
    "weektodate": "this_week",
    "currentweek": "this_week",
    "mtd": "this_month",
    "monthtodate": "this_month",
    "currentmonth": "this_month",
    "qtd": "this_quarter",
    "quartertodate": "this_quarter",
    "currentquarter": "this_quarter",
    "ytd": "this_year",
    "yeartodate": "this_year",
    "currentyear": "this_year",
    "previousday": "yesterday",
    "previousweek": "last_week",
    "previousmonth": "last_month",
    "previousquarter": "last_quarter",
    "previousyear": "last_year",
}
_BY_WORD = {_SEPARATORS.sub("", name): name for name in PRESETS} | _OTHER_WORDS


def date_range_reader(words: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that turns a range as the log writes it into a preset or an absolute range.

    Args:
        words: further words with the range that each stands for; case and repeated spaces do not matter.

    Raises:
        BadRequest: a word stands for something that is not a date range. The function raises it for unknown words.
    """
    own = {}
    for word, date_range in words.items():
        try:
            own[_fold(word)] = _read_range(date_range)
        except BadRequest as error:
            raise BadRequest(f"ADWARM_ACCESS_LOG__DATE_RANGES: {word[:60]!r}: {error}") from None

    def read(text: str) -> str:
        return own.get(_fold(text)) or _read_range(text)

    return read if own else _read_range


def _read_range(text: str) -> str:
    text = text.strip()
    if text in PRESETS:
        return text
    word = _SEPARATORS.sub("", text.casefold()) if text.isascii() else ""
    days = _DAYS.fullmatch(word)
    word = f"last{int(days[1])}d" if days else word
    if word in _BY_WORD:
        return _BY_WORD[word]
    if match := _BETWEEN.fullmatch(text):
        return validate_date_range(f"{match[1]}..{match[2]}")
    if match := _OBJECT.fullmatch(text):
        days_named = (match[2], match[3]) if match[1] == "since" else (match[3], match[2])
        return validate_date_range("..".join(days_named))
    return validate_date_range(text)


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


_STRINGS = pa.dictionary(pa.int32(), pa.string())

EVENT_SCHEMA = pa.schema([
    pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("account_id", _STRINGS, nullable=False),
    pa.field("date_range", _STRINGS, nullable=False),
    pa.field("report", _STRINGS, nullable=False),
    pa.field("time_zone", _STRINGS, nullable=False),
    pa.field("actor", _STRINGS, nullable=False),
    pa.field("hit", pa.bool_()),
    pa.field("latency_ms", pa.float64()),
])
"""`time_zone` is empty where the log names no valid zone; `actor` is human where the log names no valid actor."""
EVENT_WITH_ID_SCHEMA = EVENT_SCHEMA.append(pa.field(REQUEST_ID, pa.string()))
"""The same, with the request's own id where the log has one."""

Reject = Callable[[str, int], None]
"""Called with the reason and the index of the row within the columns."""

_LONGEST_ID = 128
_ZERO, _NO_NUMBER = to_float_array(np.zeros(2), np.array([True, False]))
_NO_IDS = frozenset({"", "-"})
_FLAGS = {"true": True, "hit": True, "yes": True, "1": True, "false": False, "miss": False, "no": False, "0": False}


class EventBuilder:
    """Validates and encodes the columns of one log; a value seen before costs one dictionary look-up.

    Attributes:
        max_timestamp: later timestamps (microseconds) are rejected as those of a wrong clock; None: no limit.

    Args:
        settings: how the log is read.
        with_request_ids: whether the events are in `EVENT_WITH_ID_SCHEMA`.
    """

    def __init__(self, settings: Settings, *, with_request_ids: bool = False) -> None:
        self.max_timestamp: int | None = None
        self._with_request_ids = with_request_ids
        log = settings.access_log
        self._rules = TimestampRules(log.timestamp_zone or "UTC", log.timestamp_format)
        self._uses_row_zones = log.timestamp_zone is None
        defaults = log.constants
        self._encoders: dict[str, ValueEncoder] = {
            "account_id": dictionary_columns.account_encoder(defaults.get("account_id")),
            "date_range": dictionary_columns.date_range_encoder(
                date_range_reader(log.date_ranges), defaults.get("date_range")
            ),
            "report": dictionary_columns.report_encoder(settings.reports, defaults.get("report")),
            "time_zone": dictionary_columns.time_zone_encoder(defaults.get("time_zone")),
            "actor": dictionary_columns.actor_encoder(defaults.get("actor")),
        }
        self._require_valid(defaults)

    def _require_valid(self, constants: Mapping[str, str]) -> None:
        for name, value in constants.items():
            encoder = self._encoders[name]
            if encoder[None] == REJECTED or encoder.rejected:
                raise BadRequest(f"ADWARM_ACCESS_LOG__CONSTANTS: {value[:60]!r} is not a valid {name}")

    def rejected_values(self) -> dict[str, list[str]]:
        """Return some of the values, by field, that were not understood."""
        return {name: sorted(encoder.rejected) for name, encoder in self._encoders.items() if encoder.rejected}

    def from_lists(self, columns: Mapping[str, Sequence[Any]], rows: int, reject: Reject) -> pa.RecordBatch:
        """Return the events of columns of Python values; a missing column is empty."""
        codes = {
            name: self._encoders[name].encode(columns[name]) if name in columns else self._missing(name, rows)
            for name in TEXT_FIELDS
        }
        hit = _flags(columns["hit"]) if "hit" in columns else pa.nulls(rows, pa.bool_())
        name = _latency_name(columns)
        latency = _in_milliseconds(_durations(columns[name] if name else None, rows), name)
        ids = _ids(columns.get(REQUEST_ID), rows) if self._with_request_ids else None
        micros = parse_values(columns["ts"], self._rules)
        if self._uses_row_zones and "time_zone" in columns:
            micros = self._to_row_zones(micros, columns["ts"], codes["time_zone"])
        return self._batch(micros, codes, (hit, latency, ids), reject)

    def from_arrow(self, batch: pa.RecordBatch, reject: Reject) -> pa.RecordBatch:
        """Return the events of an Arrow batch of a columnar log."""
        rows, names = batch.num_rows, set(batch.schema.names)
        codes = {
            name: self._encoders[name].encode_column(batch.column(name)) if name in names else self._missing(name, rows)
            for name in TEXT_FIELDS
        }
        hit = _flag_column(batch.column("hit")) if "hit" in names else pa.nulls(rows, pa.bool_())
        name = _latency_name(names)
        latency = _in_milliseconds(_duration_column(batch.column(name) if name else None, rows), name)
        raw_ids = to_python_values(batch.column(REQUEST_ID)) if self._with_request_ids and REQUEST_ID in names else None
        ids = _ids(raw_ids, rows) if self._with_request_ids else None
        micros = parse_column(batch.column("ts"), self._rules)
        if self._uses_row_zones and "time_zone" in names:
            micros = self._to_row_zones(micros, batch.column("ts"), codes["time_zone"])
        return self._batch(micros, codes, (hit, latency, ids), reject)

    def _to_row_zones(self, micros: Micros, times: Sequence[Any] | pa.Array, zones: Codes) -> Micros:
        """Return the times with those that name no zone read in the zone of their row."""
        is_local = find_local(times)
        if not is_local.any():
            return micros
        micros = micros.copy()
        encoder = self._encoders["time_zone"]
        for code in np.unique(zones[is_local]).tolist():
            rows = is_local & (zones == code)
            if name := encoder.get_value(code):
                micros[rows] = to_utc(micros[rows], TimestampRules(name))
        return micros

    def _missing(self, name: str, rows: int) -> Codes:
        return np.full(rows, self._encoders[name][None], np.int32)

    def _batch(
        self,
        micros: Micros,
        codes: dict[str, Codes],
        others: tuple[pa.Array, pa.Array, pa.Array | None],
        reject: Reject,
    ) -> pa.RecordBatch:
        """Return the valid rows; `others` are hit, latency and, when they are read, request ids."""
        columns = [column for column in others if column is not None]
        invalid: dict[str, Bools] = {"ts": micros == INVALID}
        if self.max_timestamp is not None:
            invalid["future"] = micros > self.max_timestamp
        invalid |= {name: codes[name] == REJECTED for name in ("account_id", "date_range", "report")}
        bad = np.logical_or.reduce(list(invalid.values()))
        if bad.any():
            for row in np.flatnonzero(bad).tolist():
                reject(next(reason for reason, mask in invalid.items() if mask[row]), row)
            good = ~bad
            micros, codes = micros[good], {name: column[good] for name, column in codes.items()}
            columns = [column.filter(to_bool_array(good)) for column in columns]
        words = [self._encoders[name].to_arrow(codes[name]) for name in TEXT_FIELDS]
        moments = to_arrow_array(micros, EVENT_SCHEMA.field("ts").type)
        schema = EVENT_WITH_ID_SCHEMA if self._with_request_ids else EVENT_SCHEMA
        return pa.RecordBatch.from_arrays([moments, *words, *columns], schema=schema)


def _ids(values: Sequence[Any] | None, rows: int) -> pa.Array:
    """Return request ids as text; what cannot be one is missing."""
    if values is None:
        return pa.nulls(rows, pa.string())
    texts = (str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else "" for value in values)
    return pa.array([text[:_LONGEST_ID] if text not in _NO_IDS else None for text in texts], pa.string())


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, (bool, int)) and value in {0, 1} else None


def _flags(values: Sequence[Any]) -> pa.Array:
    flags = values if set(map(type, values)) <= {bool, NoneType} else list(map(_flag, values))
    count = len(flags)
    is_valid = np.fromiter((flag is not None for flag in flags), np.bool_, count) if None in flags else None
    return to_bool_array(np.fromiter(map(bool, flags), np.bool_, count), is_valid)


def _flag_column(column: pa.Array) -> pa.Array:
    return column if pa.types.is_boolean(column.type) else _flags(to_python_values(column))


def _latency_name(columns: Collection[str]) -> str | None:
    return next((name for name in LATENCY_FIELDS if name in columns), None)


def _in_milliseconds(durations: pa.Array, name: str | None) -> pa.Array:
    return pc.multiply(durations, 1000.0) if name == "latency_seconds" else durations


def _duration(value: Any) -> float | None:
    try:
        number = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _durations(values: Sequence[Any] | None, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, pa.float64())
    if not set(map(type, values)) <= {float, NoneType}:
        values = list(map(_duration, values))
    numbers = np.fromiter((math.nan if value is None else value for value in values), np.float64, len(values))
    return to_float_array(numbers, np.isfinite(numbers) & (numbers >= 0))


def _duration_column(column: pa.Array | None, rows: int) -> pa.Array:
    if column is None or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return _durations(None if column is None else to_python_values(column), rows)
    return _usable_durations(column.cast(pa.float64(), safe=False))


def _usable_durations(numbers: pa.Array) -> pa.Array:
    usable = pc.and_kleene(pc.is_finite(numbers), pc.greater_equal(numbers, _ZERO))
    return pc.if_else(usable, numbers, _NO_NUMBER)
