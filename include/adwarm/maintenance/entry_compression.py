"""Compresses stored entries again with another codec or level, and keeps the smaller form of each.

Neither the decoded document nor its hash nor its freshness changes, and an entry that is published meanwhile stays as
it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Engine

from adwarm.compression import CompressedPayload, compress, decompress_envelope, flush_statistics, open_envelope
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.foundation.wording import format_count
from adwarm.settings import CompressionSettings
from adwarm.store import Context, entries
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry, mark_damaged


def compress_entries(
    context: Context, compression: CompressionSettings, patterns: Sequence[str], at: datetime
) -> dict[str, Any]:
    """Compress the named entries again and keep the smaller forms; return counts, and bytes before and after.

    Every payload is decoded and verified first; a corrupt one is marked degraded, so that it is fetched again. An entry
    that was published in the meantime is left as it is.

    Args:
        patterns: of `account/report/date range`; an entry that any of them matches is compressed.
    """
    counts = {"entries": 0, "repacked": 0, "corrupt": 0, "bytes_before": 0, "bytes_after": 0}
    for entry in entries.list_entries(context.engine):
        name = f"{entry.key.account_id}/{entry.report}/{entry.date_range}"
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            continue
        packed = _compress(context.engine, entry, name, compression)
        if packed is None:
            continue
        counts["entries"] += 1
        counts["bytes_before"] += entry.stored_bytes
        counts["bytes_after"] += entry.stored_bytes
        if isinstance(packed, Corrupt):
            mark_damaged(context, entry, packed)
            counts["corrupt"] += 1
        elif packed.stored_bytes < entry.stored_bytes and _replace(context.engine, entry, packed, at):
            counts["repacked"] += 1
            counts["bytes_after"] += packed.stored_bytes - entry.stored_bytes
    flush_statistics(context.engine, at)
    return counts


def describe_compression(counts: Mapping[str, Any], codec: str) -> str:
    """Return the counts of `compress_entries` in a sentence."""
    entries_text = f"{counts['repacked']:,} of {format_count(counts['entries'], 'stored entry', 'stored entries')}"
    sizes = f"{counts['bytes_before']:,} bytes became {counts['bytes_after']:,}"
    damaged = f"; {counts['corrupt']:,} are damaged and will be fetched again" if counts["corrupt"] else ""
    return f"{entries_text} are smaller by {codec} and were replaced: {sizes}{damaged}"


def _compress(
    engine: Engine, entry: Entry, name: str, settings: CompressionSettings
) -> CompressedPayload | Corrupt | None:
    """Return the verified document of an entry, compressed again, or the error when it is damaged."""
    # None when it has changed since it was listed, or is larger than what may be decoded.
    stored = entries.find(engine, entry.key)
    if stored is None or stored[0].payload_hash != entry.payload_hash or entry.raw_bytes > settings.max_decoded_bytes:
        return None
    try:
        envelope = open_envelope(stored[1])
        raw = decompress_envelope(envelope, settings)
    except Corrupt as error:
        return error
    except TooMuchData as error:  # more than its row says, so its bytes are not those that were stored
        return Corrupt(str(error))
    return compress(raw, settings, content_type=envelope.content_type, name=name)


def _replace(engine: Engine, entry: Entry, packed: CompressedPayload, at: datetime) -> bool:
    """Store the smaller form of an entry; False when the entry has changed meanwhile."""
    smaller = replace(entry, codec=packed.codec, stored_bytes=packed.stored_bytes)
    with write_transaction(engine) as connection:
        return entries.replace_payload(connection, smaller, packed.blob, at)
