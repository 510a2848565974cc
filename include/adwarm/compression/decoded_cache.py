"""A cache of decoded and transcoded payloads, bounded by bytes.

A value can only be found by whoever holds the very same stored bytes for the very same account: the key is the
SHA-256 of the whole blob with the account and the codec. The least recently used values leave first. Safe for many
threads; make one per process.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What the cache did since it was made, and the bytes and values it holds now."""

    hits: int
    misses: int
    evictions: int
    values: int
    bytes: int


class DecodedCache:
    """Holds at most `budget_bytes` of values; a value larger than that is never kept, and 0 keeps none."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()
        self._bytes = self._hits = self._misses = self._evictions = 0

    def get(self, account_id: str, blob: bytes, codec: str = "identity") -> bytes | None:
        """Return what was kept for these stored bytes in `codec`, or None."""
        key = _key(account_id, blob, codec)
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self._misses += 1
                return None
            self._hits += 1
            self._values.move_to_end(key)
            return value

    def put(self, account_id: str, blob: bytes, value: bytes, codec: str = "identity") -> None:
        """Keep `value` as these stored bytes in `codec`, and let go of what no longer fits."""
        key = _key(account_id, blob, codec)
        with self._lock:
            self._bytes -= len(self._values.pop(key, b""))
            if len(value) > self.max_bytes or not self.max_bytes:
                return
            self._values[key] = value
            self._bytes += len(value)
            while self._bytes > self.max_bytes:
                _, oldest = self._values.popitem(last=False)
                self._bytes -= len(oldest)
                self._evictions += 1

    def get_or_compute(
        self, account_id: str, blob: bytes, compute: Callable[[], bytes], codec: str = "identity"
    ) -> bytes:
        """Return the kept value, or make and keep it; `make` runs outside the lock and its errors pass through."""
        value = self.get(account_id, blob, codec)
        if value is None:
            value = compute()
            self.put(account_id, blob, value, codec)
        return value

    def statistics(self) -> CacheStatistics:
        """Return the counts."""
        with self._lock:
            return CacheStatistics(self._hits, self._misses, self._evictions, len(self._values), self._bytes)


def _key(account_id: str, blob: bytes, codec: str) -> bytes:
    hasher = sha256(f"{len(account_id)}:{account_id}:{codec}:".encode())
    hasher.update(sha256(blob).digest())
    return hasher.digest()
