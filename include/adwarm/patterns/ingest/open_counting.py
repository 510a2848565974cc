"""Counts the open log when a run is committed, and the opens of the user's log that were set aside for it.

The days are taken in order, one at a time. An open of the user's log that is the same as one of the open log is not
counted, but gives it its reader zone, which the open log does not have. What is near midnight waits for the next day.

The result depends on what both logs hold, not on how the user's log is split. It is exact for entries that arrive
within `LATE`. At the start of a run's window, opens are matched from the hour before it on: only opens of one
report that follow each other by less than 5 s for a whole hour could be matched otherwise than in an earlier run.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adwarm.access_log.column_mapping import REQUEST_ID
from adwarm.access_log.events import EVENT_SCHEMA
from adwarm.access_log.log_reader import filter_window
from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.model import Actor
from adwarm.patterns.ingest.open_days import load_open_day
from adwarm.patterns.ingest.open_matching import DAY, Key, OwnOpen, UserOpen, find_repeats, match_opens
from adwarm.patterns.ingest.plan import IngestPlan
from adwarm.patterns.ingest.read_split import SplitResult, save_day
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.store.objects import ObjectStore

_HUMAN = pa.array([actor.value for actor in Actor if actor.is_human])
_KEY = ("account_id", "date_range", "report")
_SEPARATOR = "\x1f"
_ROWS_AT_ONCE = 32_768


class _Counter:
    """Counts day by day; keeps what is within an hour of midnight for the next one."""

    def __init__(self, since: int | None, until: int) -> None:
        self.slots = SlotAggregator()
        self.duplicates = 0
        self.opens = 0
        self._since, self._until = since, until
        self._user: list[UserOpen] = []
        self._own: list[tuple[OwnOpen, bool]] = []
        self._before: list[OwnOpen] = []

    def add_day(self, day: int, user: Sequence[UserOpen], opens: pa.Table) -> None:
        """Match and count the opens of a day."""
        edge = (day + 1) * DAY - HOUR
        self.opens += _filter(opens, self._since, self._until).num_rows
        theirs = [*self._user, *user]
        involved = self._find_involved(opens, theirs, edge)
        rest = opens.filter(pc.and_(pc.invert(involved), pc.is_in(opens["actor"], _HUMAN)))
        self._count(_to_events(rest.select(("ts", *_KEY)), [""] * len(rest)))
        involved_opens = _to_own(opens.filter(involved))
        repeats = find_repeats([*self._before, *involved_opens])
        first = len(self._before)
        new = [(item, item.is_human and first + index not in repeats) for index, item in enumerate(involved_opens)]
        self._before = [item for item in involved_opens if item.ts >= edge]
        ours = [*self._own, *new]
        matched = match_opens(theirs, [item for item, _ in ours])
        self.duplicates += sum(self._is_inside(theirs[index].ts) for index in matched)
        zones = {own: theirs[index].time_zone for index, own in matched.items()}
        self._settle_own(ours, zones, edge)
        left = [item for index, item in enumerate(theirs) if index not in matched]
        self._user = [item for item in left if item.ts >= edge]
        self._count_rows([(item.ts, item.key, item.time_zone) for item in left if item.ts < edge])

    def finish(self) -> None:
        """Count what still waits for another day."""
        self._count_rows([(item.ts, item.key, item.time_zone) for item in self._user])
        self._count_rows([(item.ts, item.key, "") for item, is_counted in self._own if is_counted])

    def _settle_own(self, ours: Sequence[tuple[OwnOpen, bool]], zones: dict[int, str], edge: int) -> None:
        """Count the opens of the open log, except those that wait for the next day."""
        rows, self._own = [], []
        for index, (item, is_counted) in enumerate(ours):
            if index not in zones and item.ts >= edge:
                self._own.append((item, is_counted))
            elif is_counted:
                rows.append((item.ts, item.key, zones.get(index, "")))
        self._count_rows(rows)

    def _find_involved(self, opens: pa.Table, theirs: Sequence[UserOpen], edge: int) -> pa.Array:
        """Return which opens may match or repeat another; the others are counted as they are."""
        keys = pc.binary_join_element_wise(*(opens[name] for name in _KEY), _SEPARATOR)
        names = pa.array(sorted({_SEPARATOR.join(item.key) for item in theirs}), pa.string())
        ids = Counter(opens[REQUEST_ID].to_pylist()) + Counter(item.request_id for item in self._before)
        several = pa.array([name for name, count in ids.items() if name and count > 1], pa.string())
        is_late = pc.greater_equal(opens["ts"].cast(pa.int64()), edge)
        return pc.or_(pc.or_(pc.is_in(keys, names), is_late), pc.is_in(opens[REQUEST_ID], several))

    def _count_rows(self, rows: Sequence[tuple[int, Key, str]]) -> None:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            keys = {name: [key[place] for _, key, _ in some] for place, name in enumerate(_KEY)}
            moments = pa.array([ts for ts, _, _ in some], pa.int64()).cast(EVENT_SCHEMA.field("ts").type)
            self._count(_to_events(pa.table({"ts": moments, **keys}), [zone for _, _, zone in some]))

    def _count(self, events: pa.Table) -> None:
        for batch in events.to_batches(_ROWS_AT_ONCE):
            self.slots.add(filter_window(batch, self._since, self._until))

    def _is_inside(self, ts: int) -> bool:
        return (self._since is None or ts >= self._since) and ts < self._until


def count_open_log(
    objects: ObjectStore, plan: IngestPlan, results: Sequence[SplitResult], now: datetime
) -> SplitResult | None:
    """Return what the open log adds to the results of the splits; None when it takes no part in the run."""
    candidates: dict[int, list[str]] = defaultdict(list)
    for result in results:
        for day, digests in result.candidates.items():
            candidates[day] += digests
    if plan.idle or not (plan.open_days or candidates):
        return None
    read_since = to_micros(plan.read_since) if plan.read_since else None
    counter = _Counter(to_micros(plan.since) if plan.since else None, to_micros(plan.until))
    stored = {day.day: day for day in plan.open_days}
    for day in sorted(stored.keys() | candidates.keys()):
        opens = _filter(load_open_day(objects, stored.get(day)), read_since, to_micros(plan.until))
        counter.add_day(day, _read_user(objects, candidates.get(day, ())), opens)
    counter.finish()
    return SplitResult(
        days=dict(objects.map(lambda item: (item[0], list(save_day(item[1], objects))), counter.slots.days())),
        files=[day.progress(now) for day in plan.open_days],
        unreadable=[],
        events=counter.opens,
        keys=counter.slots.count_keys(),
        ignored=0,
        by_reason={},
        samples=[],
        duplicates=counter.duplicates,
    )


def _read_user(objects: ObjectStore, digests: Sequence[str]) -> list[UserOpen]:
    opens: list[UserOpen] = []
    for data in objects.map(objects.get, digests):
        table = pq.read_table(pa.BufferReader(data))
        columns = [table[name].to_pylist() for name in (*_KEY, REQUEST_ID, "time_zone")]
        moments = table["ts"].cast(pa.int64()).to_pylist()
        for ts, account, date_range, report, request_id, zone in zip(moments, *columns, strict=True):
            opens.append(UserOpen(ts, (account, date_range, report), request_id or "", zone))
    return opens


def _to_own(opens: pa.Table) -> list[OwnOpen]:
    is_human = pc.is_in(opens["actor"], _HUMAN).to_pylist()
    moments = opens["ts"].cast(pa.int64()).to_numpy()
    ends = moments + (np.clip(opens["latency_ms"].to_numpy(), 0, 60_000) * 1000).astype(np.int64)
    columns = [opens[name].to_pylist() for name in (*_KEY, REQUEST_ID)]
    rows = zip(moments.tolist(), ends.tolist(), is_human, *columns, strict=True)
    return [
        OwnOpen(ts, (account, date_range, report), request_id or "", human, end)
        for ts, end, human, account, date_range, report, request_id in rows
    ]


def _to_events(opens: pa.Table, zones: Sequence[str]) -> pa.Table:
    """Return human opens with their reader zones in `EVENT_SCHEMA`."""
    columns = {
        "ts": opens["ts"],
        **{name: opens[name].combine_chunks().dictionary_encode() for name in _KEY},
        "time_zone": pa.array(zones, pa.string()).dictionary_encode(),
        "actor": pa.array([Actor.HUMAN.value] * len(opens), pa.string()).dictionary_encode(),
    }
    return pa.table(columns).cast(EVENT_SCHEMA)


def _filter(opens: pa.Table, since: int | None, until: int) -> pa.Table:
    moments = opens["ts"].cast(pa.int64())
    inside = pc.less(moments, until)
    return opens.filter(inside if since is None else pc.and_(inside, pc.greater_equal(moments, since)))
