"""Reads Parquet logs batch by batch; row groups outside the wanted window are skipped by their statistics."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.access_log.arrays import NO_VALUE
from adwarm.access_log.files import LogFile
from adwarm.access_log.moments import BAD, parse_all
from adwarm.access_log.schema import LOG_COLUMNS, REQUIRED, WORDS
from adwarm.errors import BadRequest

BATCH_ROWS = 32_768
_MAGIC = b"PAR1"
_SWELLING, _UNPACKED_BYTES = 100, 1 << 30
"""Parquet is packed already: gzip takes little more off it."""

Span = tuple[int, int]


@contextmanager
def opened(file: LogFile) -> Iterator[pq.ParquetFile]:
    """Open a Parquet log for reading in bounded memory.

    Raises:
        BadRequest: it is not Parquet, or its columns are not those of a log.
        EOFError: it is packed with gzip and ends too early; zlib.error and OSError when it is damaged otherwise.
    """
    with tempfile.TemporaryFile() as unpacked, file.open() as raw:
        source: Any = raw
        if file.gzipped:  # Parquet is read from its end: it has to be whole first
            _unpack(file, raw, unpacked)
            source = unpacked
        try:
            metadata = pq.read_metadata(source)
            paths = {metadata.schema.column(index).path for index in range(metadata.num_columns)}
            words = [name for name in WORDS if name in paths]
            parquet = pq.ParquetFile(
                source, metadata=metadata, pre_buffer=False, buffer_size=1 << 20, read_dictionary=words
            )
            _require_columns(parquet.schema_arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadRequest(f"it is not Parquet: {str(error)[:200]}") from error
        yield parquet


def _unpack(file: LogFile, packed: IO[bytes], target: IO[bytes]) -> None:
    """Unpack a file onto the disk, within bounds: what is no Parquet or swells beyond reason is given up."""
    part = packed.read(len(_MAGIC))
    if part != _MAGIC:
        raise BadRequest(f"it is not Parquet: it does not begin with {_MAGIC.decode()}")
    room = _SWELLING * file.size + _UNPACKED_BYTES
    while part:
        room -= len(part)
        if room < 0:
            raise BadRequest(f"it unpacks to more than {_SWELLING} times its size; give it without gzip")
        target.write(part)
        part = packed.read(1 << 20)


def _require_columns(schema: pa.Schema) -> None:
    missing = [name for name in REQUIRED if name not in schema.names]
    if missing:
        raise BadRequest(f"it lacks the columns {', '.join(missing)}")
    for name in LOG_COLUMNS:
        if schema.names.count(name) > 1:
            raise BadRequest(f"it has several columns named {name}")
    for name in REQUIRED:
        kind = schema.field(name).type
        if pa.types.is_nested(kind):
            raise BadRequest(f"it has a column {name} of {str(kind)[:60]}; each row must hold one plain value")


def batches(
    parquet: pq.ParquetFile, since: int | None, until: int | None, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the number of the first row with each batch that may hold events of the half-open window.

    Only row groups are read that reach beyond the row `start` and begin before the row `stop`.
    """
    schema = parquet.schema_arrow
    # An optional column of lists or structs says nothing; it is as if it were not there.
    columns = [name for name in LOG_COLUMNS if name in schema.names and not pa.types.is_nested(schema.field(name).type)]
    for group, rows, first_row in wanted_groups(parquet, since, until):
        if first_row + rows <= start or (stop is not None and first_row >= stop):
            continue
        row = first_row
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
            yield row, batch
            row += batch.num_rows
        if row != first_row + rows:
            raise pa.ArrowInvalid("a row group is shorter than its header says")


def wanted_groups(parquet: pq.ParquetFile, since: int | None, until: int | None) -> Iterator[tuple[int, int, int]]:
    """Yield number, rows and first row of the row groups that may hold events of the half-open window."""
    windowed = since is not None or until is not None
    for group, rows, first_row in _groups(parquet):
        span = _span(parquet, group) if windowed else None
        if not (span and (_before(span[1], since) or (until is not None and span[0] >= until))):
            yield group, rows, first_row


def span_of(parquet: pq.ParquetFile) -> Span | None:
    """Return the first and last moment by the statistics; None when they do not tell."""
    spans = [_span(parquet, group) for group, rows, _ in _groups(parquet) if rows]
    known = [span for span in spans if span]
    return (min(s[0] for s in known), max(s[1] for s in known)) if known and len(known) == len(spans) else None


def _before(moment: int, since: int | None) -> bool:
    return since is not None and moment < since


def _groups(parquet: pq.ParquetFile) -> Iterator[tuple[int, int, int]]:
    first = 0
    for group in range(parquet.metadata.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        yield group, rows, first
        first += rows


def _span(parquet: pq.ParquetFile, group: int) -> Span | None:
    metadata = parquet.metadata.row_group(group)
    columns = (metadata.column(index) for index in range(metadata.num_columns))
    stats = next((column.statistics for column in columns if column.path_in_schema == "ts"), None)
    first: Any = None
    last: Any = None
    try:
        if stats is not None and stats.has_min_max:
            first, last = stats.min, stats.max
    except NO_VALUE:
        return None
    if not isinstance(first, (datetime, date, int)):
        return None
    ends = [_moment(value) for value in (first, last)]
    # Numbers of mixed units are ordered otherwise than the moments they mean.
    same_unit = not isinstance(first, int) or len(str(abs(first))) // 3 == len(str(abs(int(last)))) // 3
    return (ends[0], ends[1]) if BAD not in ends and same_unit else None


def _moment(value: Any) -> int:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a day without a zone is read as UTC
    return int(np.asarray(parse_all([value]))[0])
