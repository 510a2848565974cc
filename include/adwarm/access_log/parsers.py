"""Parses lines into raw columns, with one parser per text format; a line that cannot be parsed is rejected."""

import csv
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import orjson

from adwarm.access_log.column_mapping import EVENT_FIELDS, REQUEST_ID, REQUIRED_FIELDS, ColumnMapping, find_value
from adwarm.access_log.timestamps import INVALID, parse_log_time, parse_values
from adwarm.access_log.web_requests import CLIENT_CLOSED_REQUEST, RequestFilter
from adwarm.foundation.errors import BadRequest

Reject = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class RawColumns:
    """Values as they are in the log.

    Attributes:
        rows: for each value, the index of its line.
        columns: values by column name.
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

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the log's columns of each object."""
        rows: list[int] = []
        objects: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            if line[:1] != b"{" and line.removeprefix(_BOM).lstrip()[:1] != b"{":  # an error costs ten times as much
                if line.strip():
                    reject("json", number)
                continue
            try:
                document = orjson.loads(line.removeprefix(_BOM))
            except orjson.JSONDecodeError:
                reject("json", number)
                continue
            rows.append(number)
            objects.append(document)
        present = set().union(*objects) if objects else set()
        if self._mapping is not None:
            return RawColumns(rows, _mapped_columns(objects, present, self._mapping))
        names = [name for name in self._fields if name in present or name in REQUIRED_FIELDS]
        return RawColumns(rows, {name: [item.get(name) for item in objects] for name in names})


def _mapped_columns(objects: list[dict[str, Any]], present: set[str], mapping: ColumnMapping) -> dict[str, list[Any]]:
    """Return the values of each field: from the column in the settings, in objects without it from that of its name."""
    columns = {}
    for name in mapping.fields:
        column = mapping.columns.get(name, name)
        if column == name or column in present:
            values = [item.get(column) for item in objects] if column in present else []
        else:
            values = [find_value(item, column) for item in objects]
        if column != name and name in present:
            values = [item.get(name) if value is None else value for item, value in zip(objects, values, strict=True)]
        if name in mapping.required or any(value is not None for value in values):
            columns[name] = values or [None] * len(objects)
    return columns


class CsvParser:
    """Delimited values with a header. The delimiter is the comma, semicolon, tab or bar that the header uses.

    A quoted field may hold line ends when its record is complete within the lines that are parsed together. An open
    quote costs one line. A line that is not UTF-8 is read as Latin-1.

    Attributes:
        columns: the names in the header.
        delimiter: the delimiter.
    """

    def __init__(self, header: bytes, mapping: ColumnMapping | None = None) -> None:
        self.columns, self.delimiter = read_csv_header(header)
        mapped = (mapping or ColumnMapping()).find_columns(self.columns)
        if "ts" not in mapped and (value := _find_timestamp(self.columns)):
            raise BadRequest(
                f"it has no header: its first line already holds a value such as {value[:40]!r}; "
                f"add a first line that names the columns, such as {self.delimiter.join(REQUIRED_FIELDS)}"
            )
        mapped = (mapping or ColumnMapping()).resolve(self.columns)
        self._width = len(self.columns)
        self._indexes = {name: self.columns.index(column) for name, column in mapped.items()}

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the log's columns of each line that has as many fields as the header."""
        texts = _decode_lines(lines)
        values = self._split_plain(texts)
        if values is not None:
            columns = {name: values[at :: self._width] for name, at in self._indexes.items()}
            return RawColumns(list(range(len(lines))), columns)
        rows, records = self._split_lines(lines, texts, reject)
        return RawColumns(rows, {name: [record[at] for record in records] for name, at in self._indexes.items()})

    def _split_plain(self, texts: list[str]) -> list[str] | None:
        """Return the fields of all lines, one after the other; None unless each has the header's number, unquoted.

        A list for each line would take most of the time.
        """
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
            try:
                record = _fields(text, delimiter) if '"' in text else text.split(delimiter)
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


def read_csv_header(header: bytes) -> tuple[list[str], str]:
    """Return the names of the columns, and the delimiter.

    Raises:
        BadRequest: the line is not one of a CSV file.
    """
    text = _decode(header.removeprefix(_BOM).rstrip(b"\r\n"))
    delimiter = _find_delimiter(text)
    try:
        return [name.strip() for name in _fields(text, delimiter)], delimiter
    except csv.Error:
        raise BadRequest("the first line of a CSV log must name its columns") from None


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
    return max(_DELIMITERS, key=lambda mark: counts[mark])


def _find_timestamp(values: list[str]) -> str | None:
    """Return the first of the values that is a timestamp."""
    return next((value for value in values if value and parse_values([value])[0] != INVALID), None)


def is_separator_line(line: bytes) -> bool:
    """Whether the first line of a CSV file is `sep=;`, by which Excel names the delimiter."""
    return line.removeprefix(_BOM).strip().lower().startswith(b"sep=")


class CombinedLogParser:
    """The common and combined log formats of web servers; see `RequestFilter` for which requests are opens.

    The user agent gives the actor; a number of seconds after it, as nginx writes its request time, is the latency, and
    32 hexadecimal digits, as nginx writes them, are the request's id.
    """

    def __init__(self, requests: RequestFilter) -> None:
        self._requests = requests

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return timestamp, key, actor and, where the log has them, miss and latency of each open."""
        rows: list[int] = []
        records: list[tuple[Any, ...]] = []
        find_key, classify = self._requests.find_key, self._requests.classify
        for number, line in enumerate(_decode_lines(lines)):
            match = _COMBINED.match(line)
            if not match:
                reject("format", number)
                continue
            time, method, path, status, agent = match.groups()
            code = int(status)
            key = find_key(method, path, code)
            if key is None:
                continue
            rows.append(number)
            hit = False if code == CLIENT_CLOSED_REQUEST else None
            latency = _latency_ms(line[match.end() :])
            request_id = _find_request_id(line[match.end() :])
            records.append((parse_log_time(time), *key, classify(agent), hit, latency, request_id))
        names = ("ts", "account_id", "date_range", "actor", "hit", "latency_ms", REQUEST_ID)
        columns = zip(*records, strict=True) if records else [() for _ in names]
        return RawColumns(rows, {name: list(values) for name, values in zip(names, columns, strict=True)})


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, strict=True), [])


_BOM = b"\xef\xbb\xbf"
_DELIMITERS = (",", ";", "\t", "|")
_MAX_JOINED = 20
_SHORTEST_ID = 32
_TEXT = r'[^"\\]*(?:\\.[^"\\]*)*'
_COMBINED = re.compile(
    r'\S+ \S+ [^\[]{1,200}\[([^\]]{1,40})\] "([A-Z]{1,10}) (\S+)[^"]*" (\d{3})'
    rf'(?: \S+ "{_TEXT}" "({_TEXT})")?'
)
_REQUEST_ID = re.compile(r'(?:^|[\s"=:])([0-9a-f]{32})(?=["\s,;]|$)')
_SECONDS = re.compile(r'(?:^|[\s"=:])(\d{1,6}\.\d{3})(?=["\s,;]|$)')


def _latency_ms(tail: str) -> float | None:
    """Return the first number with three decimals, taken as seconds, in milliseconds; other numbers are ambiguous."""
    match = _SECONDS.search(tail) if tail else None
    return float(match[1]) * 1000 if match else None


def _find_request_id(tail: str) -> str | None:
    match = _REQUEST_ID.search(tail) if len(tail) > _SHORTEST_ID else None
    return match[1] if match else None


def is_web_log_line(line: bytes) -> bool:
    """Whether a line is one of the common or combined log format."""
    return _COMBINED.match(_decode(line)) is not None
