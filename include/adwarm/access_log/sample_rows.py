"""Reads the first rows of a log with all their columns, so that settings can be proposed by what the columns hold."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from adwarm.access_log import parquet_log
from adwarm.access_log.column_mapping import ColumnMapping
from adwarm.access_log.json_documents import find_list, open_list
from adwarm.access_log.lines import line_blocks
from adwarm.access_log.log_files import FILE_ERRORS, LogFile, is_file_error
from adwarm.access_log.log_reader import read_header
from adwarm.access_log.nested_values import flatten
from adwarm.access_log.parsers import CsvParser, split_request

ROWS = 2_000
Item = TypeVar("Item")


class _AllColumns(ColumnMapping):
    """Reads every column under its own name."""

    def resolve(self, available: Sequence[str]) -> dict[str, str]:
        """Return the columns as they are."""
        return {name: name for name in available if name}


def read_sample(file: LogFile, limit: int = ROWS) -> list[dict[str, Any]]:
    """Return the plain values of the first rows by path, see `nested_values`; none when the file cannot be read."""
    rows = _try(
        file, lambda: parquet_log.read_rows(file, limit) if file.format == "parquet" else _read_rows(file, limit)
    )
    return [dict(flatten(row)) for row in rows]


def read_texts(file: LogFile) -> list[str]:
    """Return the first lines of a text; none when it cannot be read."""
    lines = _try(file, lambda: _read_lines(file, 0)) if file.format != "parquet" else []
    return [line.decode("utf-8", "replace") for line in lines if line.strip()]


def _try(file: LogFile, read: Callable[[], list[Item]]) -> list[Item]:
    if file.problem or not file.size:
        return []
    try:
        return read()
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return []  # reading the file reports it


def _read_lines(file: LogFile, start: int) -> list[bytes]:
    with file.open_at(start) as stream:
        block = next(line_blocks(stream, _skip, start=start), None)
    return block.lines[:ROWS] if block else []


def _read_rows(file: LogFile, limit: int) -> list[dict[str, Any]]:
    head, start = read_header(file) if file.format == "csv" else (b"", 0)
    lines = _read_lines(file, start)[:limit]
    if file.format == "jsonl":
        return [row for line in lines for item in _load(line) for row in open_list(item, find_list(item))][:limit]
    if file.format == "combined":
        return [row for line in lines if (row := split_request(line)) is not None]
    columns = CsvParser(head, _AllColumns()).parse(lines, _skip_row).columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _load(line: bytes) -> list[dict[str, Any]]:
    try:
        document = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return []  # reading the file rejects the line
    return [item for item in (document if isinstance(document, list) else [document]) if isinstance(item, dict)]


def _skip_row(reason: str, line: int) -> None:
    """Leave a row out; reading the file counts it."""
    del reason, line


def _skip(reason: str, offset: int, line: bytes) -> None:
    """Leave a line out; reading the file counts it."""
    del reason, offset, line
