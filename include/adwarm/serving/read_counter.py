"""Counts reads in memory and stores the counts every half second, so that no read waits for the database.

A batch that cannot be stored is kept and tried again with the next one. The number of different counts is bounded: when
the database is away for long, reads of further accounts are dropped, and the log says how many.

A process knows only the opens that it has served itself since it started, of the keys it has seen last. An open also
counts as a first one when the open before it was served by another process, before a restart, or so many keys ago that
it was forgotten. The access log has the exact numbers; these are available at once.
"""

import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from adwarm.compression import flush_statistics
from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.redaction import redact
from adwarm.model import FIRST_OPEN_QUIET, Actor, EntryKey, Latencies, ReportKey
from adwarm.store import entries, read_traffic
from adwarm.store.entries import Entry
from adwarm.store.read_traffic import READ, LatencyKey, TrafficKey

MAX_KEYS: Final = 50_000
"""Keys that a process remembers, about 15 MB; the one whose last open is the oldest is forgotten first."""


class FirstOpenTracker:
    """Remembers when each key was last opened by a human. Safe for many threads; memory is bounded."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._last_opens: dict[ReportKey, datetime] = {}
        self._lock = threading.Lock()

    def count(self, at: datetime, key: ReportKey, actor: Actor, *, is_hit: bool) -> dict[str, int]:
        """Record an open, and return what it adds to the traffic of its hour.

        Args:
            actor: who opened it; only humans count.
            is_hit: whether a fresh entry answered.

        Returns:
            `first_opens` and `first_hits` for a first open; empty for any other.
        """
        if not actor.is_human:
            return {}
        with self._lock:
            before = self._last_opens.pop(key, None)  # taken out, so that the oldest open stays the first of the dict
            self._last_opens[key] = at if before is None else max(at, before)
            if len(self._last_opens) > self._max_keys:
                del self._last_opens[next(iter(self._last_opens))]
        if before is not None and at - before < FIRST_OPEN_QUIET:
            return {}
        return {"first_opens": 1, "first_hits": int(is_hit)}


FLUSH_SECONDS: Final = 0.5
MAX_COUNTS: Final = 20_000
_COLUMNS: Final = {"hit": "hits", "stale": "stale"}
_HOUR: Final = timedelta(hours=1)
_LOG = logging.getLogger(__name__)


class ReadCounter:
    """Counts reads by hour, account and actor, and by entry. Safe for many threads; `count` never waits or fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._traffic: dict[TrafficKey, dict[str, float]] = {}
        self._took: dict[LatencyKey, dict[int, int]] = {}
        self._entries: dict[EntryKey, int] = {}
        self._last_read: datetime | None = None
        self._dropped = 0
        self._hour: datetime | None = None
        self._first_opens = FirstOpenTracker()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def count(
        self, at: datetime, key: ReportKey, actor: Actor, status: str, latency_ms: float, entry: Entry | None
    ) -> None:
        """Count one read; `hit` and `stale` by themselves, anything else as a miss, and first opens besides."""
        hour = self._hour
        if hour is None or not hour <= at < hour + _HOUR:
            hour = self._hour = floor_to(at, _HOUR)
        row = (hour, key.account_id, actor.value)
        column = _COLUMNS.get(status, "misses")
        first = self._first_opens.count(at, key, actor, is_hit=column == "hits")
        with self._lock:
            counts = self._traffic.get(row)
            if counts is None:
                if len(self._traffic) >= MAX_COUNTS:
                    self._dropped += 1
                    return
                counts = self._traffic[row] = {}
            counts[column] = counts.get(column, 0) + 1
            counts["latency_ms"] = counts.get("latency_ms", 0.0) + latency_ms
            for name, more in first.items():
                counts[name] = counts.get(name, 0) + more
            if actor is Actor.WARMER:
                return
            took, bucket = self._took.setdefault((hour, READ), {}), Latencies.get_bucket(latency_ms / 1000)
            took[bucket] = took.get(bucket, 0) + 1
            if entry is not None:
                self._entries[entry.key] = self._entries.get(entry.key, 0) + 1
                self._last_read = at

    def start(self) -> None:
        """Start the thread that stores the counts."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="adwarm-count", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Store what was counted, and end the thread."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def flush(self) -> bool:
        """Store what was counted; False when it could not be stored, and then it is kept for the next time."""
        with self._lock:
            traffic, self._traffic = self._traffic, {}
            took, self._took = self._took, {}
            reads, self._entries = self._entries, {}
            last_read = self._last_read
            dropped, self._dropped = self._dropped, 0
        if dropped:
            _LOG.warning("%d reads were not counted; the database was away for too long", dropped)
        try:
            if traffic:
                latencies = {key: Latencies(counts) for key, counts in took.items()}
                read_traffic.increment_many(self._engine, traffic, latencies)
                traffic, took = {}, {}
            if last_read is not None:
                entries.add_reads(self._engine, reads, last_read)
                flush_statistics(self._engine, last_read)
        except Exception as error:
            # A driver may raise anything; the thread goes on, and nothing that was counted is lost.
            text = redact(str(error)) if isinstance(error, AdwarmError) else type(error).__name__
            _LOG.warning("reads are not stored yet: %s", text)
            self._restore(traffic, reads, took)
            return False
        return True

    def _restore(
        self,
        traffic: Mapping[TrafficKey, Mapping[str, float]],
        reads: Mapping[EntryKey, int],
        took: Mapping[LatencyKey, Mapping[int, int]],
    ) -> None:
        with self._lock:
            for key, counts in traffic.items():
                merged = self._traffic.setdefault(key, {})
                for name, value in counts.items():
                    merged[name] = merged.get(name, 0) + value
            for entry_key, count in reads.items():
                self._entries[entry_key] = self._entries.get(entry_key, 0) + count
            for latency_key, buckets in took.items():
                totals = self._took.setdefault(latency_key, {})
                for bucket, count in buckets.items():
                    totals[bucket] = totals.get(bucket, 0) + count

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self.flush()
