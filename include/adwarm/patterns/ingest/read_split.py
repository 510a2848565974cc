"""Reads one share of a log into slots. What comes of it depends on the share alone, so a retry gives the same again.

Slots are stored as objects day by day; nothing refers to them until they are adopted.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.access_log.checkpoints import Checkpoints
from adwarm.access_log.log_files import LogFile, list_files
from adwarm.access_log.log_reader import EventBatch, LogReader, filter_window, parquet_span, timestamp_column
from adwarm.access_log.quarantine import Quarantine, RejectedSample
from adwarm.access_log.timestamps import HOUR, from_micros, to_micros
from adwarm.foundation.errors import NotFound, Transient
from adwarm.patterns.arrow_memory import system_memory_pool
from adwarm.patterns.background_iterator import iterate_in_background, map_in_background
from adwarm.patterns.ingest.plan import IngestPlan
from adwarm.patterns.ingest.splits import LogSplit, SplitRange, read_window
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.store import Context
from adwarm.store.aggregates import HourAggregate, LogFileProgress
from adwarm.store.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What came of a share.

    Attributes:
        days: by UTC day since the epoch, the hours of the day that have slots; they share one object.
        files: what was read of each file; those that cannot be read are left out.
        unreadable: paths of files that could not be read to their end.
        events: read in the window, by anybody.
        ignored: requests in a web server's log that open no report.
        keys: distinct account, range and report; None when nobody has seen all of them.
    """

    days: dict[int, list[HourAggregate]]
    files: list[LogFileProgress]
    unreadable: list[str]
    events: int
    keys: int | None
    ignored: int
    by_reason: dict[str, int]
    samples: list[RejectedSample]


@dataclass
class _SplitState:
    """What has been gathered so far."""

    plan: IngestPlan
    reader: LogReader
    now: datetime
    slots: SlotAggregator = field(default_factory=SlotAggregator)
    files: list[LogFileProgress] = field(default_factory=list)
    events: int = 0


def read_split(context: Context, plan: IngestPlan, split: LogSplit, now: datetime) -> SplitResult:
    """Read the share and store its slots."""
    work = _SplitState(plan, LogReader(context.settings, Quarantine()), now)
    with system_memory_pool():
        for piece in split.ranges:
            _read_range(work, piece)
        days = dict(
            map_in_background(lambda item: (item[0], list(save_day(item[1], context.objects))), work.slots.days())
        )
    quarantine = work.reader.quarantine
    return SplitResult(
        days,
        work.files,
        sorted(work.reader.unreadable),
        work.events,
        work.slots.count_keys(),
        quarantine.ignored,
        dict(sorted(quarantine.by_reason.items())),
        quarantine.samples,
    )


def require_unchanged(split: LogSplit) -> None:
    """Raise when a file of the share is no longer what it was when the share was cut; it may have grown.

    Raises:
        Transient: it was replaced, cut, or is gone.
    """
    for piece in split.ranges:
        if not piece.file_range.file.problem and not _is_unchanged(piece.file_range.file):
            raise Transient(f"{piece.file_range.file.path} changed while the log was read; start the run again")


def _is_unchanged(file: LogFile) -> bool:
    try:
        found = list_files(file.path)[0]
    except NotFound:
        return False
    if file.format == "parquet":
        return (found.size, found.mtime) == (file.size, file.mtime)
    return found.size >= file.size


def save_day(table: pa.Table, objects: ObjectStore) -> Iterator[HourAggregate]:
    """Store the slots of one day; yield the rows of its hours."""
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


def _read_range(work: _SplitState, piece: SplitRange) -> None:
    """Count the events of one slice, and note how far its file has been read."""
    since = None if work.plan.since is None else to_micros(work.plan.since)
    until, part = to_micros(work.plan.until), piece.file_range
    quarantine, rejected, events = work.reader.quarantine, work.reader.quarantine.count, work.events
    checkpoints = Checkpoints(part.checkpoints if piece.start == part.start else ())
    end = piece.start
    for found in iterate_in_background(_event_batches(work, piece)):
        end = max(end, found.end)
        if not found.batch.num_rows:
            continue
        moments = timestamp_column(found.batch)
        checkpoints.add(int(moments.max()), found.start)
        if since is not None and part.late_from is not None and found.start >= part.late_from:
            quarantine.add_count("late", int(np.count_nonzero(moments < since)))
        batch = filter_window(found.batch, since, until)
        work.slots.add(batch)
        work.events += batch.num_rows
    file = part.file
    if file.path in work.reader.unreadable:
        return
    if file.format == "parquet" and (span := parquet_span(file)):
        checkpoints = Checkpoints()
        checkpoints.add(span[1], 0)
    counts = (work.events - events, quarantine.count - rejected)
    work.files.append(LogFileProgress(file.path, file.size, file.mtime, end, checkpoints.to_rows(), *counts, work.now))


def _event_batches(work: _SplitState, piece: SplitRange) -> Iterator[EventBatch]:
    """Yield the pieces of a slice; none lies across the border of what was known before."""
    part, stop = piece.file_range, piece.stop
    if part.file.format == "parquet":
        since, until = read_window(work.plan, part)
        yield from work.reader.read_file(part.file, since=since, until=until, start=piece.start, stop=stop)
        return
    if piece.start < part.already_read:
        border = part.already_read if stop is None else min(part.already_read, stop)
        yield from work.reader.read_file(part.file, start=piece.start, stop=border, skip_rejects_before=part.already_read)
    is_lost = part.file.path in work.reader.unreadable
    if not is_lost and (stop is None or stop > part.already_read):
        yield from work.reader.read_file(part.file, start=max(piece.start, part.already_read), stop=stop)


def _key_codes(table: pa.Table) -> npt.NDArray[np.int64]:
    codes = np.zeros(table.num_rows, np.int64)
    for name in ("account_id", "date_range", "report"):
        column = table[name].combine_chunks()
        codes = codes * len(column.dictionary) + column.indices.to_numpy(zero_copy_only=False)
    return codes


def _runs(sorted_values: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(sorted_values)) + 1
    bounds = [0, *edges.tolist(), len(sorted_values)]
    yield from pairwise(bounds)
