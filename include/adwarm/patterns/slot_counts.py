"""Counts opens by key and quarter of an hour, the aggregate that everything else is derived from.

Slots of two logs add up to the slots of both, and event order does not matter. Only human opens count. Memory is
bounded by a buffer: what exceeds it goes to a temporary file and is merged day by day.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adwarm.access_log.log_reader import timestamp_column
from adwarm.access_log.timestamps import SECOND
from adwarm.foundation.arrow_arrays import (
    Codes,
    DictionaryEncoder,
    Ints,
    Micros,
    dictionary_column,
    to_arrow_array,
    to_bool_array,
    to_numpy,
)
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.ordering import order_by
from adwarm.patterns.opens import keep_human_events

SLOT_SECONDS = 900
SLOT_MICROS = SLOT_SECONDS * SECOND
SLOTS_PER_DAY = 86_400 // SLOT_SECONDS
_STRINGS = pa.dictionary(pa.int32(), pa.string())
_TIMESTAMP = pa.timestamp("us", "UTC")
SLOT_SCHEMA = pa.schema([
    pa.field("account_id", _STRINGS, nullable=False),
    pa.field("date_range", _STRINGS, nullable=False),
    pa.field("report", _STRINGS, nullable=False),
    pa.field("time_zone", _STRINGS, nullable=False),
    pa.field("slot", _TIMESTAMP, nullable=False),
    pa.field("opens", pa.uint32(), nullable=False),
    pa.field("first_ts", _TIMESTAMP, nullable=False),
    pa.field("last_ts", _TIMESTAMP, nullable=False),
])
"""One row per key, reader zone and slot; `slot` is the start of a quarter of an hour in UTC."""
# A row's key is two numbers: account and date range in `pair`; slot, report and zone in `place`. The slot is in the
# high bits of `place`, so rows sorted by it are in order of days.
_ROW = np.dtype([("place", "<i8"), ("pair", "<i8"), ("opens", "<i8"), ("first", "<i8"), ("last", "<i8")])
_Part = tuple[npt.NDArray[Any] | IO[bytes], Ints, Ints]
"""Sorted rows, or the file of them; their days, and where each day begins, followed by the number of rows."""
_ASPECT_BITS = 13
_ASPECT_MASK = (1 << _ASPECT_BITS) - 1
_MAX_OPENS = int(np.iinfo(np.uint32).max)


class SlotAggregator:
    """Adds up batches of events, or of existing slots.

    Args:
        buffer_rows: rows kept in memory, 40 bytes each, before they are written to a temporary file.
    """

    def __init__(self, buffer_rows: int = 500_000) -> None:
        self._limit = buffer_rows
        self._encoders = {name: DictionaryEncoder() for name in ("account_id", "date_range", "report", "time_zone")}
        self._aspects: dict[int, int] = {}
        self._buffer: list[npt.NDArray[Any]] = []
        self._buffered = 0
        self._spills: list[_Part] = []
        self._pairs_by_report: dict[int, Ints] = {}

    def add(self, events: pa.RecordBatch) -> None:
        """Count the human opens in a batch of events, in `EVENT_SCHEMA`."""
        events = keep_human_events(events)
        moments = timestamp_column(events)
        self._append(events, moments // SLOT_MICROS, np.ones(len(moments), np.int64), moments, moments)

    def add_slots(self, slots: pa.Table) -> None:
        """Add slots, in `SLOT_SCHEMA`."""
        for batch in slots.cast(SLOT_SCHEMA).to_batches():
            starts, first, last = (_micros(batch.column(name)) for name in ("slot", "first_ts", "last_ts"))
            opens = to_numpy(batch.column("opens")).astype(np.int64)
            self._append(batch, starts // SLOT_MICROS, opens, first, last)

    def merge(self, other: "SlotAggregator") -> None:
        """Add the counts of `other`, which stays unchanged."""
        for _, table in other.days():
            self.add_slots(table)

    def table(self) -> pa.Table:
        """Return all slots, in order."""
        tables = [table for _, table in self.days()]
        return pa.concat_tables(tables).unify_dictionaries() if tables else SLOT_SCHEMA.empty_table()

    def days(self, at_least: int = 1) -> Iterator[tuple[int, pa.Table]]:
        """Yield the UTC days that have slots, in order: days since the epoch, and a table of the day's slots.

        Args:
            at_least: rows of a table before it ends with its day, those in several spilled files counted in each; a
                table of several days has the number of the first.
        """
        self._compact()
        parts: list[_Part] = [*((rows, *_day_bounds(rows)) for rows in self._buffer), *self._spills]
        sizes: Counter[int] = Counter()
        for _, days, bounds in parts:
            sizes.update(dict(zip(days.tolist(), np.diff(bounds).tolist(), strict=True)))
        order = {name: encoder.sorted_values() for name, encoder in self._encoders.items()}
        first, size = None, 0
        for day in (ordered := sorted(sizes)):
            first = day if first is None else first
            size += sizes[day]
            if size >= at_least or day == ordered[-1]:
                rows = [selected for part in parts if len(selected := _select_days(part, first, day))]
                yield first, self._decode(rows[0] if len(rows) == 1 else _merge(rows), order)
                first, size = None, 0

    def count_keys(self) -> int:
        """Return the number of distinct keys counted so far."""
        for rows in self._buffer:
            self._note_keys(rows)
        return sum(map(len, self._pairs_by_report.values()))

    def _note_keys(self, rows: npt.NDArray[Any]) -> None:
        """Record the distinct keys of `rows`, so that counting them does not read back what was spilled."""
        aspects = np.fromiter(self._aspects, np.int64, len(self._aspects))
        report = (aspects >> 32)[rows["place"] & _ASPECT_MASK]
        for number in np.unique(report).tolist():
            pairs = rows["pair"][report == number]
            seen = self._pairs_by_report.get(number, pairs[:0])
            self._pairs_by_report[number] = np.unique(np.concatenate([seen, pairs]))

    def _append(self, batch: pa.RecordBatch, slot: Ints, opens: Ints, first: Ints, last: Ints) -> None:
        if not len(slot):
            return
        codes = {name: encoder.encode_column(batch.column(name)) for name, encoder in self._encoders.items()}
        rows = np.empty(len(slot), _ROW)
        rows["place"] = (slot << _ASPECT_BITS) | self._aspect(codes["report"], codes["time_zone"])
        rows["pair"] = (codes["account_id"].astype(np.int64) << 32) | codes["date_range"]
        rows["opens"], rows["first"], rows["last"] = opens, first, last
        rows = _reduce(rows)  # cheaper now, while the rows are in the CPU cache
        self._buffer.append(rows)
        self._buffered += len(rows)
        if self._buffered >= self._limit:
            self._compact()
            if self._buffered > self._limit // 2:
                self._spill()

    def _aspect(self, report: Codes, time_zone: Codes) -> Ints:
        """Return one small code for each combination of report and zone."""
        width = int(time_zone.max()) + 1
        codes = report.astype(np.int64) * width + time_zone
        used = np.flatnonzero(np.bincount(codes)).tolist()
        numbers = np.zeros(used[-1] + 1, np.int64)
        for code in used:
            both = (code // width << 32) | code % width
            numbers[code] = self._aspects.setdefault(both, len(self._aspects))
        if len(self._aspects) > 1 << _ASPECT_BITS:
            raise BadRequest(
                "the access log mixes more than 8192 combinations of report and time zone; use fewer reports"
            )
        numbered: Ints = numbers[codes]
        return numbered

    def _compact(self) -> None:
        if len(self._buffer) > 1 or self._buffered >= self._limit:
            self._buffer = [_merge(self._buffer)]
        self._buffered = sum(map(len, self._buffer))

    def _spill(self) -> None:
        rows = self._buffer[0]
        self._note_keys(rows)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the aggregator
        rows.tofile(file)
        self._spills.append((file, *_day_bounds(rows)))
        self._buffer, self._buffered = [], 0

    def _decode(self, rows: npt.NDArray[Any], order: dict[str, tuple[pa.Array, Ints]]) -> pa.Table:
        aspects = np.fromiter(self._aspects, np.int64, len(self._aspects))[rows["place"] & _ASPECT_MASK]
        slot = rows["place"] >> _ASPECT_BITS
        codes = {
            "account_id": rows["pair"] >> 32,
            "date_range": rows["pair"] & 0xFFFFFFFF,
            "report": aspects >> 32,
            "time_zone": aspects & 0xFFFFFFFF,
        }
        ranks = {name: order[name][1][code] for name, code in codes.items()}
        place = order_by([slot - slot.min(), *ranks.values()])
        words = [_column(order[name][0], ranks[name][place]) for name in ranks]
        opens = to_arrow_array(np.minimum(rows["opens"], _MAX_OPENS)[place].astype(np.uint32), pa.uint32())
        moments = [_timestamps(values[place]) for values in (slot * SLOT_MICROS, rows["first"], rows["last"])]
        return pa.Table.from_arrays([*words, moments[0], opens, *moments[1:]], schema=SLOT_SCHEMA)


def _merge(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return `_reduce` of all parts, each of which is reduced already; empties `parts` to save memory."""
    together = [np.concatenate(parts)]
    parts.clear()
    return _reduce(together.pop(), kind="stable")  # fast on sorted runs


def _reduce(rows: npt.NDArray[Any], kind: Literal["quicksort", "stable"] = "quicksort") -> npt.NDArray[Any]:
    """Return one row per key, zone and slot, sorted by slot."""
    if not len(rows):
        return rows
    rows = rows.take(order_by([rows["place"], rows["pair"] >> 32, rows["pair"] & 0xFFFFFFFF], kind))
    place, pair = rows["place"], rows["pair"]
    starts = np.flatnonzero(np.concatenate([[True], (place[1:] != place[:-1]) | (pair[1:] != pair[:-1])]))
    if len(starts) == len(rows):
        return rows
    result = rows.take(starts)
    result["opens"] = np.add.reduceat(rows["opens"], starts)
    result["first"] = np.minimum.reduceat(rows["first"], starts)
    result["last"] = np.maximum.reduceat(rows["last"], starts)
    return result


def _day_bounds(rows: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Return the days of sorted rows, and the index at which each begins, followed by the number of rows."""
    days = (rows["place"] >> _ASPECT_BITS) // SLOTS_PER_DAY
    starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
    return days[starts], np.append(starts, len(rows))


def _select_days(part: _Part, first: int, last: int) -> npt.NDArray[Any]:
    """Return the rows of some days, both ends included."""
    rows, days, bounds = part
    start, end = int(bounds[np.searchsorted(days, first)]), int(bounds[np.searchsorted(days, last, "right")])
    if isinstance(rows, np.ndarray):
        return rows[start:end]
    rows.seek(start * _ROW.itemsize)
    return np.fromfile(rows, _ROW, end - start)


def _column(values: pa.Array, codes: Ints) -> pa.DictionaryArray:
    """Return a column whose dictionary holds only the values in use, so that equal rows give equal bytes."""
    used = np.zeros(len(values), np.bool_)
    used[codes] = True
    new_codes = (np.cumsum(used) - 1)[codes]
    return dictionary_column(new_codes, values.filter(to_bool_array(used)))


def _timestamps(micros: Micros) -> pa.Array:
    return to_arrow_array(micros, _TIMESTAMP)


def _micros(column: pa.Array) -> Ints:
    return to_numpy(column)
