"""A cache of representations: documents decoded, transcoded, in another shape, or as a delta. Bounded by bytes."""

from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from threading import Lock
from typing import NamedTuple

from cachetools import LRUCache

from adwarm.compression.statistics import PROCESS_STATISTICS


class RepresentationKey(NamedTuple):
    """Names the bytes of a response body by what they are made of.

    The content hash is the SHA-256 of the whole decoded document, so two keys are equal only when the documents are
    equal in every byte. A document names its account in its header, so documents of different accounts differ, and a
    value cannot reach another account; where two requests share one, they hold the same document. The hash is taken
    from the entry that the caller may read, never from the request.

    Attributes:
        content_hash: SHA-256 of the decoded document, in hex.
        coding: content coding: `identity`, `gzip`, `br`, `zstd` or `dcz`.
        shape: shape of the document, `columnar` as it is stored.
        dictionary_hash: SHA-256 of the dictionary of a delta, in hex; empty for any other coding.
    """

    content_hash: str
    coding: str
    shape: str = "columnar"
    dictionary_hash: str = ""


class TranscodeCache:
    """Holds at most `max_bytes` of values and evicts the least recently used. Safe for many threads.

    A value larger than `max_bytes` is not cached, and 0 disables the cache. Errors are not cached.

    Args:
        max_bytes: the most that all values have together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._values: LRUCache[RepresentationKey, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._running: dict[RepresentationKey, Future[bytes | None]] = {}
        self._lock = Lock()

    def get(self, key: RepresentationKey, codec: str) -> bytes | None:
        """Return the cached value, or None; a hit is counted for the codec that would have to be decoded."""
        with self._lock:
            value = self._values.get(key)
        if value is not None:
            PROCESS_STATISTICS.record_cache_hit(codec)
        return value

    def put(self, key: RepresentationKey, value: bytes) -> None:
        """Cache a value that is at hand."""
        with self._lock:
            if 0 < self._values.maxsize >= len(value):
                self._values[key] = value

    def clear(self) -> None:
        """Drop every value."""
        with self._lock:
            self._values.clear()

    def get_or_compute(self, key: RepresentationKey, codec: str, compute: Callable[[], bytes]) -> bytes:
        """Return the cached value, or compute and cache it; a hit is counted like one of `get`.

        Threads that ask for the same key at the same time wait for one computation, also when its value is too large
        to be cached. `compute` runs without the lock and must not ask for its own key.

        Raises:
            Exception: what `compute` raised, to all that waited for it; the next call tries again.
        """
        while True:
            with self._lock:
                value, running = self._values.get(key), self._running.get(key)
                if value is None and running is None:
                    mine = self._running[key] = Future[bytes | None]()
                    break
            if value is None and running is not None:
                value = running.result()
            if value is not None:
                PROCESS_STATISTICS.record_cache_hit(codec)
                return value
        return self._compute(key, compute, mine)

    def _compute(self, key: RepresentationKey, compute: Callable[[], bytes], future: "Future[bytes | None]") -> bytes:
        value: bytes | None = None
        failure: Exception | None = None
        try:
            value = compute()
        except Exception as error:
            failure = error
            raise
        finally:
            # A thread that is interrupted has neither value nor failure: the next in line computes.
            if value is not None:
                self.put(key, value)
            with self._lock:
                del self._running[key]
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)
        return value


def hash_blob(account_id: str, blob: bytes) -> str:
    """Return a content hash for stored bytes whose decoded document was not hashed: of every byte, and of the account.

    A part of the bytes would not do: compressed documents of one kind begin alike.
    """
    hasher = sha256(f"{len(account_id)}:{account_id}:".encode())
    hasher.update(blob)
    return hasher.hexdigest()
