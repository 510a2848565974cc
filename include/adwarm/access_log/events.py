"""Turns raw columns of a log into batches of events in `EVENT_SCHEMA`; invalid rows are rejected one by one."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from adwarm.access_log import dictionary_columns
from adwarm.access_log.column_mapping import REQUEST_ID, TEXT_FIELDS
from adwarm.access_log.dictionary_columns import REJECTED, ValueEncoder
from adwarm.access_log.timestamps import INVALID, TimestampRules, find_local, parse_column, parse_values, to_utc
from adwarm.foundation.arrow_arrays import (
    Bools,
    Codes,
    Micros,
    to_arrow_array,
    to_bool_array,
    to_python_values,
)
from adwarm.foundation.errors import BadRequest
from adwarm.model import PRESETS, normalize_account_id
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
_STRINGS = pa.dictionary(pa.int32(), pa.string())
EVENT_SCHEMA = pa.schema([
    pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("account_id", _STRINGS, nullable=False),
    pa.field("date_range", _STRINGS, nullable=False),
    pa.field("report", _STRINGS, nullable=False),
    pa.field("time_zone", _STRINGS, nullable=False),
    pa.field("actor", _STRINGS, nullable=False),
])
"""`time_zone` is empty where the log names no valid zone; `actor` is human where the log names no valid actor."""
EVENT_WITH_ID_SCHEMA = EVENT_SCHEMA.append(pa.field(REQUEST_ID, pa.string()))
"""The same, with the request's own id where the log has one."""
Reject = Callable[[str, int], None]
"""Called with the reason and the index of the row within the columns."""
_LONGEST_ID = 128
_NO_IDS = frozenset({"", "-"})


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


class EventBuilder:
    """Validates and encodes the columns of one log; a value seen before costs one dictionary look-up.

    Attributes:
        max_timestamp: later timestamps (microseconds) are rejected as those of a wrong clock; None: no limit.

    Args:
        with_request_ids: whether the events are in `EVENT_WITH_ID_SCHEMA`.
        normalize: returns the canonical id of an account.
    """

    def __init__(
        self,
        settings: Settings,
        normalize: Callable[[str], str] = normalize_account_id,
        *,
        with_request_ids: bool = False,
    ) -> None:
        self.max_timestamp: int | None = None
        self._with_request_ids = with_request_ids
        log = settings.access_log
        self._rules = TimestampRules(log.timestamp_zone or "UTC", log.timestamp_format)
        self._uses_row_zones = log.timestamp_zone is None
        defaults = log.constants
        self._encoders: dict[str, ValueEncoder] = {
            "account_id": dictionary_columns.account_encoder(defaults.get("account_id"), normalize),
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
        ids = _ids(columns.get(REQUEST_ID), rows) if self._with_request_ids else None
        micros = parse_values(columns["ts"], self._rules)
        if self._uses_row_zones and "time_zone" in columns:
            micros = self._to_row_zones(micros, columns["ts"], codes["time_zone"])
        return self._batch(micros, codes, ids, reject)

    def from_arrow(self, batch: pa.RecordBatch, reject: Reject) -> pa.RecordBatch:
        """Return the events of an Arrow batch of a columnar log."""
        rows, names = batch.num_rows, set(batch.schema.names)
        codes = {
            name: self._encoders[name].encode_column(batch.column(name)) if name in names else self._missing(name, rows)
            for name in TEXT_FIELDS
        }
        raw_ids = to_python_values(batch.column(REQUEST_ID)) if self._with_request_ids and REQUEST_ID in names else None
        ids = _ids(raw_ids, rows) if self._with_request_ids else None
        micros = parse_column(batch.column("ts"), self._rules)
        if self._uses_row_zones and "time_zone" in names:
            micros = self._to_row_zones(micros, batch.column("ts"), codes["time_zone"])
        return self._batch(micros, codes, ids, reject)

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

    def _batch(self, micros: Micros, codes: dict[str, Codes], ids: pa.Array | None, reject: Reject) -> pa.RecordBatch:
        """Return the valid rows; `ids` are those of the requests when they are read."""
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
            ids = None if ids is None else ids.filter(to_bool_array(good))
        words = [self._encoders[name].to_arrow(codes[name]) for name in TEXT_FIELDS]
        moments = to_arrow_array(micros, EVENT_SCHEMA.field("ts").type)
        if ids is None:
            return pa.RecordBatch.from_arrays([moments, *words], schema=EVENT_SCHEMA)
        return pa.RecordBatch.from_arrays([moments, *words, ids], schema=EVENT_WITH_ID_SCHEMA)


def _ids(values: Sequence[Any] | None, rows: int) -> pa.Array:
    """Return request ids as text; what cannot be one is missing."""
    if values is None:
        return pa.nulls(rows, pa.string())
    texts = (str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else "" for value in values)
    return pa.array([text[:_LONGEST_ID] if text not in _NO_IDS else None for text in texts], pa.string())
