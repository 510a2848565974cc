"""Decides which parts of which files a run has to read, and remembers how far it came.

A file may be skipped only when it cannot hold an event of the hours that the run recomputes.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from adwarm.access_log.checkpoints import Checkpoints
from adwarm.access_log.log_files import FILE_ERRORS, LogFile, is_file_error
from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.foundation.clock import floor_to
from adwarm.store.aggregates import LogFileProgress

ONE_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class FileRange:
    """A stretch of a file to read.

    Attributes:
        start: where to begin: a byte offset, or a row of a Parquet file.
        known: up to here an earlier run has judged the lines.
        late_from: from here on an event older than the window has come too late; None where that cannot be told.
        checkpoints: those that stay true of what lies before `start`, as stored.
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
        since: recompute the hours from here on; None: all there are.
        gone: rows of files that are no longer there, or no longer begin with what was read of them.
        idle: nothing has changed, so that only the watermark moves.
    """

    since: datetime | None
    until: datetime
    ranges: list[FileRange]
    gone: list[LogFileProgress]
    idle: bool = False


def plan_window(files: list[LogFile], rows: dict[str, LogFileProgress], since: datetime, until: datetime) -> IngestPlan:
    """Return the plan to read exactly the hours of a window that was asked for."""
    since, until = floor_to(since, ONE_HOUR), floor_to(until + ONE_HOUR - timedelta.resolution, ONE_HOUR)
    parts = []
    for file in files:
        row = rows.get(file.path)
        # A file that only grew may be entered where the window begins; what was never read has no checkpoint.
        start = 0
        if row is not None and _is_continuation(file, row):
            found = Checkpoints(row.checkpoints).find_offset(_hour(since))
            start = row.offset if found is None else found
        parts.append(FileRange(file, start))
    return IngestPlan(since, until, parts, [])


def plan_live(
    files: list[LogFile], rows: dict[str, LogFileProgress], watermark: datetime | None, now: datetime, late: timedelta
) -> IngestPlan:
    """Return the plan to read what came in since the watermark, reopening the last `late` hours before it."""
    if watermark is None or not any(file.path in rows for file in files):
        return IngestPlan(None, now, [FileRange(file, 0) for file in files], [])
    since = floor_to(watermark, ONE_HOUR) - late
    paths = {file.path for file in files}
    gone = [row for path, row in rows.items() if path not in paths]
    gone += [rows[file.path] for file in files if file.path in rows and _was_replaced(file, rows[file.path])]
    parts = [part for file in files if (part := _live_range(file, rows.get(file.path), since))]
    unchanged = all(
        part.file.problem or (part.file.path in rows and _same(part.file, rows[part.file.path])) for part in parts
    )
    pending = any(_has_events_after(rows[part.file.path], watermark) for part in parts if part.file.path in rows)
    # A clock that was set back must not cut the hours that are there already.
    return IngestPlan(since, max(now, watermark), parts, gone, idle=unchanged and not pending)


def _live_range(file: LogFile, row: LogFileProgress | None, since: datetime) -> FileRange | None:
    if row is None or not _is_continuation(file, row):
        # Which rows of a rewritten Parquet file are new cannot be told; those of a replaced text file all are.
        return FileRange(file, 0, late_from=None if row and file.format == "parquet" else 0)
    entries = Checkpoints(row.checkpoints)
    start = entries.find_offset(_hour(since))
    if start is None and _same(file, row):
        return None  # all its events are older than the hours in question
    start = row.offset if start is None else start
    if file.format == "parquet":
        return FileRange(file, start)
    return FileRange(file, start, row.offset, row.offset, entries.before(start).to_rows())


def _is_continuation(file: LogFile, row: LogFileProgress) -> bool:
    """Whether what was read of the file is still its beginning; a Parquet file changes as a whole."""
    if file.format == "parquet":
        return _same(file, row)
    return file.size >= row.size and _ends_a_line(file, row)


def _was_replaced(file: LogFile, row: LogFileProgress) -> bool:
    return file.format != "parquet" and not _is_continuation(file, row)


def archived_rows(gone: list[LogFileProgress], read: list[LogFileProgress]) -> list[LogFileProgress]:
    """Return rows that keep in mind what a replaced file held, under a name that no file has."""
    paths = {row.path for row in read}
    return [replace(row, path=f"{row.path[:1000]}#{row.read_at:%Y%m%dT%H%M%S}") for row in gone if row.path in paths]


def expired_paths(gone: list[LogFileProgress], since: datetime | None) -> list[str]:
    """Return the paths of vanished files none of whose hours can be reopened any more."""
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
        return False  # cut short, closed or gone: to be read from its beginning, where the quarantine tells


def _same(file: LogFile, row: LogFileProgress) -> bool:
    return file.size == row.size and file.mtime == row.mtime


def _has_events_after(row: LogFileProgress, watermark: datetime) -> bool:
    """Whether the file held events that were still to come at the watermark."""
    latest = Checkpoints(row.checkpoints).latest
    return latest is not None and latest >= _hour(watermark)


def _hour(moment: datetime) -> int:
    return to_micros(moment) // HOUR
