"""Reads a file that is one JSON document as lines, one for each object of its lists, as if it were JSON lines.

An object keeps the name of its list: `{"Records": [a, b]}` becomes `{"Records": [a]}` and `{"Records": [b]}`, which a
column such as `Records[].time` reads. Objects of a list without a name are lines as they are.
"""

import io
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson

from adwarm.access_log.lines import MAX_LINE_BYTES
from adwarm.access_log.timestamps import INVALID, parse_values

MAX_DOCUMENT_BYTES = 64_000_000
"""A longer document is not held in memory; its lines are read as they are."""
LIST = "[]"
"""Ends the name of a list of which each object is a row."""
_BOM = b"\xef\xbb\xbf"


def may_be_document(text: bytes) -> bool:
    """Whether a text that begins so is no JSON lines: its first line is very long, or goes on in the next one."""
    line, end, _ = text.removeprefix(_BOM).lstrip().partition(b"\n")
    return line[:1] in {b"{", b"["} and (not end or line.rstrip()[-1:] in {b"{", b"[", b","})


def open_document(stream: IO[bytes]) -> IO[bytes]:
    """Return the lines of a document; the stream itself where it holds none."""
    content = stream.read(MAX_LINE_BYTES)
    if may_be_document(content) and (b"\n" in content or len(content) == MAX_LINE_BYTES):
        content += stream.read(MAX_DOCUMENT_BYTES - len(content) + 1)
        try:
            document = orjson.loads(content.removeprefix(_BOM)) if len(content) <= MAX_DOCUMENT_BYTES else None
        except orjson.JSONDecodeError:
            document = None
        if isinstance(document, (dict, list)):
            stream.close()
            rows = document if isinstance(document, list) else list(_single_objects(document)) or [document]
            return io.BytesIO(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    stream.seek(0)
    return stream


def _single_objects(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the document once for each object of a list in it, with that object alone."""
    for name, value in document.items():
        if is_list(value):
            yield from ({name: [item]} for item in value)
        elif isinstance(value, dict):
            yield from ({name: inner} for inner in _single_objects(value))


def is_list(value: Any) -> bool:
    """Whether a value is a list of objects."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def open_list(row: dict[str, Any], path: str | None) -> list[dict[str, Any]]:
    """Return a row for each object of the list at a dotted path, which has it under the path and `[]`, in its place."""
    if path is None:
        return [row]
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    rest = {name: inner for name, inner in row.items() if name != path.partition(".")[0]}
    return [rest | {path + LIST: item} for item in value] if isinstance(value, list) else []


def find_list(row: Mapping[str, Any], prefix: str = "") -> str | None:
    """Return the path of the first list of objects with a time, unless the row is an event with a time itself."""
    if _has_time(row):
        return None
    for name, value in row.items():
        if is_list(value) and _has_time(value[0]):
            return prefix + name
        if isinstance(value, dict) and (path := find_list(value, f"{prefix}{name}.")):
            return path
    return None


def _has_time(row: Mapping[str, Any]) -> bool:
    values = [value for value in row.values() if not isinstance(value, list)]
    return any(_has_time(value) if isinstance(value, dict) else parse_values([value])[0] != INVALID for value in values)
