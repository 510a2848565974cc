"""Finds which opens in the user's log are opens of the open log too, so that each counts once.

Two entries are one open when they are of the same report key and

1. carry the same request id, or
2. do not both carry an id, and the entry in the user's log lies within 5 s of the time that the open log's took: from
   when it was asked for to when it was answered. A web server writes the time of the answer.

One entry matches at most one, so two opens in one log never become one. Which ones match depends on the entries alone,
not on their order: rule 1 pairs entries of one id by time, rule 2 pairs as many as possible.

While a split is read, an open of the user's log is set aside when the open log has one of the same key within reach in
time, or one with its request id. What becomes of it is decided when the run is committed, from the opens of all splits
together, so that neither the order of files nor the bounds of splits matter. Everything else is counted at once.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cachetools import LRUCache

from adwarm.access_log.column_mapping import REQUEST_ID
from adwarm.access_log.log_reader import filter_window, timestamp_column
from adwarm.access_log.timestamps import HOUR, SECOND, to_micros
from adwarm.foundation.arrow_arrays import Bools, Codes, DictionaryEncoder, Ints, to_numpy
from adwarm.patterns.ingest.open_days import OpenDay, load_open_day
from adwarm.patterns.ingest.plan import IngestPlan
from adwarm.patterns.opens import keep_human_events
from adwarm.store.objects import ObjectStore

NEAR_MICROS = 5 * SECOND
LONGEST_ANSWER = 60 * SECOND
"""Longer answers count as this long; a reader waits for 30 s at most."""
REPEAT_MICROS = HOUR
"""Entries with the same key and id this close to the one before are one open: the reader came back for its answer."""
_LONGEST_QUEUE_ID = 19
Key = tuple[str, str, str]
CANDIDATE_COLUMNS = ("ts", "account_id", "date_range", "report", "time_zone", REQUEST_ID)
DAY = 24 * HOUR
_KEY = ("account_id", "date_range", "report")
_BITS = 21
_SPAN = 4 * DAY
"""More than the times of a day and its neighbors differ, so that a key and a time make one number."""
_DAYS_IN_MEMORY, _ROWS_IN_MEMORY = 4, 100_000


def find_zones(opens: pa.Table) -> dict[str, str]:
    """Return by account the last reader zone that its rows name, empty when none does.

    Args:
        opens: slots or events, in order, with the columns `account_id` and `time_zone`, dictionary-encoded.
    """
    zones = dict.fromkeys(pc.unique(opens["account_id"]).to_pylist(), "")
    if any(pc.unique(opens["time_zone"]).to_pylist()):
        frame = opens.select(["account_id", "time_zone"]).to_pandas()
        named = frame[frame["time_zone"] != ""].drop_duplicates("account_id", keep="last")
        zones.update(zip(named["account_id"].tolist(), named["time_zone"].tolist(), strict=True))
    return zones


def add_zones(zones: dict[str, str], later: Mapping[str, str]) -> None:
    """Add the zones of later opens to `zones`; an account whose later opens name none keeps its zone."""
    for name, zone in later.items():
        zones[name] = zone or zones.get(name, "")


class UserOpen(NamedTuple):
    """An open by a human in the user's log; `ts` in microseconds, `request_id` empty when it has none."""

    ts: int
    key: Key
    request_id: str
    time_zone: str


class OwnOpen(NamedTuple):
    """An open in the open log.

    Attributes:
        ts: when it was asked for, microseconds.
        end: when it was answered.
        request_id: empty when it has none.
    """

    ts: int
    key: Key
    request_id: str
    is_human: bool
    end: int


def match_opens(user: Sequence[UserOpen], own: Sequence[OwnOpen]) -> dict[int, int]:
    """Return by index of the open in the user's log the index of the same open in the open log."""
    matched = dict(_match_ids(user, own))
    taken = set(matched.values())
    left_user: dict[tuple[Key, bool], list[int]] = defaultdict(list)
    left_own: dict[tuple[Key, bool], list[int]] = defaultdict(list)
    for index in _in_order(user):
        if index not in matched:
            left_user[user[index].key, bool(user[index].request_id)].append(index)
    for index in _in_order(own):
        if index not in taken and own[index].is_human:
            left_own[own[index].key, _has_request_id(own[index])].append(index)
    for key in dict.fromkeys(key for key, _ in left_user):
        for user_has_id, own_has_id in ((False, False), (False, True), (True, False)):
            theirs, ours = left_user.get((key, user_has_id), []), left_own.get((key, own_has_id), [])
            pairs = dict(_match_times(user, theirs, own, ours)) if theirs and ours else {}
            if pairs:
                matched |= pairs
                used = set(pairs.values())
                left_user[key, user_has_id] = [index for index in theirs if index not in pairs]
                left_own[key, own_has_id] = [index for index in ours if index not in used]
    return matched


def find_repeats(own: Sequence[OwnOpen]) -> set[int]:
    """Return the indexes of the opens that repeat one with the same key and id: requests that came for their answer."""
    repeats, last = set(), dict[tuple[Key, str], int]()
    for index in _in_order(own):
        item = own[index]
        if not item.request_id or not item.is_human:
            continue
        name = (item.key, item.request_id)
        if name in last and item.ts - last[name] <= REPEAT_MICROS:
            repeats.add(index)
        last[name] = item.ts
    return repeats


def _match_ids(user: Sequence[UserOpen], own: Sequence[OwnOpen]) -> Iterator[tuple[int, int]]:
    ours: dict[tuple[Key, str], list[int]] = defaultdict(list)
    for index in reversed(_in_order(own)):
        if own[index].request_id:
            ours[own[index].key, own[index].request_id].append(index)
    for index in _in_order(user):
        waiting = ours.get((user[index].key, user[index].request_id)) if user[index].request_id else None
        if waiting:
            yield index, waiting.pop()


def _match_times(
    user: Sequence[UserOpen], theirs: Sequence[int], own: Sequence[OwnOpen], ours: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Pair as many as possible: each open of the user's log takes the own one that can wait the shortest."""
    open_now: list[tuple[int, int]] = []
    position = 0
    for index in theirs:
        at = user[index].ts
        while position < len(ours) and own[ours[position]].ts - NEAR_MICROS <= at:
            item = own[ours[position]]
            end = min(item.end, item.ts + LONGEST_ANSWER) + NEAR_MICROS
            heapq.heappush(open_now, (end, position))
            position += 1
        while open_now and open_now[0][0] < at:
            heapq.heappop(open_now)
        if open_now:
            yield index, ours[heapq.heappop(open_now)[1]]


def _in_order(items: Sequence[UserOpen] | Sequence[OwnOpen]) -> list[int]:
    """Return the indexes by time, and by everything else where times are equal."""
    return sorted(range(len(items)), key=items.__getitem__)


def _has_request_id(item: OwnOpen) -> bool:
    """Whether an open carries its request's id; the number of a queued request is in no other log."""
    return bool(item.request_id) and not (item.request_id.isdecimal() and len(item.request_id) <= _LONGEST_QUEUE_ID)


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
    """

    def __init__(self, objects: ObjectStore, plan: IngestPlan) -> None:
        self._objects = objects
        self._sources = plan.sources
        self._days = {day.day: day for day in plan.open_days}
        self._window = (_micros(plan.since), _micros(plan.read_since), to_micros(plan.until))
        self._encoders = {name: DictionaryEncoder() for name in _KEY}
        self._indexes: LRUCache[int, _DayIndex | None] = LRUCache(_DAYS_IN_MEMORY)
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
        if day not in self._indexes:
            self._indexes[day] = self._make_index(day)
        return self._indexes[day]

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
