"""Divides what a run has to read into splits that workers can read in parallel.

Splits are in the order of the log. A large file is divided at the start of a line or of a row group, and its splits
hold nothing else; small files are grouped. How a log is split does not change the published aggregates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from adwarm.access_log.log_files import FILE_ERRORS, LogFile, is_file_error
from adwarm.access_log.log_reader import parquet_groups
from adwarm.patterns.ingest.plan import FileRange, IngestPlan
from adwarm.settings import AccessLogSettings

SPLIT_EVENTS = 5_000_000
"""A run with more unread events splits the log over mapped tasks of about this many: some minutes of work each."""
_LINE_BYTES = 100
_ROW_BYTES = 6
_PACKED = 8
_LONGEST_LINE = 1 << 20
"""A file is not divided at an offset when no line begins within this many bytes after it."""


@dataclass(frozen=True, slots=True)
class SplitRange:
    """A part of a file range, from the offset or row `start` to `stop`; None: to the end."""

    file_range: FileRange
    start: int
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class LogSplit:
    """What one worker reads.

    Attributes:
        continues: whether it begins inside a file of the split before it.
    """

    ranges: list[SplitRange]
    continues: bool = False


def single_split(plan: IngestPlan) -> list[LogSplit]:
    """Return everything as one split; none when there is nothing to read."""
    return [LogSplit([SplitRange(item, item.start) for item in plan.ranges])] if plan.ranges and not plan.idle else []


def make_splits(plan: IngestPlan, settings: AccessLogSettings, limit: int) -> list[LogSplit]:
    """Return about `limit` splits or fewer, of about `SPLIT_EVENTS` events each.

    There are a few more than `limit` where files cannot be divided evenly, one when there are no more than
    `SPLIT_EVENTS` events in all, and none when there is nothing to read.
    """
    weights = [_estimate_events(file_range) for file_range in plan.ranges]
    if sum(weights) <= SPLIT_EVENTS:
        return single_split(plan)
    size = max(SPLIT_EVENTS, -(-sum(weights) // limit))
    splits: list[LogSplit] = []
    small: list[SplitRange] = []
    small_weight = 0
    for file_range, weight in zip(plan.ranges, weights, strict=True):
        parts = [SplitRange(file_range, file_range.start)]
        if weight > size:
            parts = _split_range(plan, file_range, settings, size)
        if small and (len(parts) > 1 or small_weight + weight > size):
            splits.append(LogSplit(small))
            small, small_weight = [], 0
        if len(parts) > 1:
            splits += [LogSplit([part], continues=number > 0) for number, part in enumerate(parts)]
        else:
            small += parts
            small_weight += weight
    return [*splits, LogSplit(small)] if small else splits


def read_window(plan: IngestPlan, file_range: FileRange) -> tuple[datetime | None, datetime]:
    """Return the window of the Parquet row groups to read; it has no start where late events are counted."""
    return (plan.read_since if file_range.late_from is None else None), plan.until


def _estimate_events(file_range: FileRange) -> int:
    """Estimate how many events of a range are still to be read, erring on the high side."""
    file = file_range.file
    if file.format == "parquet":
        return file.size // _ROW_BYTES + 1
    size = file.size * _PACKED if file.is_gzipped else file.size
    return max(size - file_range.start, 0) // _LINE_BYTES + 1


def _split_range(plan: IngestPlan, file_range: FileRange, settings: AccessLogSettings, size: int) -> list[SplitRange]:
    """Return the range in parts of about `size` events; in one where it cannot be divided."""
    if file_range.file.format == "parquet":
        groups = parquet_groups(file_range.file, settings, *read_window(plan, file_range))
        starts = _group_starts(file_range, groups, size)
    elif file_range.file.is_gzipped:
        starts = []  # each worker would have to decompress all before its part
    else:
        starts = _line_starts(file_range.file, file_range.start, size * _LINE_BYTES)
    bounds: list[int | None] = [file_range.start, *starts, None]
    return [SplitRange(file_range, start or 0, stop) for start, stop in pairwise(bounds)]


def _group_starts(file_range: FileRange, groups: Sequence[tuple[int, int]], size: int) -> list[int]:
    """Return the first rows of the row groups that begin a new part."""
    starts, events = [], 0
    for first, rows in groups:
        if events and events + rows > size and first > file_range.start:
            starts.append(first)
            events = 0
        events += rows
    return starts


def _line_starts(file: LogFile, start: int, step: int) -> list[int]:
    try:
        return list(_iter_line_starts(file, start, step))
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return []  # removed or closed since it was listed; reading it will quarantine it


def _iter_line_starts(file: LogFile, start: int, step: int) -> Iterator[int]:
    """Yield offsets about `step` bytes apart at which a line begins."""
    last = start
    for offset in range(start + step, file.size, step):
        if offset <= last:
            continue
        with file.open_at(offset) as stream:
            rest = stream.readline(_LONGEST_LINE)
            if rest.endswith(b"\n") and stream.tell() < file.size:
                last = stream.tell()
                yield last
