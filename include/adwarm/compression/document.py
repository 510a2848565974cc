"""Writes the stored document of an entry, as columnar JSON, and packs it for the store; the client reads it.

Equal data gives equal bytes; the header has the times of the fetch, so a new fetch gives new bytes. The format is
described in `adwarm_client.document`.
"""

from dataclasses import fields
from hashlib import sha256
from typing import Any

import orjson

from adwarm.compression.action_columns import pivot_columns
from adwarm.compression.choice import CompressedPayload, compress, decompress_envelope, open_envelope
from adwarm.settings import CompressionSettings
from adwarm_client.column_table import ColumnTable
from adwarm_client.document import (
    CONTENT_TYPE,
    FORMAT_VERSION,
    Document,
    Header,
    Summary,
    decode_document,
    read_format_version,
)


def encode_document(document: Document) -> bytes:
    """Return the bytes of a document, whose content type is `CONTENT_TYPE`."""
    summary = document.summary
    return orjson.dumps({
        "format_version": FORMAT_VERSION,
        **header_fields(document.header),
        "summary": None if summary is None else {**summary_fields(summary), **_table_fields(summary.table)},
        "daily": _table_fields(document.daily),
    })


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
