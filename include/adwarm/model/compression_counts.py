"""Counts of compressed and decompressed payloads, of one codec or of several."""

from dataclasses import dataclass, field
from typing import Any

from adwarm.model.latencies import Latencies


@dataclass(frozen=True, slots=True)
class CompressionCounts:
    """What was compressed and decompressed; sums of two are made by `+`.

    Attributes:
        packed: payloads that were compressed.
        unpacked: payloads that were decompressed.
        raw_bytes: bytes of the compressed payloads before compression.
        stored_bytes: their bytes after it.
        pack_seconds: time spent compressing, of one thread each.
        unpack_seconds: time spent decompressing.
        errors: payloads that could not be compressed or decompressed.
        cache_hits: payloads that were not decompressed, because a cache had what is made of them.
        pack_latencies, unpack_latencies: how long each payload took.
    """

    packed: int = 0
    unpacked: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    pack_seconds: float = 0.0
    unpack_seconds: float = 0.0
    errors: int = 0
    cache_hits: int = 0
    pack_latencies: Latencies = field(default_factory=Latencies)
    unpack_latencies: Latencies = field(default_factory=Latencies)

    def __add__(self, other: "CompressionCounts") -> "CompressionCounts":
        return CompressionCounts(
            self.packed + other.packed,
            self.unpacked + other.unpacked,
            self.raw_bytes + other.raw_bytes,
            self.stored_bytes + other.stored_bytes,
            self.pack_seconds + other.pack_seconds,
            self.unpack_seconds + other.unpack_seconds,
            self.errors + other.errors,
            self.cache_hits + other.cache_hits,
            self.pack_latencies + other.pack_latencies,
            self.unpack_latencies + other.unpack_latencies,
        )

    @property
    def ratio(self) -> float | None:
        """Bytes after compression per byte before it; None when nothing was compressed."""
        return self.stored_bytes / self.raw_bytes if self.raw_bytes else None

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, the bytes saved, the ratio, and times in milliseconds; None without a payload.

        Every surface shows these figures: `adwarm status`, the page, the read API and the metrics.
        """
        return {
            "packed": self.packed,
            "unpacked": self.unpacked,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "saved_bytes": self.raw_bytes - self.stored_bytes,
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "mean_pack_ms": _mean_ms(self.pack_seconds, self.packed),
            "mean_unpack_ms": _mean_ms(self.unpack_seconds, self.unpacked),
            **self.pack_latencies.to_dict("pack"),
            **self.unpack_latencies.to_dict("unpack"),
            "errors": self.errors,
            "cache_hits": self.cache_hits,
        }


def _mean_ms(seconds: float, count: int) -> float | None:
    return round(seconds / count * 1000, 4) if count else None
