"""Which entries are fresh, and can be decoded: one that is damaged is no reason to leave out a fetch.

Each payload is read and decoded once per process. Damage that comes later is met by the next reader or by the scrub.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from cachetools import LRUCache

from adwarm.compression.stored_bytes import verify_bytes, verify_document
from adwarm.foundation.errors import Corrupt
from adwarm.model import EntryKey
from adwarm.store import Context, entries
from adwarm.store.entries import mark_damaged

_REMEMBERED: Final = 100_000
_LOADED_AT_ONCE: Final = 50
"""Payloads in memory at a time, per thread."""


@dataclass(slots=True)
class VerifiedPayloads:
    """Hashes of the payloads that this process has verified. Safe to share between threads."""

    _hashes: LRUCache[str, bool] = field(default_factory=lambda: LRUCache(_REMEMBERED))
    _lock: Lock = field(default_factory=Lock)

    def select_new(self, hashes: Mapping[EntryKey, str]) -> dict[EntryKey, str]:
        """Return those whose payload was not verified yet."""
        with self._lock:
            return {key: digest for key, digest in hashes.items() if digest not in self._hashes}

    def add(self, digest: str) -> None:
        """Remember a payload."""
        with self._lock:
            self._hashes[digest] = True


def find_whole_expiries(
    context: Context, verified: VerifiedPayloads, keys: Collection[EntryKey], now: datetime
) -> dict[EntryKey, datetime]:
    """Return when each entry expires, `FOREVER` for final ones. Missing, degraded and damaged entries are left out.

    A damaged entry is marked degraded and reported. Only entries that are fresh at `now` are verified.

    Args:
        verified: what this process knows to be whole.
    """
    lifetimes = entries.find_lifetimes(context.engine, keys)
    fresh = {key: item.payload_hash for key, item in lifetimes.items() if item.expires_at > now}
    unknown = list(verified.select_new(fresh).items())
    damaged: set[EntryKey] = set()
    for start in range(0, len(unknown), _LOADED_AT_ONCE):
        for entry, sealed in entries.find_many(context.engine, dict(unknown[start : start + _LOADED_AT_ONCE])):
            try:
                verify_document(entry, verify_bytes(entry, sealed), context.settings.compression)
            except Corrupt as error:
                mark_damaged(context, entry, error)
                damaged.add(entry.key)
            else:
                verified.add(entry.payload_hash)
    return {key: item.expires_at for key, item in lifetimes.items() if key not in damaged}
