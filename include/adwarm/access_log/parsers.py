"""Parses lines into raw columns, with one parser per text format; a line that cannot be parsed is rejected."""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

import orjson

from adwarm.access_log.events import LOG_COLUMNS, REQUIRED_COLUMNS
from adwarm.access_log.timestamps import to_micros
from adwarm.access_log.user_agents import classify_actor
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

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the log's columns of each object."""
        rows: list[int] = []
        objects: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            if line[:1] != b"{" and line.lstrip()[:1] != b"{":  # spares the error, which costs ten times as much
                if line.strip():
                    reject("json", number)
                continue
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                reject("json", number)
                continue
            rows.append(number)
            objects.append(found)
        present = set().union(*objects) if objects else set()
        names = [name for name in LOG_COLUMNS if name in present or name in REQUIRED_COLUMNS]
        return RawColumns(rows, {name: [item.get(name) for item in objects] for name in names})


class CsvParser:
    """Comma-separated values with a header. A record is one line, so an open quote does not extend to the next line."""

    def __init__(self, header: bytes) -> None:
        self.header = header.rstrip(b"\r\n")
        try:
            names = [name.strip() for name in _fields(self.header.decode("utf-8-sig"))]
        except (UnicodeDecodeError, csv.Error):
            raise BadRequest("the first line of a CSV log must name its columns, in UTF-8") from None
        missing = [name for name in REQUIRED_COLUMNS if name not in names]
        if missing:
            raise BadRequest(
                f"the header of the CSV log lacks {', '.join(missing)}; the first line must name the columns"
            )
        self._width = len(names)
        self._indexes = {name: names.index(name) for name in LOG_COLUMNS if name in names}

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return the log's columns of each line that has as many fields as the header."""
        rows: list[int] = []
        records: list[list[str]] = []
        for number, line in enumerate(lines):
            try:
                text = line.decode().rstrip("\r")
                record = _fields(text) if '"' in text else text.split(",")
            except UnicodeDecodeError:
                reject("encoding", number)
                continue
            except csv.Error:
                reject("csv", number)
                continue
            if len(record) == self._width:
                rows.append(number)
                records.append(record)
            elif text.strip():
                reject("columns", number)
        return RawColumns(rows, {name: [record[at] for record in records] for name, at in self._indexes.items()})


class CombinedLogParser:
    """The combined log format of web servers.

    An open is a GET whose path matches the pattern of reports and whose status is not 4xx or 5xx. A request that the
    client closed before the response (status 499) is an open and a miss. All other requests are counted by `ignore`.
    The user agent gives the actor; a number of seconds after it, as nginx writes its request time, is the latency.
    """

    def __init__(self, path_pattern: str, ignore: Callable[[], None]) -> None:
        try:
            self._path = re.compile(path_pattern)
        except re.error as error:
            raise BadRequest(f"ADWARM_ACCESS_LOG__PATH_PATTERN is not a regular expression: {error}") from None
        if not {"account_id", "date_range"} <= set(self._path.groupindex):
            raise BadRequest("ADWARM_ACCESS_LOG__PATH_PATTERN must name the groups account_id and date_range")
        self._ignore = ignore

    def parse(self, lines: list[bytes], reject: Reject) -> RawColumns:
        """Return timestamp, key, actor and, where the log has them, miss and latency of each open."""
        rows: list[int] = []
        records: list[tuple[Any, ...]] = []
        for number, line in enumerate(lines):
            try:
                match = _COMBINED.match(line.decode())
            except UnicodeDecodeError:
                reject("encoding", number)
                continue
            if not match:
                reject("format", number)
                continue
            time, method, path, status, agent = match.groups()
            opened = method == "GET" and (status[0] not in "45" or status == _CLIENT_CLOSED_REQUEST)
            key = self._path.search(path) if opened else None
            if key is None:
                self._ignore()
                continue
            rows.append(number)
            hit = False if status == _CLIENT_CLOSED_REQUEST else None
            latency = _latency_ms(match.string[match.end() :])
            actor = classify_actor(agent).value
            records.append((_log_time(time), key["account_id"], key["date_range"], actor, hit, latency))
        names = ("ts", "account_id", "date_range", "actor", "hit", "latency_ms")
        return RawColumns(rows, {name: [record[at] for record in records] for at, name in enumerate(names)})


def _fields(line: str) -> list[str]:
    return next(csv.reader([line], strict=True), [])


_TEXT = r'[^"\\]*(?:\\.[^"\\]*)*'
_COMBINED = re.compile(
    r'\S+ \S+ [^\[]{1,200}\[([^\]]{1,40})\] "([A-Z]{1,10}) (\S+)[^"]*" (\d{3})'
    rf'(?: \S+ "{_TEXT}" "({_TEXT})")?'
)
_CLIENT_CLOSED_REQUEST = "499"
_SECONDS = re.compile(r'(?:^|[\s"=:])(\d{1,6}\.\d{3})(?=["\s,;]|$)')


@lru_cache(maxsize=4096)
def _log_time(text: str) -> int | None:
    try:
        return to_micros(datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z"))
    except (ValueError, OverflowError):
        return None


def _latency_ms(tail: str) -> float | None:
    """Return the first number with three decimals, taken as seconds, in milliseconds; other numbers are ambiguous."""
    match = _SECONDS.search(tail) if tail else None
    return float(match[1]) * 1000 if match else None
