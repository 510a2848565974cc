"""Compresses stored entries with another codec where that makes them smaller."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from adwarm.compression import compress, decode_envelope
from adwarm.compression.choice import decompress_envelope
from adwarm.foundation.errors import Corrupt
from adwarm.foundation.wording import format_count
from adwarm.settings import CompressionSettings
from adwarm.store import entries
from adwarm.store.database import write_transaction


def describe_recompression(counts: Mapping[str, Any], codec: str) -> str:
    """Return the counts of `recompress_entries` in a sentence."""
    entries_text = f"{counts['repacked']:,} of {format_count(counts['entries'], 'stored entry', 'stored entries')}"
    sizes = f"{counts['bytes_before']:,} bytes became {counts['bytes_after']:,}"
    damaged = f"; {counts['corrupt']:,} are damaged and will be fetched again" if counts["corrupt"] else ""
    return f"{entries_text} are smaller by {codec} and were replaced: {sizes}{damaged}"


def recompress_entries(engine: Engine, compression: CompressionSettings, at: datetime) -> dict[str, Any]:
    """Compress each entry again and keep the smaller form; return counts, and bytes before and after.

    Every payload is decoded and verified first; a corrupt one is marked degraded, so that it is fetched again. An entry
    that was published in the meantime is left as it is.

    Args:
        engine: the database.
        compression: the codec and its level.
        at: the time of the replacement, UTC.
    """
    counts = {"entries": 0, "repacked": 0, "corrupt": 0, "bytes_before": 0, "bytes_after": 0}
    for entry in entries.list_entries(engine):
        stored = entries.find(engine, entry.key)
        if stored is None or stored[0].payload_hash != entry.payload_hash:
            continue
        counts["entries"] += 1
        counts["bytes_before"] += entry.stored_bytes
        counts["bytes_after"] += entry.stored_bytes
        try:
            envelope = decode_envelope(stored[1])
            raw = decompress_envelope(envelope, compression)
            packed = compress(raw, compression, content_type=envelope.content_type)
        except Corrupt as error:
            entries.mark_degraded(engine, entry, str(error))
            counts["corrupt"] += 1
            continue
        if packed.stored_bytes >= entry.stored_bytes:
            continue
        smaller = replace(entry, codec=packed.codec, stored_bytes=packed.stored_bytes)
        with write_transaction(engine) as connection:
            if entries.replace_payload(connection, smaller, packed.blob, at):
                counts["repacked"] += 1
                counts["bytes_after"] += packed.stored_bytes - entry.stored_bytes
    return counts
