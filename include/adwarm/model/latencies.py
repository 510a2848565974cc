"""How long calls of one kind took, counted in buckets, so that counts of many processes and days add up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
