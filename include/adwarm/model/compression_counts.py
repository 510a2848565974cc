"""Counts of compressed and decompressed payloads, of one codec or of several."""

from dataclasses import dataclass
from typing import Any


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
    """

    packed: int = 0
    unpacked: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    pack_seconds: float = 0.0
    unpack_seconds: float = 0.0
    errors: int = 0

    def __add__(self, other: "CompressionCounts") -> "CompressionCounts":
        return CompressionCounts(
            self.packed + other.packed,
            self.unpacked + other.unpacked,
            self.raw_bytes + other.raw_bytes,
            self.stored_bytes + other.stored_bytes,
            self.pack_seconds + other.pack_seconds,
            self.unpack_seconds + other.unpack_seconds,
            self.errors + other.errors,
        )

    @property
    def ratio(self) -> float | None:
        """Bytes after compression per byte before it; None when nothing was compressed."""
        return self.stored_bytes / self.raw_bytes if self.raw_bytes else None

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, the bytes saved, the ratio, and the mean times in milliseconds; None without a payload."""
        return {
            "packed": self.packed,
            "unpacked": self.unpacked,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "saved_bytes": self.raw_bytes - self.stored_bytes,
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "mean_pack_ms": _mean_ms(self.pack_seconds, self.packed),
            "mean_unpack_ms": _mean_ms(self.unpack_seconds, self.unpacked),
            "errors": self.errors,
        }


def _mean_ms(seconds: float, count: int) -> float | None:
    return round(seconds / count * 1000, 4) if count else None
