"""Reads one split of a log into slots. The result depends on the split alone, so a retry gives the same result.

Slots are stored as one object a day; nothing refers to the objects until the run is committed.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.access_log.lines import Checkpoints
from adwarm.access_log.log_files import LogFile, list_files, reading_ahead
from adwarm.access_log.log_reader import EventBatch, LogReader, filter_window, parquet_span, timestamp_column
from adwarm.access_log.quarantine import Quarantine, RejectedSample
from adwarm.access_log.timestamps import HOUR, from_micros, to_micros
from adwarm.foundation.arrow_arrays import Ints, system_memory_pool
from adwarm.foundation.background_iterator import iterate_in_background
from adwarm.foundation.errors import NotFound, Transient
from adwarm.foundation.remote_files import map_ordered
from adwarm.foundation.storage import get_storage_settings
from adwarm.patterns.ingest.open_matching import CandidateFilter, add_zones, find_zones
from adwarm.patterns.ingest.plan import IngestPlan, LogSplit, SplitRange, read_window
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import AccessLogSettings
from adwarm.store import Context, accounts
from adwarm.store.aggregates import HourAggregate, LogFileProgress
from adwarm.store.objects import ObjectStore

_WRITERS = 2
"""Threads that write days into a local folder."""


@dataclass(frozen=True, slots=True)
class SplitResult:
    """The result of a split.

    Attributes:
        days: by UTC day since the epoch, the hours of the day that have slots; they share one object.
        files: the progress in each file; files that cannot be read are left out.
        unreadable: paths of files that could not be read to their end.
        events: events in the window, of any actor.
        keys: number of distinct keys; None when several splits were combined, whose keys overlap.
        ignored: requests in a web server's log that open no report.
        by_reason: number of rejected lines and files by reason.
        samples: some of the rejected lines and files.
        unmatched_paths: some answered requests of a web server's log that the path pattern does not match.
        candidates: by UTC day since the epoch, objects with the opens that the open log may hold too; not in `days`.
        duplicates: opens that were found in both logs and count once.
        zones: by account that people open in the user's log, its last reader zone there; empty: it names none.
    """

    days: dict[int, list[HourAggregate]]
    files: list[LogFileProgress]
    unreadable: list[str]
    events: int
    keys: int | None
    ignored: int
    by_reason: dict[str, int]
    samples: list[RejectedSample]
    unmatched_paths: list[str] = field(default_factory=list)
    candidates: dict[int, list[str]] = field(default_factory=dict)
    duplicates: int = 0
    zones: dict[str, str] = field(default_factory=dict)


@dataclass
class _SplitState:
    """The state of reading a split."""

    plan: IngestPlan
    reader: LogReader
    settings: AccessLogSettings
    now: datetime
    candidates: CandidateFilter | None = None
    slots: SlotAggregator = field(default_factory=SlotAggregator)
    files: list[LogFileProgress] = field(default_factory=list)
    events: int = 0


def read_split(context: Context, plan: IngestPlan, split: LogSplit, now: datetime) -> SplitResult:
    """Read the split and store its slots."""
    candidates = CandidateFilter(context.objects, plan) if plan.open_days or plan.sources.splits_user_log else None
    stored = accounts.get_many(context.engine)
    reader = LogReader(context.settings, Quarantine(), stored, with_request_ids=candidates is not None)
    state = _SplitState(plan, reader, context.settings.access_log, now, candidates)
    writers, zones = max(_WRITERS, context.objects.width), dict[str, str]()
    with system_memory_pool():
        with reading_ahead([(item.file_range.file, item.start) for item in split.ranges]) as files:
            for split_range, file in zip(split.ranges, files, strict=True):
                _read_range(state, split_range, file)
        tables = _note_zones(state.slots.days(), zones)
        days = dict(map_ordered(lambda item: (item[0], list(save_day(item[1], context.objects))), tables, writers))
    quarantine = state.reader.quarantine
    aside = {} if candidates is None else candidates.finish()
    if candidates is not None:
        add_zones(zones, candidates.zones)
    return SplitResult(
        days=days,
        files=state.files,
        unreadable=sorted(state.reader.unreadable),
        events=state.events,
        keys=state.slots.count_keys(),
        ignored=quarantine.ignored,
        by_reason=dict(sorted(quarantine.by_reason.items())),
        samples=quarantine.samples,
        unmatched_paths=quarantine.unmatched_paths,
        candidates=aside,
        zones=zones,
    )


def _note_zones(days: Iterator[tuple[int, pa.Table]], zones: dict[str, str]) -> Iterator[tuple[int, pa.Table]]:
    """Yield the days as they come, and put the reader zones of their accounts into `zones`."""
    for day, table in days:
        add_zones(zones, find_zones(table))
        yield day, table


def require_unchanged(split: LogSplit) -> None:
    """Raise when a file of the split has changed since planning other than by growing.

    Raises:
        Transient: the file was replaced, truncated or removed.
    """
    files = [item.file_range.file for item in split.ranges if not item.file_range.file.problem]
    width = get_storage_settings().parallel if any(file.is_remote for file in files) else 1
    for file, is_unchanged in zip(files, map_ordered(_is_unchanged, files, width), strict=True):
        if not is_unchanged:
            raise Transient(f"{file.path} changed while the log was read; start the run again")


def _is_unchanged(file: LogFile) -> bool:
    try:
        current = list_files(file.path)[0]
    except NotFound:
        return False
    if file.format == "parquet":
        return (current.size, current.mtime) == (file.size, file.mtime)
    return current.size >= file.size


def save_day(table: pa.Table, objects: ObjectStore) -> Iterator[HourAggregate]:
    """Store the slots of one day as an object; yield the aggregates of its hours."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    digest = objects.put(buffer.getvalue())
    hour = table["slot"].cast(pa.int64()).to_numpy() // HOUR
    opens = table["opens"].to_numpy()
    key, distinct_keys = pd.factorize(_key_codes(table))
    for start, end in _runs(hour):
        is_open = np.zeros(len(distinct_keys), np.bool_)
        is_open[key[start:end]] = True
        keys = int(np.count_nonzero(is_open))
        yield HourAggregate(from_micros(int(hour[start]) * HOUR), digest, int(opens[start:end].sum()), keys)


def _read_range(state: _SplitState, split_range: SplitRange, file: LogFile) -> None:
    """Count the events of a range of `file`, and record how far it has been read."""
    since = None if state.plan.since is None else to_micros(state.plan.since)
    until, file_range = to_micros(state.plan.until), split_range.file_range
    quarantine, rejected, events = state.reader.quarantine, state.reader.quarantine.count, state.events
    checkpoints = Checkpoints(file_range.checkpoints if split_range.start == file_range.start else ())
    end = split_range.start
    for event_batch in iterate_in_background(_event_batches(state, split_range, file)):
        end = max(end, event_batch.end)
        if not event_batch.batch.num_rows:
            continue
        moments = timestamp_column(event_batch.batch)
        checkpoints.add(int(moments.max()), event_batch.start)
        if since is not None and file_range.late_from is not None and event_batch.start >= file_range.late_from:
            quarantine.add_count("late", int(np.count_nonzero(moments < since)))
        batch = filter_window(event_batch.batch, since, until)
        state.events += batch.num_rows
        state.slots.add(batch if state.candidates is None else state.candidates.separate(event_batch.batch))
    if file.path in state.reader.unreadable:
        return
    if file.format == "parquet" and (span := parquet_span(file, state.settings)):
        checkpoints = Checkpoints()
        checkpoints.add(span[1], 0)
    state.files.append(
        LogFileProgress(
            path=file.path,
            size=file.size,
            mtime=file.mtime,
            offset=end,
            checkpoints=checkpoints.to_rows(),
            events=state.events - events,
            rejected=quarantine.count - rejected,
            read_at=state.now,
        )
    )


def _event_batches(state: _SplitState, split_range: SplitRange, file: LogFile) -> Iterator[EventBatch]:
    """Yield the events of a range. No batch spans `already_read`, so that late events are counted from there on."""
    file_range, start, stop = split_range.file_range, split_range.start, split_range.stop
    already_read = file_range.already_read
    if file.format == "parquet":
        since, until = read_window(state.plan, file_range)
        yield from state.reader.read_file(file, since=since, until=until, start=start, stop=stop)
        return
    if start < already_read:
        boundary = already_read if stop is None else min(already_read, stop)
        yield from state.reader.read_file(file, start=start, stop=boundary, skip_rejects_before=already_read)
    if file.path not in state.reader.unreadable and (stop is None or stop > already_read):
        yield from state.reader.read_file(file, start=max(start, already_read), stop=stop)


def _key_codes(table: pa.Table) -> Ints:
    codes = np.zeros(table.num_rows, np.int64)
    for name in ("account_id", "date_range", "report"):
        column = table[name].combine_chunks()
        codes = codes * len(column.dictionary) + column.indices.to_numpy(zero_copy_only=False)
    return codes


def _runs(sorted_values: Ints) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(sorted_values)) + 1
    bounds = [0, *edges.tolist(), len(sorted_values)]
    yield from pairwise(bounds)
