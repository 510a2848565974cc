"""Reads the closed files of the open log as tables."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.json as pj

from adwarm.store.open_files import OpenFile, OpenFiles, OpenLine

OPEN_FILE_SCHEMA = pa.schema([
    pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("account_id", pa.string(), nullable=False),
    pa.field("date_range", pa.string(), nullable=False),
    pa.field("report", pa.string(), nullable=False),
    pa.field("actor", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("hit", pa.bool_(), nullable=False),
    pa.field("latency_ms", pa.float64(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
    pa.field("request_id", pa.string()),
])
"""One row per open; the fields of `OpenLine`."""

_READERS = 8
_READ: Final = pj.ReadOptions(use_threads=False)  # files are read beside each other
_PARSE: Final = pj.ParseOptions(explicit_schema=OPEN_FILE_SCHEMA, unexpected_field_behavior="error")
_DECODER: Final = msgspec.json.Decoder(OpenLine)


def read_open_files(files: OpenFiles, listed: Sequence[OpenFile]) -> Iterator[pa.Table | str]:
    """Yield the opens of each file, or why it cannot be read; a file that was removed meanwhile has none.

    A line that a crash has cut is left out.
    """

    def read(file: OpenFile) -> pa.Table | str:
        data = files.read(file)
        try:
            return _parse(b"" if data is None else gzip.decompress(data))
        except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
            return f"{files.url}/{file.day}/{file.name}: {str(error)[:200]}"

    with ThreadPoolExecutor(_READERS, "adwarm-opens") as pool:
        yield from pool.map(read, listed)


def _parse(data: bytes) -> pa.Table:
    """Return the rows of lines. Arrow reads them without the interpreter, but none of them when one is cut."""
    if not data:
        return OPEN_FILE_SCHEMA.empty_table()
    try:
        return pj.read_json(pa.BufferReader(data), _READ, _PARSE).cast(OPEN_FILE_SCHEMA)
    except pa.ArrowInvalid:
        whole = b"".join(line for line in data.splitlines(keepends=True) if _is_whole(line))
        if len(whole) == len(data):
            raise
        return _parse(whole)


def _is_whole(line: bytes) -> bool:
    try:
        _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError):
        return False
    return True
