"""Compresses payloads into envelopes and decompresses them again.

Statistics of compression: counted in memory, and added to the table `compression_day` in batches.

`PROCESS_STATISTICS` counts every payload that this process compresses or decompresses. Whoever ends a batch calls
`flush_statistics`: the prefetch engine, maintenance, a command at its end, a server at most once a second. A payload
never causes a transaction of its own.

The body in an envelope is never larger than the payload: small payloads and those that do not shrink stay as they are,
and so do those that the settings leave out. `decompress` returns the bytes that `compress` was given, or raises.
Whether compression is on or off, both return the same types. Everything is counted in `PROCESS_STATISTICS`.
"""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final

from sqlalchemy import Engine

from adwarm.compression.envelope import Codec, Envelope, decode, decode_envelope, encode, encode_envelope, parse_codec
from adwarm.foundation.errors import AdwarmError, Corrupt, TooMuchData
from adwarm.model import CompressionCounts, Latencies
from adwarm.settings import CompressionSettings
from adwarm.store import compression_days
from adwarm.store.compression_days import CompressionTotals

UNKNOWN: Final = "unknown"
"""Stands for the codec of bytes whose envelope is damaged."""
log = logging.getLogger(__name__)


class CompressionStats:
    """Counts by codec. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, CompressionCounts] = {}
        self._cache_hits: dict[str, int] = {}

    def record_pack(self, codec: str, raw_bytes: int, stored_bytes: int, seconds: float) -> None:
        """Count a payload that was compressed; `codec` is `identity` when it was tried and did not shrink."""
        counts = CompressionCounts(
            packed=1,
            raw_bytes=raw_bytes,
            stored_bytes=stored_bytes,
            pack_seconds=seconds,
            pack_latencies=Latencies.of(seconds),
        )
        self.add({codec: counts})

    def record_unpack(self, codec: str, seconds: float) -> None:
        """Count a payload that was decompressed."""
        took = Latencies.of(seconds)
        self.add({codec: CompressionCounts(unpacked=1, unpack_seconds=seconds, unpack_latencies=took)})

    def record_cache_hit(self, codec: str) -> None:
        """Count a payload of this codec that was not decompressed, because a cache had what is made of it."""
        with self._lock:
            self._cache_hits[codec] = self._cache_hits.get(codec, 0) + 1

    def record_error(self, codec: str = UNKNOWN) -> None:
        """Count a payload that could not be compressed or decompressed."""
        self.add({codec: CompressionCounts(errors=1)})

    def add(self, counts: Mapping[str, CompressionCounts]) -> None:
        """Add counts by codec."""
        with self._lock:
            for codec, added in counts.items():
                self._counts[codec] = self._counts.get(codec, CompressionCounts()) + added

    def take_counts(self) -> dict[str, CompressionCounts]:
        """Return the counts since the last flush and start at zero."""
        with self._lock:
            taken, self._counts = self._counts, {}
            hits, self._cache_hits = self._cache_hits, {}
        for codec, count in hits.items():
            taken[codec] = taken.get(codec, CompressionCounts()) + CompressionCounts(cache_hits=count)
        return taken

    def reset_after_fork(self) -> None:
        """Start at zero with a new lock: the parent writes what it has counted."""
        self._lock = Lock()  # the old one may be held by a thread that the child does not have
        self._counts, self._cache_hits = {}, {}


PROCESS_STATISTICS: Final = CompressionStats()
"""What this process has compressed and decompressed since the last flush."""
if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=PROCESS_STATISTICS.reset_after_fork)


def flush_statistics(engine: Engine, at: datetime, statistics: CompressionStats = PROCESS_STATISTICS) -> None:
    """Add the counts to the UTC day of `at` in one transaction, and start at zero; without counts nothing is written.

    Statistics never fail the work that they count: when the database cannot be written, the counts are kept for the
    next flush, and a warning is logged.
    """
    counts = statistics.take_counts()
    try:
        compression_days.add_counts(engine, at, counts)
    except AdwarmError as error:
        statistics.add(counts)
        log.warning("the statistics of compression are written later: %s", error)


def get_compression_totals(engine: Engine, since: datetime) -> CompressionTotals:
    """Return what was compressed and decompressed from the UTC day of `since` on, in total and by codec.

    Counts that a process has not flushed yet are missing.
    """
    return compression_days.get_totals(engine, since)


@dataclass(frozen=True, slots=True)
class CompressedPayload:
    """A payload in its envelope.

    Attributes:
        codec: the codec that was used, `identity` when compression did not make it smaller.
        stored_bytes: length of the envelope.
    """

    blob: bytes
    codec: Codec
    raw_bytes: int
    stored_bytes: int


def compress(
    raw: bytes,
    settings: CompressionSettings,
    *,
    content_type: str = "application/json",
    codec: str | None = None,
    name: str | None = None,
) -> CompressedPayload:
    """Return `raw` compressed and in an envelope.

    Args:
        content_type: the payload's type, at most 255 ASCII characters.
        codec: used instead of the settings' codec.
        name: what the settings' patterns are compared with, such as `act_1/default/last_7d`; None matches all.

    Raises:
        TooMuchData: `raw` is larger than what `decompress` may decode under the same settings.
        BadRequest: the codec is unknown or the content type is not valid.
    """
    chosen = parse_codec(settings.codec if codec is None else codec)
    if len(raw) > settings.max_decoded_bytes:
        PROCESS_STATISTICS.record_error(chosen)
        raise TooMuchData(
            f"the payload has {len(raw)} bytes, more than the limit of {settings.max_decoded_bytes} for decoding; "
            "request less at a time, or raise ADWARM_COMPRESSION__MAX_DECODED_BYTES"
        )
    if len(raw) < settings.threshold_bytes or not settings.is_compressed(content_type, name):
        chosen = "identity"
    used, body = encode_if_smaller(raw, chosen, settings)
    blob = encode_envelope(body, codec=used, content_type=content_type, raw_bytes=len(raw))
    return CompressedPayload(blob, used, len(raw), len(blob))


def decompress(blob: bytes, settings: CompressionSettings) -> bytes:
    """Return the payload in `blob`.

    Raises:
        Corrupt: the checksum or the decoded length is wrong; treat it as a miss.
        TooMuchData: it would decode to more than the settings allow.
    """
    return decompress_envelope(open_envelope(blob), settings)


def decompress_envelope(envelope: Envelope, settings: CompressionSettings) -> bytes:
    """Return the payload of a decoded envelope.

    Raises:
        Corrupt: the body does not decode to the length in the envelope.
        TooMuchData: it would decode to more than the settings allow.
    """
    raw = decode_counted(envelope.body, envelope.codec, settings.max_decoded_bytes)
    if len(raw) != envelope.raw_bytes:
        PROCESS_STATISTICS.record_error(envelope.codec)
        raise Corrupt(f"the payload has {len(raw)} bytes and should have {envelope.raw_bytes}; fetch it again")
    return raw


def encode_counted(raw: bytes, codec: Codec, settings: CompressionSettings) -> bytes:
    """Return `raw` encoded by `codec`, whatever its size afterwards, and count it; plain bytes are not counted."""
    if codec == "identity":
        return raw
    started = time.perf_counter()
    body = encode(raw, codec, settings)
    PROCESS_STATISTICS.record_pack(codec, len(raw), len(body), time.perf_counter() - started)
    return body


def encode_if_smaller(raw: bytes, codec: Codec, settings: CompressionSettings) -> tuple[Codec, bytes]:
    """Return `raw` encoded by `codec`, or as it is when that is not smaller, with the codec that was used; count it."""
    started = time.perf_counter()
    body = encode(raw, codec, settings)
    used, smaller = (codec, body) if len(body) < len(raw) else ("identity", raw)
    PROCESS_STATISTICS.record_pack(used, len(raw), len(smaller), time.perf_counter() - started)
    return used, smaller


def decode_counted(body: bytes, codec: Codec, max_bytes: int) -> bytes:
    """Return `body` decoded, at most `max_bytes` of it, and count it.

    Raises:
        Corrupt: the stream is truncated or damaged, or other bytes follow it.
        TooMuchData: it decodes to more than `max_bytes`.
    """
    started = time.perf_counter()
    try:
        raw = decode(body, codec, max_bytes)
    except AdwarmError:
        PROCESS_STATISTICS.record_error(codec)
        raise
    PROCESS_STATISTICS.record_unpack(codec, time.perf_counter() - started)
    return raw


def open_envelope(blob: bytes) -> Envelope:
    """Return the envelope in `blob` like `decode_envelope`, and count it when it is damaged.

    Raises:
        Corrupt: the bytes are truncated, changed, or not an envelope.
    """
    try:
        return decode_envelope(blob)
    except Corrupt:
        PROCESS_STATISTICS.record_error()
        raise
