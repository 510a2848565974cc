"""The one read path: resolve the key, find the entry, verify its bytes, say how fresh they are, and count the read."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine

from adwarm.compression import (
    DecodedCache,
    choose_encoding,
    content_coding,
    decode_envelope,
    decompress,
    transcode,
)
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, Corrupt, NotFound
from adwarm.model import Account, Actor, EntryKey, Priority, ReportKey, matches_key, resolve_key
from adwarm.prefetch import KeyRequest, PrefetchEngine
from adwarm.settings import Settings
from adwarm.store import accounts, entries, read_traffic
from adwarm.store.entries import Entry


class ReadStatus(StrEnum):
    """Whether the answer was there and fresh, there but old, fetched just now, or not there."""

    HIT = "hit"
    STALE = "stale"
    FETCHED = "fetched"
    MISS = "miss"


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a reader gets. `entry` and `blob` are None on a miss.

    Attributes:
        reason: why the answer is not fresh, when it is not.
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
    """Reads entries. Safe to share between threads; it holds the cache of decoded payloads."""

    def __init__(self, engine: Engine, settings: Settings, clock: Clock) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._cache = DecodedCache(settings.compression.cache_bytes)

    def read(self, key: ReportKey, actor: Actor = Actor.HUMAN, *, record_traffic: bool = True) -> ReadResult:
        """Return the stored answer for `key` as it stands now; never calls the upstream.

        Bytes that do not verify are a miss, and the entry is marked so that it is fetched again.

        Raises:
            BadRequest: the report is not configured.
        """
        started = time.perf_counter()
        answer = self._look_up(key)
        if record_traffic:
            self.record_read(answer, actor, (time.perf_counter() - started) * 1000)
        return answer

    def record_read(self, result: ReadResult, actor: Actor, latency_ms: float) -> None:
        """Add one read to the traffic of its hour; what somebody had to wait for is a miss."""
        column = {ReadStatus.HIT: "hits", ReadStatus.STALE: "stale"}.get(result.status, "misses")
        account = result.key.account_id
        read_traffic.increment(self._engine, result.read_at, account, actor.value, latency_ms=latency_ms, **{column: 1})

    def get_body(self, result: ReadResult) -> bytes:
        """Return the answer's JSON, decoded.

        Raises:
            NotFound: the answer is a miss.
        """
        blob = _require_blob(result)
        account = result.key.account_id
        cached = self._cache.get(account, blob)
        if cached is None:
            cached = decompress(blob, self._settings.compression)
            self._cache.put(account, blob, cached)
        return cached

    def encode(self, result: ReadResult, accept_encoding: str) -> tuple[bytes, str]:
        """Return the bytes for a client and their content coding; the stored coding passes through undecoded."""
        blob = _require_blob(result)
        envelope = decode_envelope(blob)
        codec = choose_encoding(accept_encoding, envelope.codec)
        if codec == envelope.codec:
            return envelope.body, content_coding(codec)
        return transcode(blob, codec, self._settings.compression), content_coding(codec)

    def get_account(self, account_id: str) -> Account:
        """Return the account as it is known; one that was never fetched is taken to live in the default zone."""
        zone = self._settings.default_zone
        return accounts.get(self._engine, account_id) or Account(account_id, zone, zone)

    def find_latest(self, key: ReportKey) -> ReadResult | None:
        """Return the newest whole answer that was what the key meant when it was fetched, whatever window that is."""
        account, spec = self.get_account(key.account_id), self._settings.spec(key.report)
        for listed in entries.list_entries(self._engine, key.account_id):
            if not matches_key(listed.key, key, account, spec, listed.fetched_at):
                continue
            found = self._find_verified(listed.key)
            if isinstance(found, tuple):
                entry, blob = found
                reason = f"the answer is of {entry.key.window}, fetched at {entry.fetched_at:%Y-%m-%d %H:%M} UTC"
                return ReadResult(key, ReadStatus.STALE, self._clock.now(), entry, blob, reason)
        return None

    def _find_verified(self, entry_key: EntryKey) -> tuple[Entry, bytes] | str:
        """Return an entry with its bytes, or why there is none; one that does not verify is marked."""
        found = entries.find(self._engine, entry_key)
        if found is None:
            return f"nothing is stored for {entry_key.window}"
        try:
            decode_envelope(found[1])
        except Corrupt as error:
            entries.mark_degraded(self._engine, found[0], str(error))
            return str(error)
        return found

    def _look_up(self, key: ReportKey) -> ReadResult:
        now = self._clock.now()
        entry_key = resolve_key(key, self.get_account(key.account_id), self._settings.spec(key.report), now)
        found = self._find_verified(entry_key)
        if isinstance(found, str):
            return ReadResult(key, ReadStatus.MISS, now, reason=found)
        entry, blob = found
        if entry.is_fresh(now):
            return ReadResult(key, ReadStatus.HIT, now, entry, blob)
        reason = entry.degraded_reason if entry.degraded else f"fresh until {entry.expires_at:%Y-%m-%d %H:%M} UTC"
        return ReadResult(key, ReadStatus.STALE, now, entry, blob, reason)


def read_or_fetch(
    reader: Reader, make_prefetch: Callable[[], PrefetchEngine], key: ReportKey, actor: Actor = Actor.HUMAN
) -> ReadResult:
    """Return a fresh answer, fetching it with critical priority when it is not there.

    When the upstream fails, what is there is served, marked stale with the reason.

    Raises:
        NotFound: nothing fresh could be fetched and nothing older is stored; the message says why.
    """
    started = time.perf_counter()
    answer = reader.read(key, actor, record_traffic=False)
    try:
        if answer.status is not ReadStatus.HIT:
            answer = _fetch_or_fall_back(reader, make_prefetch, key, answer)
    finally:
        reader.record_read(answer, actor, (time.perf_counter() - started) * 1000)
    return answer


def _fetch_or_fall_back(
    reader: Reader, make_prefetch: Callable[[], PrefetchEngine], key: ReportKey, before: ReadResult
) -> ReadResult:
    try:
        outcome = make_prefetch().run([KeyRequest(key)], Priority.CRITICAL).outcomes[0]
        reason = outcome.reason
    except AdwarmError as error:
        reason = str(error)
    answer = reader.read(key, record_traffic=False)
    if answer.status is ReadStatus.HIT:
        return replace(answer, status=ReadStatus.FETCHED)
    kept = answer if answer.entry else (before if before.entry else reader.find_latest(key))
    if kept is None or kept.entry is None:
        raise NotFound(f"{key}: {reason or answer.reason}")
    why = "; ".join(dict.fromkeys(text for text in (reason, kept.reason) if text))
    return replace(kept, status=ReadStatus.STALE, reason=why)


def _require_blob(answer: ReadResult) -> bytes:
    if answer.blob is None:
        raise NotFound(f"{answer.key}: {answer.reason}")
    return answer.blob
