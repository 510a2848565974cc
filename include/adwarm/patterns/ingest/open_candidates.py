"""Sets the opens of the user's log aside that the open log may hold too, while a split is read.

An open is set aside when the open log has one of the same key within reach in time, or one with its request id. What
becomes of it is decided when the run is committed, from the opens of all splits together, so that neither the order of
files nor the bounds of splits matter. Everything else is counted at once, as without an open log.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adwarm.access_log.column_mapping import REQUEST_ID
from adwarm.access_log.log_reader import filter_window, timestamp_column
from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.foundation.arrow_arrays import Bools, Codes, Ints, to_numpy
from adwarm.foundation.dictionary_encoder import DictionaryEncoder
from adwarm.patterns.ingest.open_days import OpenDay, load_open_day
from adwarm.patterns.ingest.open_matching import LONGEST_ANSWER, NEAR_MICROS
from adwarm.patterns.ingest.plan import IngestPlan
from adwarm.patterns.opens import keep_human_events
from adwarm.patterns.reader_zones import add_zones, find_zones
from adwarm.store.objects import ObjectStore

CANDIDATE_COLUMNS = ("ts", "account_id", "date_range", "report", "time_zone", REQUEST_ID)
DAY = 24 * HOUR
_KEY = ("account_id", "date_range", "report")
_DAYS_IN_MEMORY, _ROWS_IN_MEMORY = 4, 100_000
_BITS = 21
_SPAN = 4 * DAY
"""More than the times of a day and its neighbors differ, so that a key and a time make one number."""


class _DayIndex(NamedTuple):
    """The opens of a day and of the hours next to it: distinct keys, key and time as sorted numbers, and ids."""

    start: int
    keys: Ints
    places: Ints
    ids: pa.Array


class CandidateFilter:
    """Separates the events of one split.

    Args:
        objects: where the opens of the open log are, and where those that are set aside go.
        plan: the run.
    """

    def __init__(self, objects: ObjectStore, plan: IngestPlan) -> None:
        self._objects = objects
        self._sources = plan.sources
        self._days = {day.day: day for day in plan.open_days}
        self._window = (_micros(plan.since), _micros(plan.read_since), to_micros(plan.until))
        self._encoders = {name: DictionaryEncoder() for name in _KEY}
        self._indexes: OrderedDict[int, _DayIndex | None] = OrderedDict()
        self._buffer: dict[int, list[pa.RecordBatch]] = defaultdict(list)
        self._buffered = 0
        self._stored: dict[int, list[str]] = defaultdict(list)
        self.zones: dict[str, str] = {}
        """The reader zones of the accounts whose opens were set aside; whole after `finish`."""

    def separate(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """Return the events that count in any case; opens that the open log may hold are set aside.

        Args:
            events: in `EVENT_WITH_ID_SCHEMA`, of any time.
        """
        since, read_since, until = self._window
        events = self._drop_unused(keep_human_events(filter_window(events, read_since, until)))
        if not events.num_rows:
            return events
        moments = timestamp_column(events)
        is_near = self._find_near(events, moments)
        for day in np.unique(moments[is_near] // DAY).tolist():
            self._set_aside(day, events.filter(pa.array(is_near & (moments // DAY == day))))
        return filter_window(events.filter(pa.array(~is_near)), since, until)

    def finish(self) -> dict[int, list[str]]:
        """Return by UTC day since the epoch the objects with the opens that were set aside."""
        self._flush()
        return dict(self._stored)

    def _drop_unused(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """Leave out the opens of accounts that do not use the user's log."""
        if not self._sources.splits_user_log:
            return events
        column = events.column("account_id")
        is_used = np.array(self._sources.select(column.dictionary.to_pylist(), "user"), np.bool_)
        return events.filter(pa.array(is_used[to_numpy(column.indices)]))

    def _find_near(self, events: pa.RecordBatch, moments: Ints) -> Bools:
        near = np.zeros(len(moments), np.bool_)
        key = _pack(self._encoders[name].encode_column(events.column(name)) for name in _KEY)
        days = moments // DAY
        for day in np.unique(days).tolist():
            index = self._index(day)
            if index is None:
                continue
            rows = np.flatnonzero(days == day)
            near[rows] = _is_near(index, key[rows], moments[rows])
            if len(index.ids):
                ids = events.column(REQUEST_ID).take(pa.array(rows))
                near[rows] |= pc.is_in(ids, index.ids).to_numpy(zero_copy_only=False)
        return near

    def _index(self, day: int) -> _DayIndex | None:
        if day in self._indexes:
            self._indexes.move_to_end(day)
            return self._indexes[day]
        index = self._make_index(day)
        self._indexes[day] = index
        if len(self._indexes) > _DAYS_IN_MEMORY:
            self._indexes.popitem(last=False)
        return index

    def _make_index(self, day: int) -> _DayIndex | None:
        tables = [load_near(self._objects, self._days.get(number), day) for number in (day - 1, day, day + 1)]
        opens = pa.concat_tables(tables)
        if not len(opens):
            return None
        start = (day - 1) * DAY
        names = {name: opens[name].combine_chunks().dictionary_encode() for name in _KEY}
        key = _pack(self._encoders[name].encode_column(column) for name, column in names.items())
        keys, number = np.unique(key, return_inverse=True)
        places = np.sort(number * _SPAN + (_times(opens) - start))
        ids = pc.unique(opens[REQUEST_ID].drop_null())
        return _DayIndex(start, keys, places, ids)

    def _set_aside(self, day: int, events: pa.RecordBatch) -> None:
        self._buffer[day].append(events.select(CANDIDATE_COLUMNS))
        self._buffered += events.num_rows
        if self._buffered >= _ROWS_IN_MEMORY:
            self._flush()

    def _flush(self) -> None:
        days = list(self._buffer)
        for day, digest in zip(days, self._objects.put_many(map(self._pack_day, days)), strict=True):
            self._stored[day].append(digest)

    def _pack_day(self, day: int) -> bytes:
        table = pa.Table.from_batches(self._buffer.pop(day)).unify_dictionaries()
        self._buffered -= len(table)
        add_zones(self.zones, find_zones(table))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return bytes(sink.getvalue())


def load_near(objects: ObjectStore, stored: OpenDay | None, day: int) -> pa.Table:
    """Return the opens of a stored day: all of them when it is `day`, else those within an hour of it."""
    opens = load_open_day(objects, stored)
    if stored is None or stored.day == day:
        return opens
    moments = _times(opens)
    return opens.filter(pa.array((moments >= day * DAY - HOUR) & (moments < (day + 1) * DAY + HOUR)))


def _is_near(index: _DayIndex, key: Ints, moments: Ints) -> Bools:
    """Return which of the events have an open of their key within reach in time."""
    at = np.searchsorted(index.keys, key)
    at[at == len(index.keys)] = 0
    is_known = index.keys[at] == key
    place = at * _SPAN + (moments - index.start)
    first = np.searchsorted(index.places, place - NEAR_MICROS - LONGEST_ANSWER, "left")
    last = np.searchsorted(index.places, place + NEAR_MICROS, "right")
    near: Bools = is_known & (last > first)
    return near


def _pack(codes: Iterable[Codes]) -> Ints:
    """Return one number per key; each name may have up to two million values."""
    account, date_range, report = (code.astype(np.int64) for code in codes)
    packed: Ints = (account << _BITS | date_range) << _BITS | report
    return packed


def _times(opens: pa.Table) -> Ints:
    return np.asarray(opens["ts"].cast(pa.int64()).to_numpy(), dtype=np.int64)


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)
