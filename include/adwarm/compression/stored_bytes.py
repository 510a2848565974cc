"""Verifies the stored bytes of an entry: their length, their hashes, and that they decode to the entry's document.

Each payload is read and decoded once per process. Damage that comes later is met by the next reader or by the scrub.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from threading import Lock
from typing import Final

from cachetools import LRUCache

from adwarm.compression.choice import decompress_envelope, open_envelope
from adwarm.compression.envelope import Envelope
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.model import EntryKey
from adwarm.settings import CompressionSettings
from adwarm.store import Context, entries
from adwarm.store.entries import Entry, EntryLifetime, mark_damaged
from adwarm_client.document import check_content_type

_REMEMBERED: Final = 100_000
"""Payload hashes that a verifier remembers, about 20 MB at most."""
_LOADED_AT_ONCE: Final = 50
"""Payloads in memory at a time, per thread."""


def verify_bytes(entry: Entry, sealed: bytes) -> Envelope:
    """Return the envelope of the stored bytes of an entry, after checking their length and both checksums.

    Raises:
        Corrupt: they are not what was stored.
    """
    envelope = open_envelope(sealed)
    check_content_type(envelope.content_type)
    if len(sealed) != entry.stored_bytes:
        raise Corrupt(f"{len(sealed):,} bytes are stored instead of {entry.stored_bytes:,}; fetch them again")
    facts = (envelope.codec, envelope.raw_bytes)
    if facts != (entry.codec, entry.raw_bytes) or sha256(sealed).hexdigest() != entry.payload_hash:
        raise Corrupt("the stored bytes are not those of the entry; fetch them again")
    return envelope


def verify_document(entry: Entry, envelope: Envelope, settings: CompressionSettings) -> bytes:
    """Return the document in a verified envelope, after checking that it is the one that was encoded.

    Raises:
        Corrupt: it does not decode, decodes to more than the settings allow, or is another document.
    """
    try:
        raw = decompress_envelope(envelope, settings)
    except TooMuchData as error:
        raise Corrupt(str(error)) from error
    if sha256(raw).hexdigest() != entry.content_hash:
        raise Corrupt("the stored bytes decode to another document; fetch them again")
    return raw


class StoredBytesVerifier:
    """Verifies stored bytes, and decodes each payload once per process. Safe to share between threads."""

    def __init__(self, settings: CompressionSettings) -> None:
        self._settings = settings
        self._decoded: LRUCache[str, bool] = LRUCache(_REMEMBERED)
        self._lock = Lock()

    def verify(self, entry: Entry, sealed: bytes, on_decoded: Callable[[bytes], object]) -> Envelope:
        """Return the envelope of the stored bytes of an entry.

        The checksums are computed each time; a payload hash whose bytes have been decoded before is not decoded again.

        Args:
            on_decoded: called with the document when it was decoded.

        Raises:
            Corrupt: the bytes are not what was stored, or cannot be decoded.
        """
        envelope = verify_bytes(entry, sealed)
        with self._lock:
            is_known = entry.payload_hash in self._decoded
        if not is_known:
            on_decoded(verify_document(entry, envelope, self._settings))
            with self._lock:
                self._decoded[entry.payload_hash] = True
        return envelope


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
    context: Context, verified: VerifiedPayloads, lifetimes: Mapping[EntryKey, EntryLifetime], now: datetime
) -> dict[EntryKey, datetime]:
    """Return when each entry expires, `FOREVER` for final ones. Damaged entries are left out.

    A damaged entry is marked degraded and reported. Only entries that are fresh at `now` are verified.
    """
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
