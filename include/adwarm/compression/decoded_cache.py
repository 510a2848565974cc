"""A cache of decoded and transcoded payloads, bounded by bytes."""

from collections.abc import Callable
from hashlib import sha256
from threading import Lock

from cachetools import LRUCache


class DecodedCache:
    """Holds at most `max_bytes` of values and evicts the least recently used. Safe for many threads.

    The key is the SHA-256 of the whole stored blob with the account and the codec, so a value is only found by a caller
    that holds the same stored bytes for the same account. A value larger than `max_bytes` is not cached, and 0 disables
    the cache.
    """

    def __init__(self, max_bytes: int) -> None:
        self._values: LRUCache[bytes, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._lock = Lock()

    def get(self, account_id: str, blob: bytes, codec: str = "identity") -> bytes | None:
        """Return the cached form of these stored bytes in `codec`, or None."""
        key = _key(account_id, blob, codec)
        with self._lock:
            return self._values.get(key)

    def put(self, account_id: str, blob: bytes, value: bytes, codec: str = "identity") -> None:
        """Cache `value` as the form of these stored bytes in `codec`."""
        key = _key(account_id, blob, codec)
        with self._lock:
            self._values.pop(key, None)
            if 0 < self._values.maxsize >= len(value):
                self._values[key] = value

    def get_or_compute(
        self, account_id: str, blob: bytes, compute: Callable[[], bytes], codec: str = "identity"
    ) -> bytes:
        """Return the cached value, or compute and cache it. `compute` runs without the lock; its errors are raised."""
        value = self.get(account_id, blob, codec)
        if value is None:
            value = compute()
            self.put(account_id, blob, value, codec)
        return value


def _key(account_id: str, blob: bytes, codec: str) -> bytes:
    hasher = sha256(f"{len(account_id)}:{account_id}:{codec}:".encode())
    hasher.update(sha256(blob).digest())
    return hasher.digest()
