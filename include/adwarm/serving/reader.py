"""The read path: resolves a key, finds its entry, verifies the bytes, and counts the read.

| the entry                                | result                                        |
|------------------------------------------|-----------------------------------------------|
| is stored, verified and fresh            | `hit`                                         |
| is stored and verified, but old          | `stale`, with the reason                      |
| is absent, or its bytes are damaged or   | `miss`; a damaged entry is marked degraded    |
| do not decode                            |                                               |
| was fetched while the reader waited      | `fetched`                                     |

What is done when the entry is not a hit is decided by `adwarm.serving.read_chain`.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from threading import Lock
from typing import Final

from cachetools import LRUCache

from adwarm.compression import (
    RepresentationKey,
    Shape,
    TableName,
    TranscodeCache,
    decompress,
    render_shape,
)
from adwarm.compression.stored_bytes import StoredBytesVerifier
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Corrupt, NotFound, Transient
from adwarm.model import Account, Actor, EntryKey, ReportKey, Window, resolve_key
from adwarm.serving.local_caches import CacheSelection
from adwarm.serving.read_counter import FirstOpenTracker
from adwarm.store import Context, accounts, entries, read_traffic
from adwarm.store.entries import Entry, mark_damaged

log = logging.getLogger(__name__)
_RECENT_BYTES: Final = 16 * 2**20
"""Compressed bytes of reports that a process keeps for the time when its database cannot be reached."""


class ReadStatus(StrEnum):
    """Whether the entry was stored and fresh, stored but old, fetched just now, or absent."""

    HIT = "hit"
    STALE = "stale"
    FETCHED = "fetched"
    MISS = "miss"


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a reader gets.

    Attributes:
        key: the key that was read.
        status: see `ReadStatus`.
        read_at: when it was read, UTC.
        entry: the entry; None on a miss.
        blob: the entry's compressed bytes in their envelope; None on a miss.
        reason: why the entry is not fresh; None when it is.
        source: the step of the fallback chain that answered: `cache`, `entry`, `partitions`, `window`, `source:NAME` or
            `upstream`; None on a miss.
        is_degraded: whether it is less than what was asked for: the entry is marked degraded, or a fallback answered
            after an error, or in place of the report. The reason says which.
        attempts: how many sources were tried.
        actions: what was tried before the source that answered, with the outcome.
        error: the error behind the reason; None where nothing failed.
        window: the days that the key means; None on a miss for which they were not resolved.
        refused_window: on a miss, the days of a stored answer that the reader did not allow; None without one.
    """

    key: ReportKey
    status: ReadStatus
    read_at: datetime
    entry: Entry | None = None
    blob: bytes | None = None
    reason: str | None = None
    source: str | None = None
    is_degraded: bool = False
    attempts: int = 1
    actions: tuple[str, ...] = ()
    error: Exception | None = None
    window: Window | None = None
    refused_window: Window | None = None

    @property
    def other_window(self) -> Window | None:
        """The days of the entry when they are not those that the key means, else None."""
        return None if self.entry is None or self.entry.key.window == self.window else self.entry.key.window

    @property
    def age_seconds(self) -> float | None:
        """Age of the data when it was read."""
        return None if self.entry is None else (self.read_at - self.entry.fetched_at).total_seconds()


@dataclass(frozen=True, slots=True)
class RecentEntry:
    """An entry that a process has in memory.

    Attributes:
        blob: its compressed bytes in their envelope.
        data_zone: zone of its account when it was read.
    """

    entry: Entry
    blob: bytes
    data_zone: str


class Reader:
    """Reads entries. Safe to share between threads; it caches decoded payloads."""

    def __init__(self, context: Context, clock: Clock) -> None:
        self._context = context
        self._engine = context.engine
        self._settings = context.settings
        self._clock = clock
        self._cache = TranscodeCache(context.settings.compression.cache_bytes)
        self._recent: LRUCache[ReportKey, RecentEntry] = LRUCache(_RECENT_BYTES, _count_bytes)
        self._recent_lock = Lock()
        self._first_opens = FirstOpenTracker()
        self._verifier = StoredBytesVerifier(context.settings.compression)

    @property
    def context(self) -> Context:
        """Database, object store and settings."""
        return self._context

    @property
    def clock(self) -> Clock:
        """The current time."""
        return self._clock

    def read(self, key: ReportKey, actor: Actor = Actor.HUMAN, *, record_traffic: bool = True) -> ReadResult:
        """Return the stored entry for `key` as of now; never calls the source.

        Corrupt bytes are a miss, and the entry is marked degraded so that it is fetched again.

        Args:
            actor: who reads; counted with the read.

        Raises:
            BadRequest: the report is not configured.
        """
        started = time.perf_counter()
        result = self._look_up(key)
        if record_traffic:
            self.record_read(result, actor, (time.perf_counter() - started) * 1000)
        return result

    def clear(self, selection: CacheSelection) -> None:
        """Drop the selected reports, and every decoded document: those are named by their contents."""
        self._cache.clear()
        with self._recent_lock:
            for key in [key for key in self._recent if selection.includes(key)]:
                del self._recent[key]

    def record_read(self, result: ReadResult, actor: Actor, latency_ms: float) -> None:
        """Add one read to the traffic of its hour, and to its entry unless the warmer read it.

        A fetch that the reader waited for counts as a miss. A read that cannot be counted is not a failed read: a full
        disk is not a reason not to answer.
        """
        try:
            self._count(result, actor, latency_ms)
        except Transient as error:
            log.warning("a read of %s was not counted: %s", result.key, error)

    def _count(self, result: ReadResult, actor: Actor, latency_ms: float) -> None:
        column = {ReadStatus.HIT: "hits", ReadStatus.STALE: "stale"}.get(result.status, "misses")
        account = result.key.account_id
        first = self._first_opens.count(result.read_at, result.key, actor, is_hit=result.status is ReadStatus.HIT)
        counts = {column: 1, **first}
        read_traffic.increment(self._engine, result.read_at, account, actor.value, latency_ms=latency_ms, **counts)
        if result.entry is not None and actor is not Actor.WARMER:
            entries.add_reads(self._engine, {result.entry.key: 1}, result.read_at)

    def get_body(self, result: ReadResult) -> bytes:
        """Return the decoded JSON document of a result.

        Raises:
            NotFound: the result is a miss.
        """
        if result.entry is None or result.blob is None:
            raise NotFound(f"{result.key}: {result.reason}")
        entry, blob = result.entry, result.blob
        return self._cache.get_or_compute(
            _body_key(entry), entry.codec, lambda: decompress(blob, self._settings.compression)
        )

    def get_shape(self, result: ReadResult, shape: Shape, table: TableName = "daily") -> bytes:
        """Return the document of a result in a shape.

        Raises:
            NotFound: the result is a miss.
            TooMuchData: the document is too large for the shape.
        """
        return render_shape(self.get_body(result), shape, table)

    def get_account(self, account_id: str) -> Account:
        """Return the stored account, or one in the default zone."""
        zone = self._settings.default_zone
        return accounts.get(self._engine, account_id) or Account(account_id, zone, zone)

    def find_recent(self, key: ReportKey) -> RecentEntry | None:
        """Return the entry that this reader has verified last for the key; needs no database."""
        with self._recent_lock:
            return self._recent.get(key)

    def find_verified(self, entry_key: EntryKey) -> tuple[Entry, bytes]:
        """Return an entry with its bytes; a corrupt one is marked degraded.

        Raises:
            NotFound: nothing is stored for the days.
            Corrupt: its bytes fail verification.
        """
        stored = entries.find(self._engine, entry_key)
        if stored is None:
            raise NotFound(f"nothing is stored for {entry_key.window}")
        try:
            self._verifier.verify(*stored, lambda raw: self._cache.put(_body_key(stored[0]), raw))
        except Corrupt as error:
            self._mark_degraded(stored[0], error)
            raise
        return stored

    def _mark_degraded(self, entry: Entry, error: Corrupt) -> None:
        try:
            mark_damaged(self._context, entry, error)
        except Transient as failure:  # the next reader notices the damage again
            log.warning("a damaged entry of %s could not be marked: %s", entry.key.account_id, failure)

    def _look_up(self, key: ReportKey) -> ReadResult:
        now = self._clock.now()
        account = self.get_account(key.account_id)
        entry_key = resolve_key(key, account, self._settings.spec(key.report), now)
        window = entry_key.window
        try:
            entry, blob = self.find_verified(entry_key)
        except NotFound as error:
            return ReadResult(key, ReadStatus.MISS, now, reason=str(error), window=window)
        except Corrupt as error:
            return ReadResult(key, ReadStatus.MISS, now, reason=str(error), error=error, window=window)
        self._remember(key, RecentEntry(entry, blob, account.data_zone))
        result = ReadResult(key, ReadStatus.HIT, now, entry, blob, source="entry", window=window)
        if entry.is_fresh(now):
            return result
        reason = entry.degraded_reason if entry.degraded else f"fresh until {entry.expires_at:%Y-%m-%d %H:%M} UTC"
        return replace(result, status=ReadStatus.STALE, reason=reason, is_degraded=entry.degraded)

    def _remember(self, key: ReportKey, recent: RecentEntry) -> None:
        if len(recent.blob) <= _RECENT_BYTES:
            with self._recent_lock:
                self._recent[key] = recent


def _count_bytes(recent: RecentEntry) -> int:
    return len(recent.blob)


def _body_key(entry: Entry) -> RepresentationKey:
    return RepresentationKey(entry.content_hash, "identity")


def read_back(reader: Reader, keys: Sequence[ReportKey], limit: int = 20) -> tuple[int, list[str]]:
    """Read up to `limit` of `keys`, evenly spread, as the actor `warmer`; anything but a verified hit is a miss.

    Returns:
        How many keys were read, and those that were misses, each with the reason.
    """
    step = max(1, len(keys) // limit)
    chosen = list(keys[::step])[:limit]
    misses = []
    for key in chosen:
        result = reader.read(key, Actor.WARMER)
        if result.status is not ReadStatus.HIT:
            misses.append(f"{key}: {result.status}, {result.reason}")
    return len(chosen), misses


def list_cold(reader: Reader, keys: Sequence[ReportKey]) -> list[ReportKey]:
    """Return those of `keys` that a reader would not find fresh now. Counts no read and fetches nothing.

    Raises:
        BadRequest: a report is not configured.
    """
    return [key for key in keys if reader.read(key, Actor.WARMER, record_traffic=False).status is not ReadStatus.HIT]
