"""The read path: resolves a key, finds its entry, verifies the bytes, and counts the read.

| the entry                                | result                                        |
|------------------------------------------|-----------------------------------------------|
| is stored, verified and fresh            | `hit`                                         |
| is stored and verified, but old          | `stale`, with the reason                      |
| is absent, or its bytes are corrupt      | `miss`; a corrupt entry is marked degraded    |
| was fetched while the reader waited      | `fetched`                                     |
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from adwarm.compression import (
    RepresentationKey,
    Shape,
    TableName,
    TranscodeCache,
    decode_envelope,
    decompress,
    hash_blob,
    open_envelope,
    render_shape,
)
from adwarm.compression.document import read_format_version
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, Corrupt, NotFound
from adwarm.model import Account, Actor, EntryKey, Priority, ReportKey, matches_key, resolve_key
from adwarm.prefetch import KeyRequest, PrefetchEngine
from adwarm.serving.local_caches import CacheSelection
from adwarm.store import Context, accounts, entries, read_traffic
from adwarm.store.entries import Entry


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
        read_at: when, UTC.
        entry: the entry; None on a miss.
        blob: the entry's compressed bytes in their envelope; None on a miss.
        reason: why the entry is not fresh; None when it is.
    """

    key: ReportKey
    status: ReadStatus
    read_at: datetime
    entry: Entry | None = None
    blob: bytes | None = None
    reason: str | None = None

    @property
    def age_seconds(self) -> float | None:
        """Age of the data when it was read."""
        return None if self.entry is None else (self.read_at - self.entry.fetched_at).total_seconds()


class Reader:
    """Reads entries. Safe to share between threads; it caches decoded payloads."""

    def __init__(self, context: Context, clock: Clock) -> None:
        self._engine = context.engine
        self._settings = context.settings
        self._clock = clock
        self._cache = TranscodeCache(context.settings.compression.cache_bytes)

    def read(self, key: ReportKey, actor: Actor = Actor.HUMAN, *, record_traffic: bool = True) -> ReadResult:
        """Return the stored entry for `key` as of now; never calls the source.

        Corrupt bytes are a miss, and the entry is marked degraded so that it is fetched again.

        Args:
            key: the key to read.
            actor: who reads; counted with the read.
            record_traffic: whether to count the read.

        Raises:
            BadRequest: the report is not configured.
        """
        started = time.perf_counter()
        result = self._look_up(key)
        if record_traffic:
            self.record_read(result, actor, (time.perf_counter() - started) * 1000)
        return result

    def clear(self, selection: CacheSelection) -> None:
        """Drop every decoded document, whatever is selected: they are named by their contents."""
        del selection
        self._cache.clear()

    def record_read(self, result: ReadResult, actor: Actor, latency_ms: float) -> None:
        """Add one read to the traffic of its hour, and to its entry unless the warmer read it.

        A fetch that the reader waited for counts as a miss.
        """
        column = {ReadStatus.HIT: "hits", ReadStatus.STALE: "stale"}.get(result.status, "misses")
        account = result.key.account_id
        read_traffic.increment(self._engine, result.read_at, account, actor.value, latency_ms=latency_ms, **{column: 1})
        if result.entry is not None and actor is not Actor.WARMER:
            entries.add_reads(self._engine, {result.entry.key: 1}, result.read_at)

    def get_body(self, result: ReadResult) -> bytes:
        """Return the decoded JSON document of a result.

        Raises:
            NotFound: the result is a miss.
        """
        blob, settings = _require_blob(result), self._settings.compression
        key = RepresentationKey(hash_blob(result.key.account_id, blob), "identity")
        return self._cache.get_or_compute(key, lambda: decompress(blob, settings))

    def get_shape(self, result: ReadResult, shape: Shape, table: TableName = "daily") -> tuple[bytes, str]:
        """Return the document of a result in a shape, and its content type.

        Raises:
            NotFound: the result is a miss.
            TooMuchData: the document is too large for the shape.
        """
        content_type = decode_envelope(_require_blob(result)).content_type
        return render_shape(self.get_body(result), content_type, shape, table)

    def get_account(self, account_id: str) -> Account:
        """Return the stored account, or one in the default zone."""
        zone = self._settings.default_zone
        return accounts.get(self._engine, account_id) or Account(account_id, zone, zone)

    def find_latest(self, key: ReportKey) -> ReadResult | None:
        """Return the newest verified entry that answered the key when it was fetched; its window may be older."""
        account, spec = self.get_account(key.account_id), self._settings.spec(key.report)
        for listed in entries.list_entries(self._engine, key.account_id):
            if not matches_key(listed.key, key, account, spec, listed.fetched_at):
                continue
            stored = self._find_verified(listed.key)
            if isinstance(stored, tuple):
                entry, blob = stored
                reason = f"the entry covers {entry.key.window}, fetched at {entry.fetched_at:%Y-%m-%d %H:%M} UTC"
                return ReadResult(key, ReadStatus.STALE, self._clock.now(), entry, blob, reason)
        return None

    def _find_verified(self, entry_key: EntryKey) -> tuple[Entry, bytes] | str:
        """Return an entry with its bytes, or why there is none; a corrupt one is marked degraded."""
        stored = entries.find(self._engine, entry_key)
        if stored is None:
            return f"nothing is stored for {entry_key.window}"
        try:
            read_format_version(open_envelope(stored[1]).content_type)
        except Corrupt as error:
            entries.mark_degraded(self._engine, stored[0], str(error))
            return str(error)
        return stored

    def _look_up(self, key: ReportKey) -> ReadResult:
        now = self._clock.now()
        entry_key = resolve_key(key, self.get_account(key.account_id), self._settings.spec(key.report), now)
        stored = self._find_verified(entry_key)
        if isinstance(stored, str):
            return ReadResult(key, ReadStatus.MISS, now, reason=stored)
        entry, blob = stored
        if entry.is_fresh(now):
            return ReadResult(key, ReadStatus.HIT, now, entry, blob)
        reason = entry.degraded_reason if entry.degraded else f"fresh until {entry.expires_at:%Y-%m-%d %H:%M} UTC"
        return ReadResult(key, ReadStatus.STALE, now, entry, blob, reason)


def read_or_fetch(
    reader: Reader, make_prefetch: Callable[[], PrefetchEngine], key: ReportKey, actor: Actor = Actor.HUMAN
) -> ReadResult:
    """Return a fresh entry, fetched with critical priority when it is not stored.

    When the fetch fails, an older entry is returned, marked stale with the reason.

    Args:
        reader: reads and counts.
        make_prefetch: builds the engine; called only on a miss.
        key: the key to read.
        actor: who reads.

    Raises:
        NotFound: the fetch failed and nothing older is stored; the message says why.
    """
    started = time.perf_counter()
    result = reader.read(key, actor, record_traffic=False)
    try:
        if result.status is not ReadStatus.HIT:
            result = _fetch_or_fall_back(reader, make_prefetch, key, result)
    finally:
        reader.record_read(result, actor, (time.perf_counter() - started) * 1000)
    return result


def _fetch_or_fall_back(
    reader: Reader, make_prefetch: Callable[[], PrefetchEngine], key: ReportKey, before: ReadResult
) -> ReadResult:
    try:
        outcome = make_prefetch().run([KeyRequest(key)], Priority.CRITICAL).outcomes[0]
        reason = outcome.reason
    except AdwarmError as error:
        reason = str(error)
    result = reader.read(key, record_traffic=False)
    if result.status is ReadStatus.HIT:
        return replace(result, status=ReadStatus.FETCHED)
    older = result if result.entry else (before if before.entry else reader.find_latest(key))
    if older is None or older.entry is None:
        raise NotFound(f"{key}: {reason or result.reason}")
    why = "; ".join(dict.fromkeys(text for text in (reason, older.reason) if text))
    return replace(older, status=ReadStatus.STALE, reason=why)


def _require_blob(result: ReadResult) -> bytes:
    if result.blob is None:
        raise NotFound(f"{result.key}: {result.reason}")
    return result.blob
