"""Statistics of compression: bytes before and after, time by codec, and errors. Safe for many threads."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from adwarm.compression.choice import CompressedPayload, compress, decompress_envelope
from adwarm.compression.envelope import decode_envelope
from adwarm.foundation.errors import AdwarmError
from adwarm.settings import CompressionSettings


@dataclass(slots=True)
class CodecStatistics:
    """Totals of one codec; seconds are of wall time in one thread each."""

    packed: int = 0
    unpacked: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    pack_seconds: float = 0.0
    unpack_seconds: float = 0.0


class CompressionStats:
    """Compresses and decompresses like the plain functions, and counts.

    Args:
        timer: returns seconds.
    """

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._lock = Lock()
        self._codecs: dict[str, CodecStatistics] = {}
        self._errors: dict[str, int] = {}

    def compress(
        self,
        raw: bytes,
        settings: CompressionSettings,
        *,
        content_type: str = "application/json",
        codec: str | None = None,
    ) -> CompressedPayload:
        """Compress like `choice.compress`, and count."""
        started = self._timer()
        try:
            packed = compress(raw, settings, content_type=content_type, codec=codec)
        except AdwarmError as error:
            self.record_error(error)
            raise
        self.record(packed, self._timer() - started)
        return packed

    def decompress(self, blob: bytes, settings: CompressionSettings) -> bytes:
        """Decompress like `choice.decompress`, and count."""
        started = self._timer()
        try:
            envelope = decode_envelope(blob)
            raw = decompress_envelope(envelope, settings)
        except AdwarmError as error:
            self.record_error(error)
            raise
        seconds = self._timer() - started
        with self._lock:
            figures = self._figures(envelope.codec)
            figures.unpacked += 1
            figures.unpack_seconds += seconds
        return raw

    def record(self, packed: CompressedPayload, seconds: float) -> None:
        """Count a payload that was compressed in `seconds`."""
        with self._lock:
            figures = self._figures(packed.codec)
            figures.packed += 1
            figures.raw_bytes += packed.raw_bytes
            figures.stored_bytes += packed.stored_bytes
            figures.pack_seconds += seconds

    def record_error(self, error: Exception) -> None:
        """Count an error by its class."""
        with self._lock:
            name = type(error).__name__
            self._errors[name] = self._errors.get(name, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the totals and the figures by codec; `ratio` is raw over stored bytes, None before the first pack."""
        with self._lock:
            codecs = {name: _figures_dict(figures) for name, figures in sorted(self._codecs.items())}
            errors = dict(sorted(self._errors.items()))
        raw = sum(figures["raw_bytes"] for figures in codecs.values())
        stored = sum(figures["stored_bytes"] for figures in codecs.values())
        return {
            "packed": sum(figures["packed"] for figures in codecs.values()),
            "unpacked": sum(figures["unpacked"] for figures in codecs.values()),
            "raw_bytes": raw,
            "stored_bytes": stored,
            "saved_bytes": raw - stored,
            "ratio": _ratio(raw, stored),
            "codecs": codecs,
            "errors": errors,
        }

    def _figures(self, codec: str) -> CodecStatistics:
        return self._codecs.setdefault(codec, CodecStatistics())


def _figures_dict(figures: CodecStatistics) -> dict[str, Any]:
    return {
        "packed": figures.packed,
        "unpacked": figures.unpacked,
        "raw_bytes": figures.raw_bytes,
        "stored_bytes": figures.stored_bytes,
        "ratio": _ratio(figures.raw_bytes, figures.stored_bytes),
        "pack_seconds": figures.pack_seconds,
        "unpack_seconds": figures.unpack_seconds,
    }


def _ratio(raw: int, stored: int) -> float | None:
    return round(raw / stored, 3) if stored else None
