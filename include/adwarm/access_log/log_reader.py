"""Reads a log as batches of events, in bounded memory, whatever its format.

All reading goes through `LogReader.read_file`. A line, row or file that cannot be read is quarantined; a failing
network or disk raises.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from adwarm.access_log import parquet_log as columnar
from adwarm.access_log.events import EventBuilder
from adwarm.access_log.formats import describe_path_pattern
from adwarm.access_log.lines import MAX_LINE_BYTES, LineBlock, line_blocks
from adwarm.access_log.log_files import FILE_ERRORS, LogFile, describe_error, is_file_error, list_files, reading_ahead
from adwarm.access_log.named_groups import SETTING
from adwarm.access_log.open_rules import OpenRules
from adwarm.access_log.parsers import (
    CombinedLogParser,
    CsvHead,
    CsvParser,
    JsonLinesParser,
    LineParser,
    Parser,
    is_separator_line,
)
from adwarm.access_log.quarantine import Quarantine, describe_unreadable
from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.access_log.web_requests import Columns, RequestFilter
from adwarm.foundation.arrow_arrays import (
    Micros,
    format_row,
    to_bool_array,
    to_numpy,
    to_python_values,
    to_string_array,
)
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import normalize_account_id
from adwarm.settings import AccessLogSettings, Settings

_CLOCK_SLACK = 366 * 86_400
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class EventBatch:
    """A batch of events and its position in the file: byte offsets, or row numbers of a Parquet file."""

    batch: pa.RecordBatch
    start: int
    end: int


class LogReader:
    """Reads the files of one log; values validated in one file are not validated again in the next.

    Args:
        with_request_ids: whether the events also hold the ids of their requests, in `EVENT_WITH_ID_SCHEMA`.
        stored: the accounts that exist; bare digits are one of these, see `normalize_account_id`.

    Attributes:
        unreadable: paths of files that could not be read to their end.

    Raises:
        BadRequest: a setting about the log's columns, values or paths is not valid.
    """

    def __init__(
        self,
        settings: Settings,
        quarantine: Quarantine | None = None,
        stored: Container[str] = (),
        *,
        with_request_ids: bool = False,
    ) -> None:
        self.quarantine = quarantine if quarantine is not None else Quarantine()
        self.unreadable: set[str] = set()
        log = settings.access_log
        normalize = partial(normalize_account_id, stored=stored, is_meta=settings.source.has_meta_ids)
        self._layout = columnar.ParquetLayout.from_settings(log, with_request_ids=with_request_ids)
        self._mapping = self._layout.mapping
        self._events = EventBuilder(settings, normalize, with_request_ids=with_request_ids)
        self._rules = OpenRules(log, self.quarantine.ignore, normalize)
        self._has_conditions = bool(log.where)
        elsewhere = {*log.constants, *self._mapping.given}
        if self._mapping.reads_paths:
            elsewhere |= log.columns.keys()
        self.requests = RequestFilter(log.pattern, self.quarantine.ignore, elsewhere)

    def rejected_values(self) -> dict[str, list[str]]:
        """Return some of the values, by field, that were not understood."""
        return self._events.rejected_values()

    def read_file(
        self,
        file: LogFile,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        start: int = 0,
        stop: int | None = None,
        skip_rejects_before: int = 0,
    ) -> Iterator[EventBatch]:
        """Yield the events of `file`.

        Args:
            since: events before it may be left out where that saves work; likewise events from `until` on.
            start: offset to begin at, the start of a line; in Parquet, row groups that end before this row are skipped.
            stop: offset to end at; in Parquet, row groups that begin at or after this row are skipped.
            skip_rejects_before: rejects before this offset were counted by an earlier run and are not counted again.
        """
        # An event cannot be newer than its file; the slack allows for wrong clocks.
        self._events.max_timestamp = int((file.mtime + _CLOCK_SLACK) * 1_000_000) if file.mtime else None
        if file.problem:
            self._quarantine_file(file, file.problem, file.reason)
            return
        if not file.size and file.format != "parquet":
            return  # a rotated log without lines
        try:
            if file.format == "parquet":
                yield from self._parquet(file, _micros(since), _micros(until), start, stop)
            else:
                yield from self._text(file, start, stop, skip_rejects_before)
        except FILE_ERRORS as error:
            if not is_file_error(error):
                raise
            self._quarantine_file(file, describe_error(error))

    def _quarantine_file(self, file: LogFile, problem: str, reason: str = "unreadable") -> None:
        self.unreadable.add(file.path)
        self.quarantine.add(reason, file.path, 0, problem)

    def _parquet(
        self, file: LogFile, since: int | None, until: int | None, start: int, stop: int | None
    ) -> Iterator[EventBatch]:
        with columnar.open_parquet(file, self._layout) as parquet:
            for first, batch in columnar.iter_batches(parquet, since, until, start, stop):

                def reject(reason: str, row: int, first: int = first, batch: pa.RecordBatch = batch) -> None:
                    excerpt = format_row(batch, row) if self.quarantine.can_keep(reason) else ""
                    self.quarantine.add(reason, file.path, first + row, excerpt)

                if self._mapping.reads_paths or not self._rules.is_empty:
                    columns = {name: to_python_values(batch.column(name)) for name in batch.schema.names}
                    events = self._build(columns, range(batch.num_rows), reject)
                else:
                    events = self._events.from_arrow(self._add_actors(batch), reject)
                yield EventBatch(events, first, first + batch.num_rows)

    def _add_actors(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with the actor of each row that names none but has a user agent."""
        names = batch.schema.names
        if "user_agent" not in names:
            return batch
        columns = {name: to_python_values(batch.column(name)) for name in ("user_agent", "actor") if name in names}
        actors = [value if isinstance(value, str) else None for value in self.requests.add_actors(columns)["actor"]]
        arrays = {name: batch.column(name) for name in names} | {"actor": to_string_array(actors)}
        return pa.RecordBatch.from_pydict(arrays)

    def _build(self, columns: Columns, rows: Sequence[int], reject: Any) -> pa.RecordBatch:
        """Return the events of raw columns, without rows that are not opens, and with what the settings add."""
        if not self._rules.is_empty:
            rows, columns = self._rules.select_opens(columns, rows)
        if self._mapping.reads_paths and "path" in columns:
            rows, columns = self.requests.select_opens(columns, rows)
        else:
            columns = self.requests.add_actors(columns)
        rows, columns = self._rules.add_accounts(columns, rows)
        return self._events.from_lists(columns, len(rows), lambda reason, row: reject(reason, rows[row]))

    def _text(self, file: LogFile, start: int, stop: int | None, skip_rejects_before: int) -> Iterator[EventBatch]:
        def reject(reason: str, offset: int, excerpt: bytes) -> None:
            if offset >= skip_rejects_before:
                self.quarantine.add(reason, file.path, offset, excerpt)

        parser, first = self._parser(file)
        start = max(start, first)
        with file.open_at(start) as stream:
            for block in line_blocks(stream, reject, start=start, stop=stop):
                yield EventBatch(self._parse_lines(parser, block, reject), block.start, block.end)

    def _parse_lines(self, parser: Parser, block: LineBlock, reject: Any) -> pa.RecordBatch:
        def refuse(reason: str, line: int) -> None:
            reject(reason, int(block.offsets[line]), block.lines[line])

        if isinstance(parser, JsonLinesParser) and self._rules.is_empty:
            batch = parser.parse_columns(block)
            if batch is not None:
                return self._events.from_arrow(self._add_actors(batch), refuse)
        raw = parser.parse(block.lines, refuse)
        return self._build(raw.columns, raw.rows, refuse)

    def _parser(self, file: LogFile) -> tuple[Parser, int]:
        """Return the parser of `file`, and the offset of its first record."""
        if self.requests.pattern.reads_lines:
            if self._has_conditions:
                raise BadRequest(f"ADWARM_ACCESS_LOG__WHERE names columns; {SETTING} reads lines, so write them there")
            return LineParser(self.requests.pattern, self.quarantine.ignore), 0
        if file.format == "jsonl":
            return JsonLinesParser(self._mapping), 0
        if file.format == "combined":
            if self._has_conditions:
                raise BadRequest("ADWARM_ACCESS_LOG__WHERE names columns, and a line of the combined format has none")
            return CombinedLogParser(self.requests), 0
        header, start = read_header(file)
        return CsvParser(header, self._mapping), start


def read_header(file: LogFile) -> tuple[bytes, int]:
    """Return the first lines of a delimited file, up to its first row, and the offset of that row; see `CsvHead`."""
    with file.open() as stream:
        head = stream.readline(MAX_LINE_BYTES)
        line = head
        while line.startswith(b"#") or is_separator_line(line):
            line = stream.readline(MAX_LINE_BYTES)
            head += line
    return head, CsvHead.read(head).start


def read_events(
    url: str,
    settings: Settings,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    start_offsets: dict[str, int] | None = None,
    quarantine: Quarantine | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield batches in `EVENT_SCHEMA` of the events in the half-open UTC window, file by file.

    Args:
        start_offsets: for text files by path, the offset to begin at.
        quarantine: collects what could not be read.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: none of its files can be read.
    """
    files = list_files(url)
    reader = LogReader(settings, quarantine)
    starts = [(file, (start_offsets or {}).get(file.path, 0)) for file in files]
    with reading_ahead(starts) as files_ahead:
        for file, (_, start) in zip(files_ahead, starts, strict=True):
            for event_batch in reader.read_file(file, since=since, until=until, start=start):
                batch = filter_window(event_batch.batch, _micros(since), _micros(until))
                if batch.num_rows:
                    yield batch
    require_readable(files, reader)


def require_readable(files: list[LogFile], reader: LogReader) -> None:
    """Raise when none of `files` could be read.

    Raises:
        BadRequest: names the first file and why it could not be read.
    """
    if files and all(file.path in reader.unreadable for file in files):
        raise BadRequest(f"no file of the access log can be read: {describe_unreadable(reader.quarantine.samples)}")


def log_span(url: str, settings: Settings) -> tuple[datetime, datetime, int]:
    """Return the first and the last event's moment and the number of events; cheap for Parquet with statistics.

    Raises:
        NotFound: there is no log at `url`, or no event in it.
        BadRequest: none of its files can be read.
    """
    reader = LogReader(settings)
    first, last, events = [], [], 0
    files = list_files(url)
    with reading_ahead([(file, 0) for file in files]) as files_ahead:
        for file in files_ahead:
            span = parquet_span(file, settings.access_log) if file.format == "parquet" else None
            if span is None:
                span = _scan(reader, file)
            if span[2]:
                first.append(span[0])
                last.append(span[1])
                events += span[2]
    if not events:
        require_readable(files, reader)
        left_out = reader.quarantine
        hint = describe_path_pattern(left_out.ignored, left_out.unmatched_paths, settings.access_log.pattern)
        raise NotFound(f"the access log at {url} holds no event" + (f": {hint}" if hint else ""))
    return from_micros(min(first)), from_micros(max(last)), events


def parquet_span(file: LogFile, settings: AccessLogSettings) -> tuple[int, int, int] | None:
    """Return the first and last timestamp (microseconds) and the rows of a Parquet file; None without statistics."""

    def run(parquet: columnar.ParquetLog) -> tuple[int, int, int] | None:
        span = columnar.get_span(parquet)
        return None if span is None else (*span, parquet.rows)

    return _query_parquet(file, settings, run)


def parquet_groups(
    file: LogFile, settings: AccessLogSettings, since: datetime | None, until: datetime | None
) -> list[tuple[int, int]]:
    """Return first row and rows of the row groups that may hold events of the window; none when it is not Parquet."""

    def run(parquet: columnar.ParquetLog) -> list[tuple[int, int]]:
        groups = columnar.groups_in_window(parquet, _micros(since), _micros(until))
        return [(first, rows) for _, rows, first in groups]

    return _query_parquet(file, settings, run) or []


def _query_parquet(
    file: LogFile, settings: AccessLogSettings, query: Callable[[columnar.ParquetLog], Result]
) -> Result | None:
    """Return the result of `query`; None when the file cannot be read, which reading it will quarantine."""
    if file.problem:
        return None
    try:
        with columnar.open_parquet(file, columnar.ParquetLayout.from_settings(settings)) as parquet:
            return query(parquet)
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return None


def _scan(reader: LogReader, file: LogFile) -> tuple[int, int, int]:
    first, last, events = np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0
    for batch in (event_batch.batch for event_batch in reader.read_file(file)):
        if batch.num_rows:
            moments = timestamp_column(batch)
            first, last = min(first, int(moments.min())), max(last, int(moments.max()))
            events += batch.num_rows
    return first, last, events


def timestamp_column(batch: pa.RecordBatch, name: str = "ts") -> Micros:
    """Return a column of timestamps in microseconds."""
    column = batch.column(name)
    return to_numpy(column).astype(np.int64, copy=False)


def filter_window(batch: pa.RecordBatch, since: int | None, until: int | None) -> pa.RecordBatch:
    """Return the events of the half-open window given in microseconds."""
    moments = timestamp_column(batch)
    keep = np.ones(len(moments), np.bool_)
    if since is not None:
        keep &= moments >= since
    if until is not None:
        keep &= moments < until
    return batch if keep.all() else batch.filter(to_bool_array(keep))


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(utc(moment))
