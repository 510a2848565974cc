"""Parses lines into raw columns, with one parser per text format; a line that cannot be parsed is rejected."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json

from adwarm.access_log.column_mapping import EVENT_FIELDS, REQUEST_ID, REQUIRED_FIELDS, ColumnMapping
from adwarm.access_log.json_documents import open_list
from adwarm.access_log.lines import LineBlock
from adwarm.access_log.named_groups import GroupPattern
from adwarm.access_log.nested_values import find_source
from adwarm.access_log.timestamps import INVALID, parse_log_time, parse_values
from adwarm.access_log.web_requests import IgnorePath, RequestFilter, is_answered, to_status, unquote_field
from adwarm.foundation.errors import BadRequest

Reject = Callable[[str, int], None]
_FIELDS = b"#Fields:"
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = (",", ";", "\t", "|")
_MAX_JOINED = 20
_SHORTEST_ID = 32
_TEXT = r'[^"\\]*(?:\\.[^"\\]*)*'
_COMBINED = re.compile(
    r'\S+ \S+ [^\[]{1,200}\[([^\]]{1,40})\] "([A-Z]{1,10}) (\S+)[^"]*" (\d{3})'
    rf'(?: \S+ "{_TEXT}" "({_TEXT})")?'
)
_REQUEST_PARTS = ("time", "method", "path", "status", "user_agent")
_REQUEST_ID = re.compile(r'(?:^|[\s"=:])([0-9a-f]{32})(?=["\s,;]|$)')


@dataclass(frozen=True, slots=True)
class RawColumns:
    """Values as they are in the log.

    Attributes:
        rows: for each value, the index of its line.
    """

    rows: list[int]
    columns: dict[str, list[Any]]


class Parser(Protocol):
    """Parses lines, and calls `reject` with the reason and the index of each line that cannot be parsed."""

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the columns of the lines that could be parsed."""
        ...


class JsonLinesParser:
    """One JSON object a line. NaN, invalid UTF-8 and excessive nesting reject that line."""

    def __init__(self, mapping: ColumnMapping | None = None) -> None:
        self._mapping = mapping if mapping is not None and not mapping.is_identity else None
        self._fields = mapping.fields if mapping is not None else EVENT_FIELDS
        self._list = mapping.opened_list if mapping is not None else None
        self._kinds: dict[str, pa.DataType] = dict.fromkeys(self._fields, pa.string())

    def parse_columns(self, block: LineBlock) -> pa.RecordBatch | None:
        """Return the log's columns as Arrow reads them, which takes half the time of `parse`; absent ones are left out.

        None unless every line is one object, each field has values of one kind, and columns have the fields' names.
        """
        text = block.text
        if not text or self._mapping is not None or not _holds_objects(block):
            return None
        try:
            if not text.isascii():
                text.decode()
            fields = pa.schema(list((self._kinds | _find_kinds(text.partition(b"\n")[0], self._kinds)).items()))
            table = pyarrow.json.read_json(
                pa.BufferReader(text),
                pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
                pyarrow.json.ParseOptions(explicit_schema=fields, unexpected_field_behavior="ignore"),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        if len(table) != len(block.ends):
            return None
        empty = [name for name in table.column_names if table[name].null_count == len(table)]
        table = table.drop_columns([name for name in empty if name not in REQUIRED_FIELDS])
        return table.combine_chunks().to_batches()[0]

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the log's columns of each object."""
        rows: list[int] = []
        objects: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            if line[:1] != b"{" and line.removeprefix(_BOM).lstrip()[:1] not in (
                b"{",
                b"[",
            ):  # errors cost ten times that
                if line.strip():
                    reject("json", number)
                continue
            try:
                document = orjson.loads(line.removeprefix(_BOM))
            except orjson.JSONDecodeError:
                reject("json", number)
                continue
            items = document if isinstance(document, list) else [document]
            if not items or not all(isinstance(item, dict) for item in items):
                reject("json", number)
                continue
            opened = [row for item in items for row in open_list(item, self._list)] if self._list else items
            rows += [number] * len(opened)
            objects += opened
        present = set().union(*objects) if objects else set()
        if self._mapping is not None:
            return RawColumns(rows, _mapped_columns(objects, present, self._mapping))
        names = [name for name in self._fields if name in present or name in REQUIRED_FIELDS]
        columns = {name: [item.get(name) for item in objects] for name in names}
        empty = {name for name, values in columns.items() if values.count(None) == len(rows)} - {*REQUIRED_FIELDS}
        return RawColumns(rows, {name: values for name, values in columns.items() if name not in empty})


def _holds_objects(block: LineBlock) -> bool:
    """Whether each line looks like one object, and none holds what Arrow takes for a number and JSON does not."""
    # Arrow does not tell where a line ends: two objects in one and none in another would pass as one in each.
    text, ends = np.frombuffer(block.text, np.uint8), block.ends
    first, last = text[np.append(0, ends[:-1] + 1)], text[ends - 1]
    last = np.where(last == ord("\r"), text[ends - 2], last)
    if (first != ord("{")).any() or (last != ord("}")).any():
        return False
    words = (((text[:-2] == a) & (text[1:-1] == b) & (text[2:] == c)).any() for a, b, c in (b"NaN", b"Inf"))
    return not any(words)  # in a third of the time that `b"NaN" in` takes


def _find_kinds(line: bytes, names: Collection[str]) -> dict[str, pa.DataType]:
    """Return in which Arrow type to read the fields of a line that hold a whole number; the others are read as text."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    values = document.items() if isinstance(document, dict) else ()
    return {name: pa.int64() for name, value in values if name in names and type(value) is int}


def _mapped_columns(objects: list[dict[str, Any]], present: set[str], mapping: ColumnMapping) -> dict[str, list[Any]]:
    """Return the values of each field: from the column in the settings, in objects without it from that of its name."""
    columns = {}
    for name in mapping.fields:
        source = find_source(mapping.columns.get(name, name), present)
        plain = name in present and (source is None or source.parts != ((name, ""),))
        values: list[Any] = []
        if source is not None and source.is_plain:
            values = [item.get(source.parts[0][0]) for item in objects]
        elif source is not None:
            values = source.read([[item.get(column) for item in objects] for column, _ in source.parts])
        if plain:
            named = [item.get(name) for item in objects]
            values = [own if value is None else value for own, value in zip(named, values or named, strict=True)]
        if name in mapping.required or any(value is not None for value in values):
            columns[name] = values or [None] * len(objects)
    return columns


class CsvParser:
    """Delimited values. The first line names the columns; where it is a row already, each is called by its number.

    The delimiter is the comma, semicolon, tab, bar or space that the header uses. The W3C format of IIS and CloudFront
    names its columns in a comment. A quoted field may hold line ends when its record is complete within the lines that
    are parsed together. An open quote costs one line. A line that is not UTF-8 is read as Latin-1.

    Args:
        head: the first lines, see `CsvHead`.
    """

    def __init__(self, head: bytes, mapping: ColumnMapping | None = None) -> None:
        layout = CsvHead.read(head)
        self.columns, self.delimiter, self._is_w3c = layout.columns, layout.delimiter, layout.is_w3c
        resolved = (mapping or ColumnMapping()).resolve(self.columns)
        self._width = len(self.columns)
        sources = {name: find_source(column, self.columns) for name, column in resolved.items()}
        self._sources = {
            name: (source, [self.columns.index(column) for column, _ in source.parts])
            for name, source in sources.items()
            if source is not None
        }

        self._used = {at for _, indexes in self._sources.values() for at in indexes}

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the log's columns of each line that has as many fields as the header."""
        texts = _decode_lines(lines)
        values = None if self._is_w3c else self._split_plain(texts)
        if values is not None:
            columns = {at: values[at :: self._width] for at in self._used}
            return self._select(list(range(len(lines))), columns)
        rows, records = self._split_lines(lines, texts, reject)
        return self._select(rows, {at: [record[at] for record in records] for at in self._used})

    def _select(self, rows: list[int], table: Mapping[int, list[str]]) -> RawColumns:
        return RawColumns(
            rows,
            {
                name: table[at[0]] if source.is_plain else source.read([table[index] for index in at])
                for name, (source, at) in self._sources.items()
            },
        )

    def _split_plain(self, texts: list[str]) -> list[str] | None:
        """Return the fields of all lines, one after the other; None unless each has the header's number, unquoted."""
        # A list for each line would take most of the time.
        delimiter = self.delimiter
        marks = self._width - 1
        if any(text.count(delimiter) != marks for text in texts):
            return None
        joined = delimiter.join(texts)
        if '"' in joined:
            return None
        if "\r" in joined:
            joined = delimiter.join([text.rstrip("\r") for text in texts])
        return joined.split(delimiter) if texts else []

    def _split_lines(self, lines: list[bytes], texts: list[str], reject: Reject) -> tuple[list[int], list[list[str]]]:
        """Return the records, and the line in which each begins."""
        rows: list[int] = []
        records: list[list[str]] = []
        delimiter, numbers = self.delimiter, iter(range(len(lines)))
        for number in numbers:
            text = texts[number].rstrip("\r")
            if self._is_w3c and text.startswith("#"):
                continue
            try:
                record = _fields(text, delimiter) if '"' in text and not self._is_w3c else text.split(delimiter)
            except csv.Error:
                record = self._join_lines(lines, number)
                if not record:
                    reject("csv", number)
                    continue
                for _ in islice(numbers, _count_line_ends(record)):
                    continue
            if len(record) == self._width:
                rows.append(number)
                records.append(record)
            elif text.strip():
                reject("columns", number)
        return rows, records

    def _join_lines(self, lines: list[bytes], first: int) -> list[str]:
        """Return the record that begins in a line with an open quote and ends in a later one; empty when none does."""
        text = _decode(lines[first])
        for line in lines[first + 1 : first + _MAX_JOINED]:
            text = f"{text}\n{_decode(line)}"
            try:
                record = next(csv.reader([text], delimiter=self.delimiter, strict=True), [])
            except csv.Error as error:
                if "unexpected end" not in str(error):
                    return []  # what follows the quote is not the end of a field
                continue
            return record if len(record) == self._width else []
        return []


@dataclass(frozen=True, slots=True)
class CsvHead:
    """How the lines of a delimited file are read.

    Attributes:
        columns: the names of the columns, or their numbers from 1 where the file has no header.
        start: offset of the first row within the lines that were read.
    """

    columns: list[str]
    delimiter: str
    start: int
    is_w3c: bool = False

    @classmethod
    def read(cls, head: bytes) -> "CsvHead":
        """Return the layout by the first lines of a file.

        Raises:
            BadRequest: the first line is not one of a delimited file.
        """
        lines = head.splitlines(keepends=True)
        skipped = 0
        while lines and (lines[0].startswith(b"#") or is_separator_line(lines[0])):
            if lines[0].startswith(_FIELDS):
                names = _decode(lines[0][len(_FIELDS) :]).split()
                row = next((line for line in lines if not line.startswith(b"#")), b"")
                return cls(names, "\t" if b"\t" in row else " ", skipped + len(lines[0]), is_w3c=True)
            skipped += len(lines.pop(0))
        first = lines[0] if lines else b""
        text = _decode(first.removeprefix(_BOM).rstrip(b"\r\n"))
        delimiter = _find_delimiter(text)
        try:
            names = [name.strip() for name in _fields(text, delimiter)]
        except csv.Error:
            raise BadRequest("the first line of a CSV log must name its columns") from None
        if _find_timestamp(names):
            return cls([str(number + 1) for number in range(len(names))], delimiter, skipped)
        return cls(names, delimiter, skipped + len(first))


def _count_line_ends(record: list[str]) -> int:
    return sum(value.count("\n") for value in record)


def _decode(line: bytes) -> str:
    """Return a line as text. One that is not UTF-8 is read as Latin-1: all that a log needs is the same in ASCII."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _decode_lines(lines: list[bytes]) -> list[str]:
    """Return `_decode` of each line, at once where all are UTF-8."""
    try:
        return b"\n".join(lines).decode().split("\n") if lines else []
    except UnicodeDecodeError:
        return [_decode(line) for line in lines]


def _find_delimiter(header: str) -> str:
    counts = Counter({mark: header.count(mark) for mark in _DELIMITERS})
    best = max(_DELIMITERS, key=lambda mark: counts[mark])
    is_spaced = '"' in header and header.count(" ") > counts[best]  # a web server's log without commas between fields
    return " " if is_spaced and not counts["\t"] else best


def _find_timestamp(values: list[str]) -> str | None:
    """Return the first of the values that is a timestamp."""
    return next((value for value in values if value and parse_values([value])[0] != INVALID), None)


def is_delimited_row(line: bytes) -> bool:
    """Whether a line without a header is a row of delimited values with a time among them."""
    try:
        head = CsvHead.read(line)
    except BadRequest:
        return False
    return len(head.columns) >= len(REQUIRED_FIELDS) and not head.start


def is_separator_line(line: bytes) -> bool:
    """Whether the first line of a CSV file is `sep=;`, by which Excel names the delimiter."""
    return line.removeprefix(_BOM).strip().lower().startswith(b"sep=")


def split_request(line: bytes) -> dict[str, str] | None:
    """Return the parts of a line of the common or combined log format; None when it is none."""
    match = _COMBINED.match(_decode(line))
    return None if match is None else dict(zip(_REQUEST_PARTS, map(str, match.groups()), strict=True))


class CombinedLogParser:
    """The common and combined log formats of web servers; see `RequestFilter` for which requests are opens.

    The user agent gives the actor, and 32 hexadecimal digits after it, as nginx writes them, are the request's id.
    """

    def __init__(self, requests: RequestFilter) -> None:
        self._requests = requests

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return timestamp, key, actor and, where the log has it, request id of each open."""
        rows: list[int] = []
        records: list[tuple[str, ...]] = []
        tails: list[str] = []
        for number, line in enumerate(_decode_lines(lines)):
            match = _COMBINED.match(line)
            if not match:
                reject("format", number)
                continue
            rows.append(number)
            records.append(match.groups())
            tails.append(line[match.end() :])
        times, methods, paths, statuses, agents = zip(*records, strict=True) if records else ((),) * 5
        opens, columns = self._requests.find_keys(methods, paths, [*map(int, statuses)])
        columns |= {
            "ts": [parse_log_time(times[row]) for row in opens],
            "actor": [self._requests.classify(agents[row]) for row in opens],
            REQUEST_ID: [_find_request_id(tails[row]) for row in opens],
        }
        return RawColumns([rows[row] for row in opens], columns)


class LineParser:
    """Lines of any other form, by the pattern in the settings; its groups are named like the fields of an event.

    Lines that it does not match, or that are requests without an answer, are ignored.
    """

    def __init__(self, pattern: GroupPattern, ignore: IgnorePath) -> None:
        self._pattern, self._ignore = pattern, ignore

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the groups of each line that the pattern matches."""
        del reject
        texts = _decode_lines(lines)
        rows, columns = self._pattern.read(texts)
        matched = set(rows)
        for row, text in enumerate(texts):
            if row not in matched and text.strip():
                self._ignore(text)
        none: list[str | None] = [None] * len(rows)
        requests = zip(columns.pop("method", none), columns.pop("status", none), strict=True)
        opens = [at for at, (method, status) in enumerate(requests) if is_answered(method or "GET", to_status(status))]
        for _ in range(len(rows) - len(opens)):
            self._ignore(None)
        columns |= {name: [*map(unquote_field, columns[name])] for name in REQUIRED_FIELDS[1:] if name in columns}
        return RawColumns(
            [rows[at] for at in opens], {name: [column[at] for at in opens] for name, column in columns.items()}
        )


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, strict=True), [])


def _find_request_id(tail: str) -> str | None:
    match = _REQUEST_ID.search(tail) if len(tail) > _SHORTEST_ID else None
    return match[1] if match else None


def is_web_log_line(line: bytes) -> bool:
    """Whether a line is one of the common or combined log format."""
    return _COMBINED.match(_decode(line)) is not None
