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
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import Engine

from adwarm.compression import flush_statistics
from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.redaction import redact
from adwarm.model import FIRST_OPEN_QUIET, Actor, EntryKey, Latencies, ReportKey
from adwarm.store import entries, read_traffic
from adwarm.store.amounts import READ, LatencyKey
from adwarm.store.entries import Entry
from adwarm.store.read_traffic import TrafficKey

K = TypeVar("K")
V = TypeVar("V", int, float)
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


def _add(totals: dict[K, V], more: Mapping[K, V]) -> None:
    """Add numbers to those of the same names."""
    for name, value in more.items():
        totals[name] = totals[name] + value if name in totals else value


FLUSH_SECONDS: Final = 0.5
MAX_COUNTS: Final = 20_000
_COLUMNS: Final = {"hit": "hits", "stale": "stale"}
_HOUR: Final = timedelta(hours=1)
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tally:
    """Reads of one key by one actor in one hour, with one result."""

    reads: int = 0
    latency_ms: float = 0.0
    took: dict[int, int] = field(default_factory=dict)
    entries: dict[EntryKey, int] = field(default_factory=dict)
    firsts: dict[str, int] = field(default_factory=dict)
    entry: Entry | None = None
    entry_reads: int = 0

    def close_entry(self) -> None:
        """Add the reads of the last entry to those of its key."""
        if self.entry is not None and self.entry_reads:
            _add(self.entries, {self.entry.key: self.entry_reads})
        self.entry_reads = 0


class ReadCounter:
    """Counts reads by hour, account and actor, and by entry. Safe for many threads; `count` never waits or fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._tallies: dict[tuple[datetime, ReportKey, Actor, str], _Tally] = {}
        self._traffic: dict[TrafficKey, dict[str, float]] = {}
        self._took: dict[LatencyKey, dict[int, int]] = {}
        self._entries: dict[EntryKey, int] = {}
        self._last_read: datetime | None = None
        self._dropped = 0
        self._hour = self._hour_end = datetime.min.replace(tzinfo=UTC)
        self._first_opens = FirstOpenTracker()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def count(
        self, at: datetime, key: ReportKey, actor: Actor, status: str, latency_ms: float, entry: Entry | None
    ) -> None:
        """Count one read; `hit` and `stale` by themselves, anything else as a miss, and first opens besides."""
        if not self._hour <= at < self._hour_end:
            self._hour = floor_to(at, _HOUR)
            self._hour_end = self._hour + _HOUR
        with self._lock:
            name = (self._hour, key, actor, status)
            tally = self._tallies.get(name)
            if tally is None:
                if len(self._tallies) + len(self._traffic) >= MAX_COUNTS:
                    self._dropped += 1
                    return
                tally = self._tallies[name] = _Tally()
            tally.reads += 1
            tally.latency_ms += latency_ms
            if actor is Actor.WARMER:
                return
            if actor is not Actor.API:
                _add(tally.firsts, self._first_opens.count(at, key, actor, is_hit=status == "hit"))
            bucket = Latencies.get_bucket(latency_ms / 1000)
            tally.took[bucket] = tally.took.get(bucket, 0) + 1
            if entry is not None:
                if entry is not tally.entry:
                    tally.close_entry()
                    tally.entry = entry
                tally.entry_reads += 1
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
        """Store what was counted; False when it could not be stored, and then it waits for the next time."""
        with self._flushing:
            with self._lock:
                tallies, self._tallies = self._tallies, {}
                last_read = self._last_read
                dropped, self._dropped = self._dropped, 0
            if dropped:
                _LOG.warning("%d reads were not counted; the database was away for too long", dropped)
            for (hour, key, actor, status), tally in tallies.items():
                self._add_tally((hour, key.account_id, actor.value), _COLUMNS.get(status, "misses"), tally)
            try:
                self._store(last_read)
            except Exception as error:
                # A driver may raise anything; the thread goes on, and nothing that was counted is lost.
                text = redact(str(error)) if isinstance(error, AdwarmError) else type(error).__name__
                _LOG.warning("reads are not stored yet: %s", text)
                return False
        return True

    def _add_tally(self, row: TrafficKey, column: str, tally: _Tally) -> None:
        """Add to what the next flush stores."""
        tally.close_entry()
        counts = {column: tally.reads, "latency_ms": tally.latency_ms, **tally.firsts}
        _add(self._traffic.setdefault(row, {}), counts)
        _add(self._took.setdefault((row[0], READ), {}), tally.took)
        _add(self._entries, tally.entries)

    def _store(self, last_read: datetime | None) -> None:
        if self._traffic:
            latencies = {key: Latencies(counts) for key, counts in self._took.items()}
            read_traffic.increment_many(self._engine, self._traffic, latencies)
            self._traffic, self._took = {}, {}
        if last_read is not None:
            entries.add_reads(self._engine, self._entries, last_read)
            self._entries = {}
            flush_statistics(self._engine, last_read)

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self.flush()
