"""Statistics of compression: counted in memory, and added to those of the UTC day in batches.

`PROCESS_STATISTICS` counts every payload that this process compresses or decompresses. Whoever ends a batch calls
`flush_statistics`: the prefetch engine, maintenance, a command at its end, a server at most once a second. A payload
never causes a transaction of its own.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from threading import Lock
from typing import Any, Final

from sqlalchemy import Engine

from adwarm.foundation.errors import AdwarmError
from adwarm.model import CompressionCounts, Latencies
from adwarm.store import amounts
from adwarm.store.database import write_transaction

UNKNOWN: Final = "unknown"
"""Stands for the codec of bytes whose envelope is damaged."""
_TIMES = {"pack": "pack_latencies", "unpack": "unpack_latencies"}
_AMOUNTS = {
    f"compression.{item.name}": item.name for item in fields(CompressionCounts) if item.name not in _TIMES.values()
}
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
        add_counts(engine, at, counts)
    except AdwarmError as error:
        statistics.add(counts)
        log.warning("the statistics of compression are written later: %s", error)


@dataclass(frozen=True, slots=True)
class CompressionTotals:
    """The counts since a moment.

    Attributes:
        since: the first UTC day that is counted.
        codecs: the counts by codec, in alphabetical order.
    """

    since: date
    total: CompressionCounts
    codecs: dict[str, CompressionCounts]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: the totals, and the same of each codec in `codecs`."""
        codecs = [{"codec": name, **counts.to_dict()} for name, counts in self.codecs.items()]
        return {"since": self.since, **self.total.to_dict(), "codecs": codecs}


def add_counts(engine: Engine, at: datetime, counts: Mapping[str, CompressionCounts]) -> None:
    """Add counts by codec to the UTC day of `at`, in one transaction; without counts there is none."""
    if not counts:
        return
    start = amounts.start_of_day(at)
    counted = {
        (start, name, codec): getattr(added, field)
        for codec, added in counts.items()
        for name, field in _AMOUNTS.items()
    }
    times = {
        (start, f"{operation} {codec}"): getattr(added, field)
        for codec, added in counts.items()
        for operation, field in _TIMES.items()
    }
    with write_transaction(engine) as connection:
        amounts.add(connection, counted | amounts.latency_amounts(times))


def get_compression_totals(engine: Engine, since: datetime) -> CompressionTotals:
    """Return what was compressed and decompressed from the UTC day of `since` on, in total and by codec.

    Counts that a process has not flushed yet are missing.
    """
    start = amounts.start_of_day(since)
    codecs: dict[str, dict[str, Any]] = {}
    for (name, codec), amount in amounts.get_totals(engine, _AMOUNTS, start).items():
        field = _AMOUNTS[name]
        codecs.setdefault(codec, {})[field] = amount if field.endswith("_seconds") else int(amount)
    for name, took in amounts.get_latencies(engine, start).items():
        operation, _, codec = name.partition(" ")
        if operation in _TIMES:
            codecs.setdefault(codec, {})[_TIMES[operation]] = took
    counts = {codec: CompressionCounts(**codecs[codec]) for codec in sorted(codecs)}
    return CompressionTotals(start.date(), sum(counts.values(), CompressionCounts()), counts)
