"""Damage in a store, for tests: payloads whose checksums are right, and objects that are not what they should be."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from sqlalchemy import Engine

from adwarm.compression import CONTENT_TYPE, encode_envelope
from adwarm.store import entries
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry
from tests.unit.conftest import NOW


def replace_payload(engine: Engine, sealed: bytes, **facts: Any) -> Entry:
    """Give the only entry other stored bytes, with a row that fits them but for its other `facts`; return the row."""
    (entry,) = entries.list_entries(engine)
    changed = replace(entry, stored_bytes=len(sealed), payload_hash=sha256(sealed).hexdigest(), **facts)
    with write_transaction(engine) as connection:
        entries.publish(connection, [(changed, sealed)], 9, NOW)
    return changed


def store_bomb(engine: Engine, decoded_bytes: int) -> Entry:
    """Store a payload with valid checksums that decodes to so many zeros, but says that it has ten bytes."""
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    body = b"".join(compressor.compress(b"\0" * (1 << 20)) for _ in range(decoded_bytes >> 20)) + compressor.flush()
    sealed = encode_envelope(body, codec="zstd", content_type=CONTENT_TYPE, raw_bytes=10)
    return replace_payload(engine, sealed, codec="zstd", raw_bytes=10)


def store_noise(engine: Engine) -> Entry:
    """Store a payload with valid checksums whose body is no stream of its codec."""
    sealed = encode_envelope(b"not a stream", codec="zstd", content_type=CONTENT_TYPE, raw_bytes=10)
    return replace_payload(engine, sealed, codec="zstd", raw_bytes=10)


def store_other_json(engine: Engine) -> Entry:
    """Store a payload with valid checksums whose document is JSON and no report."""
    sealed = encode_envelope(b'{"a": 1}', codec="identity", content_type=CONTENT_TYPE, raw_bytes=8)
    return replace_payload(engine, sealed, codec="identity", raw_bytes=8)


def store_newer_format(engine: Engine) -> Entry:
    """Store a payload with valid checksums in a format of the future."""
    kind = "application/vnd.adwarm.report+json;version=99"
    sealed = encode_envelope(b'{"a": 1}', codec="identity", content_type=kind, raw_bytes=8)
    return replace_payload(engine, sealed, codec="identity", raw_bytes=8)


UNDECODABLE: dict[str, Callable[[Engine], Entry]] = {
    "bomb": lambda engine: store_bomb(engine, 80 << 20),
    "noise": store_noise,
    "other JSON": store_other_json,
    "newer format": store_newer_format,
}
"""Payloads whose checksums are right and that cannot be decoded."""


def fail_to_read(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """Let reading one file fail with an error of the operating system."""
    real = Path.read_bytes

    def read(self: Path) -> bytes:
        if self == path:
            raise OSError(number, os.strerror(number))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read)


UNREADABLE = {"no right": errno.EACCES, "bad disk": errno.EIO}
