"""Reads Parquet logs in batches; row groups outside the window are skipped by their statistics."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adwarm.access_log.column_mapping import TEXT_FIELDS, ColumnMapping
from adwarm.access_log.footer import RowGroup, row_groups
from adwarm.access_log.log_files import LogFile
from adwarm.access_log.nested_values import Source, find_source
from adwarm.access_log.timestamps import HOUR, INVALID, mark_implausible, parse_values
from adwarm.foundation.arrow_arrays import to_python_values
from adwarm.foundation.errors import BadRequest
from adwarm.settings import AccessLogSettings

BATCH_ROWS = 32_768
_MAGIC = b"PAR1"
_MAX_EXPANSION, _EXTRA_BYTES = 100, 1 << 30
"""Limits of what a gzipped file may expand to. Parquet is compressed already, so gzip hardly shrinks it."""

Span = tuple[int, int]
_LARGEST = 1 << 62
_MICROS: dict[str, Callable[[int], int]] = {
    "days": lambda days: max(min(days * 24 * HOUR, _LARGEST), -_LARGEST),
    "milliseconds": lambda millis: max(min(millis * 1000, _LARGEST), -_LARGEST),
    "microseconds": lambda micros: micros,
    "nanoseconds": lambda nanos: nanos // 1000,
}


@dataclass(frozen=True, slots=True)
class ParquetLayout:
    """How a Parquet log is read.

    Attributes:
        zone: zone of timestamps that name none; None: that of the row, else UTC.
    """

    mapping: ColumnMapping = field(default_factory=ColumnMapping)
    zone: str | None = "UTC"

    @classmethod
    def from_settings(cls, settings: AccessLogSettings, *, with_request_ids: bool = False) -> "ParquetLayout":
        """Return the layout that the settings describe."""
        mapping = ColumnMapping.from_settings(settings, with_request_ids=with_request_ids)
        return cls(mapping, settings.timestamp_zone)


class ParquetLog:
    """An open Parquet log.

    Attributes:
        columns: by field, the column or the dotted path of a struct's field.
        groups: number, rows, first row and span of each row group; the span is None without usable statistics.
    """

    def __init__(self, source: Any, layout: ParquetLayout | None = None) -> None:
        """Open `source`.

        Raises:
            BadRequest: the file is not Parquet, or its columns are not those of a log.
        """
        layout = layout or ParquetLayout()
        try:
            metadata = pq.read_metadata(source)
            schema = metadata.schema
            paths = [schema.column(index).path for index in range(len(schema))]
            plain = layout.mapping.find_columns(paths)
            text_columns = [column for name, column in plain.items() if name in TEXT_FIELDS and column in paths]
            self.file = pq.ParquetFile(
                source, metadata=metadata, pre_buffer=False, buffer_size=1 << 20, read_dictionary=text_columns
            )
            self.columns = _resolve(self.file.schema_arrow, layout.mapping)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadRequest(f"it is not Parquet: {str(error)[:200]}") from error
        column = paths.index(self.columns["ts"]) if self.columns["ts"] in paths else None
        groups = row_groups(source, column or 0)
        if len(groups) != metadata.num_row_groups:
            raise BadRequest("its footer is damaged: it names row groups that are not there")
        is_utc = layout.zone == "UTC" or (layout.zone is None and "time_zone" not in self.columns)
        firsts = [0, *accumulate(group.rows for group in groups)]
        unit = "" if column is None else _unit(schema.column(column), is_utc=is_utc)
        self.rows = firsts[-1]
        self.groups = [
            (number, group.rows, first, _span(group, unit))
            for number, (group, first) in enumerate(zip(groups, firsts, strict=False))
        ]


@contextmanager
def open_parquet(file: LogFile, layout: ParquetLayout | None = None) -> Iterator[ParquetLog]:
    """Open a Parquet log for reading in bounded memory.

    Raises:
        BadRequest: the file is not Parquet, or its columns are not those of a log.
        EOFError: its gzip stream is truncated; zlib.error and OSError when it is damaged otherwise.
    """
    with _open_source(file) as source:
        yield ParquetLog(source, layout)


def read_columns(file: LogFile) -> list[str]:
    """Return the columns of a Parquet file, those of a log or not; see `list_columns`.

    Raises:
        BadRequest: the file is not Parquet.
        EOFError: its gzip stream is truncated; zlib.error and OSError when it is damaged otherwise.
    """
    with _open_source(file) as source:
        try:
            return list_columns(pq.read_schema(source))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadRequest(f"it is not Parquet: {str(error)[:200]}") from error


def read_rows(file: LogFile, limit: int) -> list[dict[str, Any]]:
    """Return the first rows of a Parquet file, with all its columns; raises what `read_columns` does."""
    with _open_source(file) as source:
        try:
            batches = pq.ParquetFile(source).iter_batches(limit, use_threads=False)
            return cast("list[dict[str, Any]]", next((batch.to_pylist() for batch in batches), []))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadRequest(f"it is not Parquet: {str(error)[:200]}") from error


@contextmanager
def _open_source(file: LogFile) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as unpacked, file.open() as raw:
        if file.is_gzipped:  # Parquet is read from its end, so it is decompressed as a whole first
            _decompress(file, raw, unpacked)
        yield cast("IO[bytes]", unpacked) if file.is_gzipped else raw


def _decompress(file: LogFile, compressed: IO[bytes], target: IO[bytes]) -> None:
    """Decompress a file to disk, within a size limit; stop early when it is not Parquet."""
    chunk = compressed.read(len(_MAGIC))
    if chunk != _MAGIC:
        raise BadRequest(f"it is not Parquet: it does not begin with {_MAGIC.decode()}")
    remaining = _MAX_EXPANSION * file.size + _EXTRA_BYTES
    while chunk:
        remaining -= len(chunk)
        if remaining < 0:
            raise BadRequest(f"it unpacks to more than {_MAX_EXPANSION} times its size; give it without gzip")
        target.write(chunk)
        chunk = compressed.read(1 << 20)


def list_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns, those of structs followed by the dotted paths of their fields."""
    names: list[str] = []

    def add(prefix: str, fields: Iterable[pa.Field]) -> None:
        for item in fields:
            names.append(prefix + item.name)
            if pa.types.is_struct(item.type):
                add(f"{prefix}{item.name}.", item.type)

    add("", schema)
    return names


def _resolve(schema: pa.Schema, mapping: ColumnMapping) -> dict[str, str]:
    """Return the column of each field that can be read; an optional column of lists or structs is ignored."""
    available = list_columns(schema)
    columns = mapping.resolve(available)
    for column in columns.values():
        if schema.names.count(column) > 1:
            raise BadRequest(f"it has several columns named {column}")
    kinds = {name: _kind(schema, column) for name, column in columns.items() if column in available}
    nested = {name: kind for name, kind in kinds.items() if pa.types.is_nested(kind)}
    for name in mapping.required:
        if name in nested:
            kind = str(nested[name])[:60]
            raise BadRequest(f"it has a column {columns[name]} of {kind}; each row must hold one plain value")
    return {name: column for name, column in columns.items() if name not in nested}


def _kind(schema: pa.Schema, column: str) -> pa.DataType:
    if column in schema.names:
        return schema.field(column).type
    first, *rest = column.split(".")
    kind = schema.field(first).type
    for name in rest:
        kind = kind.field(name).type
    return kind


def _select(batch: pa.RecordBatch, sources: Mapping[str, Source]) -> pa.RecordBatch:
    """Return the columns under the names of their fields."""
    arrays = [_read_source(batch, source) for source in sources.values()]
    return pa.RecordBatch.from_arrays(arrays, names=list(sources))


def _read_source(batch: pa.RecordBatch, source: Source) -> pa.Array:
    if source.is_plain:
        return _get_column(batch, source.parts[0][0])
    columns = [to_python_values(_get_column(batch, column)) for column, _ in source.parts]
    values = source.read(columns)
    kinds = {type(value) for value in values if value is not None}
    return pa.array(values if len(kinds) < 2 else [None if value is None else str(value) for value in values])


def _get_column(batch: pa.RecordBatch, column: str) -> pa.Array:
    if column in batch.schema.names:
        return batch.column(column)
    first, *rest = column.split(".")
    return pc.struct_field(batch.column(first), rest)


def iter_batches(
    log: ParquetLog, since: int | None, until: int | None, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the batches that may hold events of the half-open window, each with the number of its first row.

    Only row groups that end after the row `start` and begin before the row `stop` are read.
    """
    available = list_columns(log.file.schema_arrow)
    resolved = {name: find_source(column, available) for name, column in log.columns.items()}
    sources = {name: source for name, source in resolved.items() if source is not None}
    columns = list(dict.fromkeys(column for source in sources.values() for column, _ in source.parts))
    is_renamed = columns != list(log.columns)
    for group, rows, first_row in groups_in_window(log, since, until):
        if first_row + rows <= start or (stop is not None and first_row >= stop):
            continue
        row = first_row
        for batch in log.file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
            yield row, _select(batch, sources) if is_renamed else batch
            row += batch.num_rows
        if row != first_row + rows:
            raise pa.ArrowInvalid("a row group is shorter than its header says")


def groups_in_window(log: ParquetLog, since: int | None, until: int | None) -> Iterator[tuple[int, int, int]]:
    """Yield number, rows and first row of the row groups that may hold events of the half-open window."""
    for group, rows, first_row, span in log.groups:
        if not (span and (_before(span[1], since) or (until is not None and span[0] >= until))):
            yield group, rows, first_row


def get_span(log: ParquetLog) -> Span | None:
    """Return the first and last timestamp by the statistics; None when a row group has no usable ones."""
    spans = [span for _, rows, _, span in log.groups if rows]
    if not spans or not all(spans):
        return None
    firsts, lasts = zip(*(span for span in spans if span), strict=True)
    return min(firsts), max(lasts)


def _before(moment: int, since: int | None) -> bool:
    return since is not None and moment < since


def _unit(column: Any, *, is_utc: bool) -> str:
    """Return the unit of the stored integers of `ts`: "number" when it depends on their size, empty without one."""
    # Statistics of local times are not used.
    kind = json.loads(column.logical_type.to_json())
    if kind["Type"] in {"Timestamp", "Date"}:
        if not is_utc and not kind.get("isAdjustedToUTC"):
            return ""
        return str(kind.get("timeUnit", "days"))
    is_number = column.physical_type in {"INT32", "INT64"} and kind["Type"] in {"None", "Int"}
    return "number" if is_number and kind.get("isSigned", True) else ""


def _span(group: RowGroup, unit: str) -> Span | None:
    if (
        not unit
        or group.min_value is None
        or group.max_value is None
        or {len(group.min_value), len(group.max_value)} - {4, 8}
    ):
        return None
    first, last = (int.from_bytes(end, "little", signed=True) for end in (group.min_value, group.max_value))
    if unit == "number":
        # Numbers of mixed units are not in the order of their timestamps.
        same_unit = len(str(abs(first))) // 3 == len(str(abs(last))) // 3
        ends = parse_values([first, last]) if same_unit else np.array([INVALID])
    else:
        ends = mark_implausible(np.array([_MICROS[unit](end) for end in (first, last)], np.int64))
    return None if INVALID in ends else (int(ends[0]), int(ends[1]))
