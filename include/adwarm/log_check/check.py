"""Reads a whole log as an ingest does, stores nothing, and says what was found; memory does not grow with the log."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adwarm.access_log.file_columns import FileColumns, describe_columns
from adwarm.access_log.log_files import FILE_ERRORS, LogFile, SkippedFiles, is_file_error, list_files, list_skipped
from adwarm.access_log.log_reader import LogReader, parquet_groups, timestamp_column
from adwarm.access_log.quarantine import Quarantine
from adwarm.access_log.timestamps import from_micros
from adwarm.foundation.arrow_arrays import system_memory_pool, to_numpy
from adwarm.foundation.background_iterator import iterate_in_background
from adwarm.log_check.learnable import Learnable, measure_learnable
from adwarm.model import Actor
from adwarm.patterns.reloads import drop_reloads
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import AccessLogSettings, Settings

_KEY = ("account_id", "date_range", "report", "actor")
_ROWS_AT_ONCE = 50_000
"""Slots of a table that is searched for reloads: a table for each day would take twice the time."""

Hashes = npt.NDArray[np.uint64]
_GZIP_TAIL = 4
"""The last bytes of a gzip file hold the size of its content, modulo 4 GB."""


class RepeatCounter:
    """Counts exact repeats over the whole log.

    All batches must come from one `LogReader`, whose codes are the same in each of them.

    Args:
        limit: distinct events in memory, 8 bytes each. With more, a half is dropped by hash, and the count becomes an
            estimate.
    """

    def __init__(self, limit: int = 1_000_000) -> None:
        self._limit = limit
        self._rate = 1
        self._seen: Hashes = np.empty(0, np.uint64)
        self._new: list[Hashes] = []
        self._new_count = 0
        self._exact = 0

    @property
    def is_estimate(self) -> bool:
        """Whether `exact` is estimated from a sample."""
        return self._rate > 1

    @property
    def exact(self) -> int:
        """How many events have the same time, key, zone and actor as one before them."""
        self._merge()
        return self._exact

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of events."""
        if not batch.num_rows:
            return
        moments = timestamp_column(batch)
        key = np.zeros(batch.num_rows, np.uint64)
        for name in _KEY:
            key = _mix(key ^ _codes(batch, name))
        event = _mix(_mix(key ^ _codes(batch, "time_zone")) ^ moments.view(np.uint64))
        sample = event if self._rate == 1 else event[event % np.uint64(self._rate) == 0]
        self._new.append(sample)
        self._new_count += len(sample)
        if self._new_count >= self._limit:
            self._merge()

    def _merge(self) -> None:
        if self._new_count:
            everything = np.concatenate([self._seen, *self._new])
            self._seen = np.unique(everything)
            self._exact += (len(everything) - len(self._seen)) * self._rate
            self._new, self._new_count = [], 0
        while len(self._seen) > self._limit:
            self._rate *= 2
            self._seen = self._seen[self._seen % np.uint64(self._rate) == 0]


def _codes(batch: pa.RecordBatch, name: str) -> Hashes:
    return np.asarray(to_numpy(batch.column(name).indices)).astype(np.uint64)


def _mix(values: Hashes) -> Hashes:
    """Return well distributed hashes (the finalizer of SplitMix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far a check is.

    Attributes:
        done_bytes: bytes as stored, estimated within a compressed or a Parquet file.
        rejected: lines and files so far.
    """

    done_bytes: int
    total_bytes: int
    events: int
    rejected: int


OnProgress = Callable[[CheckProgress], None]


@dataclass
class FileCheck:
    """What was found in one file."""

    file: LogFile
    columns: FileColumns
    accepted: int = 0
    rejected: int = 0
    ignored: int = 0


@dataclass
class LogCheck:
    """What was found in a log.

    Attributes:
        skipped: files of the folder that are not part of the log.
        quarantine: counts by reason, with one sample of each.
        rejected_values: some of the values, by field, that were not understood.
        zones: accepted events by reader zone; empty where the log names none.
        first: the first accepted event, UTC; None when there is none.
        last: the last one.
        reloads: human opens that follow each other at a fixed interval, and that a forecast does not learn from.
    """

    url: str
    files: list[FileCheck] = field(default_factory=list)
    skipped: SkippedFiles = field(default_factory=lambda: SkippedFiles(0, []))
    quarantine: Quarantine = field(default_factory=lambda: Quarantine(per_reason=1, paths_kept=100))
    rejected_values: dict[str, list[str]] = field(default_factory=dict)
    zones: Counter[str] = field(default_factory=Counter)
    actors: Counter[str] = field(default_factory=Counter)
    machine_agents: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    repeats: RepeatCounter = field(default_factory=RepeatCounter)
    reloads: int = 0
    learnable: Learnable | None = None

    @property
    def events(self) -> int:
        """Accepted events of any actor."""
        return self.actors.total()

    @property
    def is_usable(self) -> bool:
        """Whether a forecast could learn anything: there is at least one human open."""
        return self.learnable is not None and self.learnable.opens > 0


def check_log(url: str, settings: Settings, on_progress: OnProgress | None = None) -> LogCheck:
    """Read the log at `url` to its end.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: a setting about the log's columns, values or paths is not valid.
    """
    check = LogCheck(url, skipped=list_skipped(url))
    reader = LogReader(settings, check.quarantine)
    reader.requests.machine_agents = check.machine_agents
    files = list_files(url)
    total, done = sum(file.size for file in files), 0
    slots = SlotAggregator()
    with system_memory_pool():
        for file in files:
            item = FileCheck(file, describe_columns(file, settings.access_log))
            check.files.append(item)
            size = _estimate_end(file, settings.access_log)

            def report(end: int, file: LogFile = file, size: int = size, before: int = done) -> None:
                if on_progress is not None:
                    share = min(end / size, 1.0) if size else 1.0
                    so_far = before + int(file.size * share)
                    on_progress(CheckProgress(so_far, total, check.events, check.quarantine.count))

            _read_file(check, reader, item, slots, report)
            done += file.size
            report(size)
        check.rejected_values = reader.rejected_values()
        tables = drop_reloads(table for _, table in slots.days(_ROWS_AT_ONCE))
        check.learnable = measure_learnable(tables, settings.forecast.history_days)
        opens = sum(count for actor, count in check.actors.items() if Actor(actor).is_human)
        check.reloads = opens - check.learnable.opens
    return check


def _read_file(
    check: LogCheck, reader: LogReader, item: FileCheck, slots: SlotAggregator, report: Callable[[int], None]
) -> None:
    rejected, ignored = check.quarantine.count, check.quarantine.ignored
    for event_batch in iterate_in_background(reader.read_file(item.file)):
        batch = event_batch.batch
        if batch.num_rows:
            _count_values(check, batch)
            check.repeats.add(batch)
            slots.add(batch)
            item.accepted += batch.num_rows
        report(event_batch.end)
    item.rejected, item.ignored = check.quarantine.count - rejected, check.quarantine.ignored - ignored


def _count_values(check: LogCheck, batch: pa.RecordBatch) -> None:
    for counter, name in ((check.zones, "time_zone"), (check.actors, "actor")):
        column = batch.column(name)
        counts = np.bincount(to_numpy(column.indices), minlength=len(column.dictionary))
        for code in np.flatnonzero(counts).tolist():
            counter[column.dictionary[code].as_py()] += int(counts[code])
    moments = timestamp_column(batch)
    first, last = from_micros(int(moments.min())), from_micros(int(moments.max()))
    check.first = first if check.first is None else min(check.first, first)
    check.last = last if check.last is None else max(check.last, last)


def _estimate_end(file: LogFile, settings: AccessLogSettings) -> int:
    """Return where the reader will be at the end of the file: bytes of content, or rows of a Parquet file."""
    if file.format == "parquet":
        return sum(rows for _, rows in parquet_groups(file, settings, None, None))
    if not file.is_gzipped or file.size < _GZIP_TAIL:
        return file.size
    try:
        with file.open_stored() as stored:
            stored.seek(file.size - _GZIP_TAIL)
            return int.from_bytes(stored.read(_GZIP_TAIL), "little")
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return file.size  # reading the file reports it
