"""Decides which ranges of which files a run has to read, from what earlier runs have read of them.

A file may be skipped only when it cannot hold an event of the hours that the run recomputes. When the open log has
opens too, the hour before is read as well, to find the opens that both logs hold.

Divides what a run has to read into splits that workers can read in parallel.

Splits are in the order of the log. A large file is divided at the start of a line or of a row group, and its splits
hold nothing else; small files are grouped. How a log is split does not change the published aggregates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from adwarm.access_log.lines import Checkpoints
from adwarm.access_log.log_files import FILE_ERRORS, LogFile, is_file_error
from adwarm.access_log.log_reader import parquet_groups
from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.foundation.clock import floor_to
from adwarm.patterns.ingest.open_days import OpenDay, OpenSources
from adwarm.settings import AccessLogSettings
from adwarm.store.aggregates import LATE, LogFileProgress

ONE_HOUR = timedelta(hours=1)
SPLIT_EVENTS = 5_000_000
"""A run with more unread events splits the log over mapped tasks of about this many: some minutes of work each."""
_LINE_BYTES = 100
_ROW_BYTES = 6
_PACKED = 8
_LONGEST_LINE = 1 << 20
"""A file is not divided at an offset when no line begins within this many bytes after it."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """A range of a file to read, up to its end.

    Attributes:
        start: where to begin: a byte offset, or a row of a Parquet file.
        already_read: lines before this offset were read by an earlier run, which has counted their rejects.
        late_from: an event from this offset on that is older than the window is late; None where new events cannot be
            told from old ones.
        checkpoints: the stored checkpoints that stay valid for what lies before `start`.
    """

    file: LogFile
    start: int
    already_read: int = 0
    late_from: int | None = None
    checkpoints: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IngestPlan:
    """What a run reads.

    Attributes:
        since: recompute the hours from here on; None: all hours.
        gone: progress of files that no longer exist, or no longer begin with what was read of them.
        idle: nothing has changed, so only the watermark moves.
        open_days: the days of the open log, oldest first.
    """

    since: datetime | None
    until: datetime
    ranges: list[FileRange]
    gone: list[LogFileProgress]
    idle: bool = False
    open_days: list[OpenDay] = field(default_factory=list)
    sources: OpenSources = field(default_factory=OpenSources)

    @property
    def read_since(self) -> datetime | None:
        """From when on events are read; those before `since` match opens and do not count."""
        return self.since - ONE_HOUR if self.since is not None and self.open_days else self.since


def find_window_hours(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the hours that touch an explicit window."""
    return floor_to(since, ONE_HOUR), floor_to(until + ONE_HOUR - timedelta.resolution, ONE_HOUR)


def plan_window(
    files: list[LogFile],
    rows: dict[str, LogFileProgress],
    hours: tuple[datetime, datetime],
    open_days: list[OpenDay] | None = None,
    sources: OpenSources | None = None,
) -> IngestPlan:
    """Return the plan to read exactly the hours that touch an explicit window; see `find_window_hours`."""
    since, until = hours
    plan = IngestPlan(since, until, [], [], open_days=open_days or [], sources=sources or OpenSources())
    for file in files:
        row = rows.get(file.path)
        # A file that only grew is read from the checkpoint of the window's first hour; a new file has no checkpoint.
        start = 0
        if row is not None and _is_continuation(file, row):
            offset = Checkpoints(row.checkpoints).find_offset(_hour(plan.read_since or since))
            start = row.offset if offset is None else offset
        plan.ranges.append(FileRange(file, start))
    return plan


def find_live_start(
    files: list[LogFile], rows: dict[str, LogFileProgress], watermark: datetime | None
) -> datetime | None:
    """Return from when on a run recomputes hours; None when it reads everything: the first run, and with a new log."""
    if watermark is None or (files and not any(file.path in rows for file in files)):
        return None
    return floor_to(watermark, ONE_HOUR) - LATE


def plan_live(
    files: list[LogFile],
    rows: dict[str, LogFileProgress],
    watermark: datetime | None,
    now: datetime,
    plan: IngestPlan,
) -> IngestPlan:
    """Return `plan` with the ranges to read: what was added since the watermark, and all of the hours from `since` on.

    Args:
        plan: the start that `find_live_start` gives, the days of the open log, and no ranges yet.
    """
    since = plan.since
    if watermark is None or since is None:
        return replace(plan, ranges=[FileRange(file, 0) for file in files])
    paths = {file.path for file in files} | {day.path for day in plan.open_days}
    gone = [row for path, row in rows.items() if path not in paths]
    gone += [rows[file.path] for file in files if file.path in rows and _was_replaced(file, rows[file.path])]
    ranges = [item for file in files if (item := _live_range(file, rows.get(file.path), plan.read_since or since))]
    unchanged = all(
        item.file.problem or (item.file.path in rows and _same(item.file, rows[item.file.path])) for item in ranges
    )
    unchanged &= all(day.path in rows and rows[day.path].size == day.size for day in plan.open_days)
    read = [item.file.path for item in ranges] + [day.path for day in plan.open_days]
    pending = any(_has_events_after(rows[path], watermark) for path in read if path in rows)
    # A clock that was set back must not remove hours beyond `now` that are already stored.
    return replace(plan, until=max(now, watermark), ranges=ranges, gone=gone, idle=unchanged and not pending)


def _live_range(file: LogFile, row: LogFileProgress | None, since: datetime) -> FileRange | None:
    if row is None or not _is_continuation(file, row):
        # All rows of a replaced text file are new; which rows of a rewritten Parquet file are new is unknown.
        return FileRange(file, 0, late_from=None if row and file.format == "parquet" else 0)
    entries = Checkpoints(row.checkpoints)
    start = entries.find_offset(_hour(since))
    if start is None and _same(file, row):
        return None  # all its events are older than the hours to recompute
    start = row.offset if start is None else start
    if file.format == "parquet":
        return FileRange(file, start)
    return FileRange(file, start, row.offset, row.offset, entries.before(start).to_rows())


def _is_continuation(file: LogFile, row: LogFileProgress) -> bool:
    """Whether the file still begins with what was read of it; a Parquet file only changes as a whole."""
    if file.format == "parquet":
        return _same(file, row)
    return file.size >= row.size and _ends_a_line(file, row)


def _was_replaced(file: LogFile, row: LogFileProgress) -> bool:
    return file.format != "parquet" and not _is_continuation(file, row)


def archived_rows(gone: list[LogFileProgress], read: list[LogFileProgress]) -> list[LogFileProgress]:
    """Return the progress of replaced files under paths that no file has, so that their checkpoints are kept."""
    paths = {row.path for row in read}
    return [replace(row, path=f"{row.path[:1000]}#{row.read_at:%Y%m%dT%H%M%S}") for row in gone if row.path in paths]


def expired_paths(gone: list[LogFileProgress], since: datetime | None) -> list[str]:
    """Return the paths of missing files whose hours can no longer be recomputed."""
    latest = ((row.path, Checkpoints(row.checkpoints).latest) for row in gone)
    return [path for path, hour in latest if since is not None and (hour is None or hour < _hour(since))]


def _ends_a_line(file: LogFile, row: LogFileProgress) -> bool:
    if _same(file, row) or not row.offset:
        return True
    try:
        with file.open_at(row.offset - 1) as stream:
            return stream.read(1) == b"\n"
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return False  # it is read from its beginning, which quarantines it


def _same(file: LogFile, row: LogFileProgress) -> bool:
    return file.size == row.size and file.mtime == row.mtime


def _has_events_after(row: LogFileProgress, watermark: datetime) -> bool:
    """Whether the file held events at or after the hour of the watermark."""
    latest = Checkpoints(row.checkpoints).latest
    return latest is not None and latest >= _hour(watermark)


def _hour(moment: datetime) -> int:
    return to_micros(moment) // HOUR


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
    elif not file_range.file.is_stored_as_read:
        starts = []  # each worker would have to decompress or parse all before its part
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
