"""Cuts what a run has to read into shares that workers can read side by side.

Shares follow each other as the log does. A large file is cut at the start of a line or of a row group, and has its
shares to itself; small files are taken together. How a log is cut changes nothing in what comes of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from adwarm.access_log.log_files import FILE_ERRORS, LogFile, is_file_error
from adwarm.access_log.log_reader import parquet_groups
from adwarm.patterns.ingest.plan import FileRange, IngestPlan

_LINE_BYTES = 100
_ROW_BYTES = 6
_PACKED = 8
_LONGEST_LINE = 1 << 20
"""A cut is given up when no line begins within so many bytes."""


@dataclass(frozen=True, slots=True)
class SplitRange:
    """A stretch of a part: from the offset or row `start` to `stop`; None: to the end."""

    file_range: FileRange
    start: int
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class LogSplit:
    """What one worker reads.

    Attributes:
        continues: whether it begins inside a file that the share before it has begun.
    """

    ranges: list[SplitRange]
    continues: bool = False


def single_split(plan: IngestPlan) -> list[LogSplit]:
    """Return everything as one share; none when there is nothing to read."""
    return [LogSplit([SplitRange(part, part.start) for part in plan.ranges])] if plan.ranges and not plan.idle else []


def make_splits(plan: IngestPlan, split_events: int, limit: int) -> list[LogSplit]:
    """Return at most `most` shares, and some more where files cannot be cut so evenly, of about `events` each.

    One share is returned when all together is no more than that; none when there is nothing to read.
    """
    weights = [_estimate_events(part) for part in plan.ranges]
    if sum(weights) <= split_events:
        return single_split(plan)
    each = max(split_events, -(-sum(weights) // limit))
    found: list[LogSplit] = []
    small: list[SplitRange] = []
    held = 0
    for part, weight in zip(plan.ranges, weights, strict=True):
        cut = _split_range(plan, part, each) if weight > each else [SplitRange(part, part.start)]
        if small and (len(cut) > 1 or held + weight > each):
            found.append(LogSplit(small))
            small, held = [], 0
        if len(cut) > 1:
            found += [LogSplit([piece], continues=number > 0) for number, piece in enumerate(cut)]
        else:
            small += cut
            held += weight
    return [*found, LogSplit(small)] if small else found


def read_window(plan: IngestPlan, file_range: FileRange) -> tuple[datetime | None, datetime]:
    """Return the window whose row groups of a Parquet file are read: all older ones where late events are counted."""
    return (plan.since if file_range.late_from is None else None), plan.until


def _estimate_events(part: FileRange) -> int:
    """Guess how many events are still to be read of a part, rather too many than too few."""
    file = part.file
    if file.format == "parquet":
        return file.size // _ROW_BYTES + 1
    size = file.size * _PACKED if file.is_gzipped else file.size
    return max(size - part.start, 0) // _LINE_BYTES + 1


def _split_range(plan: IngestPlan, part: FileRange, each: int) -> list[SplitRange]:
    """Return the part in slices of about `each` events; as one where it cannot be cut."""
    if part.file.format == "parquet":
        starts = _group_starts(part, parquet_groups(part.file, *read_window(plan, part)), each)
    elif part.file.is_gzipped:
        starts = []  # it would have to be unpacked up to each cut
    else:
        starts = _line_starts(part.file, part.start, each * _LINE_BYTES)
    bounds: list[int | None] = [part.start, *starts, None]
    return [SplitRange(part, start or 0, stop) for start, stop in pairwise(bounds)]


def _group_starts(part: FileRange, groups: Sequence[tuple[int, int]], each: int) -> list[int]:
    """Return the first rows of the row groups that begin a new slice."""
    cuts, held = [], 0
    for first, rows in groups:
        if held and held + rows > each and first > part.start:
            cuts.append(first)
            held = 0
        held += rows
    return cuts


def _line_starts(file: LogFile, start: int, step: int) -> list[int]:
    try:
        return list(_iter_line_starts(file, start, step))
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return []  # gone or closed since it was listed: reading it says so


def _iter_line_starts(file: LogFile, start: int, step: int) -> Iterator[int]:
    """Yield offsets about `step` bytes apart at which a line begins."""
    last = start
    for wanted in range(start + step, file.size, step):
        if wanted <= last:
            continue
        with file.open_at(wanted) as stream:
            rest = stream.readline(_LONGEST_LINE)
            if rest.endswith(b"\n") and stream.tell() < file.size:
                last = stream.tell()
                yield last
