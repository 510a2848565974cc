"""Turns raw columns of a log into batches of events in `EVENT_SCHEMA`; invalid rows are rejected one by one."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.access_log import dictionary_columns
from adwarm.access_log.dictionary_columns import REJECTED
from adwarm.access_log.timestamps import INVALID, parse_column, parse_values
from adwarm.foundation.arrow_arrays import Bools, Codes, Micros, to_arrow_array, to_python_values
from adwarm.settings import Settings

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

REQUIRED_COLUMNS = ("ts", "account_id", "date_range")
TEXT_COLUMNS = ("account_id", "date_range", "report", "time_zone", "actor")
LOG_COLUMNS = ("ts", *TEXT_COLUMNS, "hit", "latency_ms", "latency")
"""Columns a log may have; `latency` is another name for `latency_ms`, and all but the required are optional."""

Reject = Callable[[str, int], None]
"""Called with the reason and the index of the row within the columns."""

_FLAGS = {"true": True, "hit": True, "yes": True, "1": True, "false": False, "miss": False, "no": False, "0": False}


class EventBuilder:
    """Validates and encodes the columns of one log; a value seen before costs one dictionary look-up.

    Attributes:
        max_timestamp: later timestamps (microseconds) are rejected as those of a wrong clock; None: no limit.
    """

    def __init__(self, settings: Settings) -> None:
        self.max_timestamp: int | None = None
        self._encoders = {
            "account_id": dictionary_columns.account_encoder(),
            "date_range": dictionary_columns.date_range_encoder(),
            "report": dictionary_columns.report_encoder(settings.reports),
            "time_zone": dictionary_columns.time_zone_encoder(),
            "actor": dictionary_columns.actor_encoder(),
        }

    def from_lists(self, columns: Mapping[str, Sequence[Any]], rows: int, reject: Reject) -> pa.RecordBatch:
        """Return the events of columns of Python values; a missing column is empty."""
        codes = {
            name: self._encoders[name].encode(columns[name]) if name in columns else self._missing(name, rows)
            for name in TEXT_COLUMNS
        }
        hit = pa.array(list(map(_flag, columns["hit"])), pa.bool_()) if "hit" in columns else pa.nulls(rows, pa.bool_())
        latency = next((columns[name] for name in ("latency_ms", "latency") if name in columns), None)
        return self._batch(parse_values(columns["ts"]), codes, hit, _durations(latency, rows), reject)

    def from_arrow(self, batch: pa.RecordBatch, reject: Reject) -> pa.RecordBatch:
        """Return the events of an Arrow batch of a columnar log."""
        rows, names = batch.num_rows, set(batch.schema.names)
        codes = {
            name: self._encoders[name].encode_column(batch.column(name)) if name in names else self._missing(name, rows)
            for name in TEXT_COLUMNS
        }
        hit = _flag_column(batch.column("hit")) if "hit" in names else pa.nulls(rows, pa.bool_())
        latency = next((batch.column(name) for name in ("latency_ms", "latency") if name in names), None)
        return self._batch(parse_column(batch.column("ts")), codes, hit, _duration_column(latency, rows), reject)

    def _missing(self, name: str, rows: int) -> Codes:
        return np.full(rows, self._encoders[name][None], np.int32)

    def _batch(
        self, micros: Micros, codes: dict[str, Codes], hit: pa.Array, latency: pa.Array, reject: Reject
    ) -> pa.RecordBatch:
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
            hit, latency = hit.filter(pa.array(good)), latency.filter(pa.array(good))
        words = [self._encoders[name].to_arrow(codes[name]) for name in TEXT_COLUMNS]
        moments = to_arrow_array(micros, EVENT_SCHEMA.field("ts").type)
        return pa.RecordBatch.from_arrays([moments, *words, hit, latency], schema=EVENT_SCHEMA)


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, (bool, int)) and value in {0, 1} else None


def _flag_column(column: pa.Array) -> pa.Array:
    return (
        column if pa.types.is_boolean(column.type) else pa.array(list(map(_flag, to_python_values(column))), pa.bool_())
    )


def _duration(value: Any) -> float | None:
    try:
        number = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _durations(values: Sequence[Any] | None, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.float64()) if values is None else pa.array(list(map(_duration, values)), pa.float64())


def _duration_column(column: pa.Array | None, rows: int) -> pa.Array:
    if column is None or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return _durations(None if column is None else to_python_values(column), rows)
    numbers = column.cast(pa.float64(), safe=False)
    usable = pc.and_kleene(pc.is_finite(numbers), pc.greater_equal(numbers, 0))
    return pc.if_else(usable, numbers, pa.scalar(None, pa.float64()))
