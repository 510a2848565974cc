"""The stored document of an entry, as columnar JSON. No other module reads or writes this JSON.

One object: the fields of `Header`, then `summary` (null for a window of one day) and `daily`. A table is
`{"rows": N, "columns": {name: [...]}}`; its rows are sorted by day, then by ad. A column is a list with a value per
row, null where the source sent none, or a column of actions as in `action_columns`. The content type names the version
of the format. Equal data gives equal bytes; the header has the times of the fetch, so a new fetch gives new bytes.

Version 1 (`application/json`, rows instead of columns) is read as well, and never written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec
import orjson

from adwarm.compression.action_columns import pivot_columns, unpivot_column
from adwarm.compression.choice import CompressedPayload, compress, decompress_envelope, open_envelope
from adwarm.foundation.errors import Corrupt
from adwarm.model import ColumnTable, Row
from adwarm.settings import CompressionSettings

FORMAT_VERSION: Final = 2
CONTENT_TYPE: Final = f"application/vnd.adwarm.report+json;version={FORMAT_VERSION}"
ROW_CONTENT_TYPE: Final = "application/json"
"""Content type of version 1."""
_TYPE = re.compile(r"application/vnd\.adwarm\.report\+json; ?version=([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class QueryFields:
    """The query of a report: its hash, the level of its rows, and its fields."""

    hash: str
    level: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What a document says about its data.

    Attributes:
        account_id: `act_` and digits.
        date_range: the date range of the report key.
        report: name of the report.
        since: first day of the window.
        until: last day of the window.
        time_zone: the zone of the days.
        currency: the currency of amounts.
        query: the query.
        source: name of the source.
        api_version: version of the platform's API.
        fetched_at: when the data was fetched, UTC.
        days_fetched_at: when the oldest day was fetched, UTC; None without a stored day.
        complete: whether nothing is missing.
        settled: whether the data is final.
        data_version: grows when a day is restated.
        missing: what could not be read, and why.
    """

    account_id: str
    date_range: str
    report: str
    since: date
    until: date
    time_zone: str
    currency: str
    query: QueryFields
    source: str
    api_version: str
    fetched_at: datetime
    days_fetched_at: datetime | None
    complete: bool
    settled: bool
    data_version: int
    missing: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One row per object over the whole window.

    Attributes:
        table: the rows.
        fetched_at: when they were fetched, UTC.
        versions: sum of the data versions of the window's days when the rows were fetched.
        missing: what could not be read, and why.
    """

    table: ColumnTable
    fetched_at: datetime
    versions: int
    missing: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its header, the summary (None for a window of one day) and the daily rows."""

    header: Header
    summary: Summary | None
    daily: ColumnTable

    @property
    def window_table(self) -> ColumnTable:
        """The rows over the whole window: the summary's, or the daily rows of a window of one day."""
        return self.daily if self.summary is None else self.summary.table


def encode_document(document: Document) -> bytes:
    """Return the bytes of a document, whose content type is `CONTENT_TYPE`."""
    summary = document.summary
    return orjson.dumps({
        "format_version": FORMAT_VERSION,
        **header_fields(document.header),
        "summary": None if summary is None else {**summary_fields(summary), **_table_fields(summary.table)},
        "daily": _table_fields(document.daily),
    })


def decode_document(raw: bytes, content_type: str) -> Document:
    """Return the document in `raw`, of this version of the format or an older one.

    Args:
        raw: the decoded payload of an entry.
        content_type: the content type in its envelope.

    Raises:
        Corrupt: the version is unknown, or the document is malformed; treat it as absent, so that it is fetched again.
    """
    version = read_format_version(content_type)
    try:
        body = orjson.loads(raw)
        header = msgspec.convert(body, Header)
        read_tables = _read_row_tables if version == 1 else _read_column_tables
        if body.get("format_version", 1) != version:
            raise Corrupt(f"the document is not of version {version} as its content type says; fetch it again")
        return Document(header, *read_tables(body))
    except (orjson.JSONDecodeError, msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"the document is malformed ({type(error).__name__}); fetch it again") from error


def read_format_version(content_type: str) -> int:
    """Return the version of the format that a content type names.

    Raises:
        Corrupt: this version of adwarm cannot read it.
    """
    if content_type == ROW_CONTENT_TYPE:
        return 1
    match = _TYPE.fullmatch(content_type)
    version = int(match[1]) if match else None
    if version is None:
        raise Corrupt(f"content type {content_type[:80]!r} is not that of a report; fetch the report again")
    if version != FORMAT_VERSION:
        raise Corrupt(
            f"the report is stored in version {version} of the format and this adwarm reads versions 1 and "
            f"{FORMAT_VERSION}; it is fetched again, or upgrade adwarm to the version that wrote it"
        )
    return version


def pack_document(document: Document, settings: CompressionSettings) -> tuple[CompressedPayload, str]:
    """Return a document compressed and in an envelope, and the SHA-256 of its bytes before compression.

    The settings' patterns are compared with `account/report/date range`.

    Raises:
        TooMuchData: it is larger than the settings allow.
    """
    raw = encode_document(document)
    header = document.header
    name = f"{header.account_id}/{header.report}/{header.date_range}"
    return compress(raw, settings, content_type=CONTENT_TYPE, name=name), sha256(raw).hexdigest()


def unpack_document(blob: bytes, settings: CompressionSettings) -> Document:
    """Return the document in an envelope.

    Raises:
        Corrupt: the bytes fail verification, or the document cannot be read; treat it as absent.
        TooMuchData: it is larger than the settings allow.
    """
    envelope = open_envelope(blob)
    read_format_version(envelope.content_type)
    return decode_document(decompress_envelope(envelope, settings), envelope.content_type)


def header_fields(header: Header) -> dict[str, Any]:
    """Return the fields of a header, in their order."""
    return {field.name: getattr(header, field.name) for field in fields(header)}


def summary_fields(summary: Summary) -> dict[str, Any]:
    """Return what a document stores about a summary beside its rows."""
    return {"fetched_at": summary.fetched_at, "versions": summary.versions, "missing": summary.missing}


def _table_fields(table: ColumnTable) -> dict[str, Any]:
    return {"rows": table.rows, "columns": pivot_columns(table)}


def _read_column_tables(body: Mapping[str, Any]) -> tuple[Summary | None, ColumnTable]:
    summary = body["summary"]
    return None if summary is None else _read_summary(summary, _read_table(summary)), _read_table(body["daily"])


def _read_row_tables(body: Mapping[str, Any]) -> tuple[Summary | None, ColumnTable]:
    """Return the tables of version 1, whose `rows` are the summary's, or the days of a window without a summary."""
    rows = _read_rows(body["rows"])
    if body["summary"] is None:
        return None, rows
    return _read_summary(body["summary"], rows), _read_rows(body["daily"])


def _read_rows(rows: Sequence[Row]) -> ColumnTable:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError("rows are not a list of objects")
    return ColumnTable.from_rows(rows)


def _read_summary(fields: Mapping[str, Any], table: ColumnTable) -> Summary:
    return Summary(
        table,
        fetched_at=msgspec.convert(fields["fetched_at"], datetime),
        versions=msgspec.convert(fields["versions"], int),
        missing=msgspec.convert(fields["missing"], str | None),
    )


def _read_table(fields: Mapping[str, Any]) -> ColumnTable:
    rows = fields["rows"]
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise TypeError("the number of rows is no number")
    return ColumnTable(rows, {name: unpivot_column(column, rows) for name, column in fields["columns"].items()})
