"""Figures that are counted: latencies, compression and the usage that a platform reports."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from adwarm.foundation.errors import BadRequest

_RATIO = 1.1
"""Between the bounds of a bucket: a median or a 95th percentile is off by 5 % at most."""
_SHORTEST_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class Latencies:
    """Numbers of calls by bucket; the bucket `n` holds times from `1.1 ** n` to `1.1 ** (n + 1)` seconds."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, seconds: float) -> "Latencies":
        """Return the count of one call."""
        return cls({cls.get_bucket(seconds): 1})

    @staticmethod
    def get_bucket(seconds: float) -> int:
        """Return the bucket of a time."""
        return math.floor(math.log(max(seconds, _SHORTEST_SECONDS), _RATIO))

    def __add__(self, other: "Latencies") -> "Latencies":
        if not other.counts or not self.counts:
            return self if self.counts else other
        merged = dict(self.counts)
        for bucket, count in other.counts.items():
            merged[bucket] = merged.get(bucket, 0) + count
        return Latencies(merged)

    def quantile_ms(self, share: float) -> float | None:
        """Return the milliseconds that a share of the calls did not exceed; None without a call."""
        rank = share * sum(self.counts.values())
        for bucket, count in sorted(self.counts.items()):
            rank -= count
            if rank <= 0:
                return float(f"{1000 * _RATIO ** (bucket + 0.5):.3g}")
        return None

    def to_dict(self, name: str) -> dict[str, Any]:
        """Return median and 95th percentile in milliseconds, the only figures of latency that people are shown.

        Args:
            name: what took the time, such as `pack`.
        """
        return {f"median_{name}_ms": self.quantile_ms(0.5), f"p95_{name}_ms": self.quantile_ms(0.95)}


@dataclass(frozen=True, slots=True)
class CompressionCounts:
    """What was compressed and decompressed; sums of two are made by `+`.

    Attributes:
        packed: payloads that were compressed.
        unpacked: payloads that were decompressed.
        raw_bytes: bytes of the compressed payloads before compression.
        stored_bytes: their bytes after it.
        pack_seconds: time spent compressing, of one thread each.
        errors: payloads that could not be compressed or decompressed.
        cache_hits: payloads that were not decompressed, because a cache had what is made of them.
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
        names = CompressionCounts.__slots__
        return CompressionCounts(*(getattr(self, name) + getattr(other, name) for name in names))

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


class ScopeKind(StrEnum):
    """Kinds of scopes, from the narrowest to the widest."""

    ACCOUNT = "account"
    APP = "app"
    TOKEN = "token"
    FLEET = "fleet"


_KINDS = {str(kind): kind for kind in ScopeKind}


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What a quota belongs to. `str()` returns its stored name. `id` is a name or a hash, never a secret."""

    kind: ScopeKind
    id: str = ""

    def __hash__(self) -> int:  # admission hashes several scopes per call, and ids alone rarely collide
        return hash(self.id)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else str(self.kind)

    @classmethod
    def parse(cls, name: str) -> "Scope":
        """Return the scope stored as `name`.

        Raises:
            BadRequest: `name` does not start with a kind of scope.
        """
        prefix, _, rest = name.partition(":")
        kind = _KINDS.get(prefix)
        if kind is None:
            raise BadRequest(f"{name[:80]!r} is not a scope; write one of {', '.join(ScopeKind)}, a colon and an id")
        return cls(kind, rest)


@dataclass(frozen=True, slots=True)
class UsageSample:
    """One usage figure that the platform reported.

    Attributes:
        percent: 0 to 100, or above when the quota is exceeded.
        regain_seconds: how long the platform asks callers to wait; None when it does not say.
    """

    scope: Scope
    percent: float
    regain_seconds: float | None = None
