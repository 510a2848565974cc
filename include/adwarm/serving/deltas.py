"""Deltas for returning readers: what changed since the document that the client holds (RFC 9842).

The hit route asks `DeltaThreads` for one when all of these hold:

1. The token may read the account. Nothing here is called before that.
2. The answer is the whole document in its columnar shape, as it is stored.
3. `Accept-Encoding` names `dcz`, and `Available-Dictionary` is a SHA-256 (`parse_available_dictionary`).

It then sends the delta with `Content-Encoding: dcz` and the headers of `http_headers`, the ETag with `delta_coding`. On
None it sends the plain coding. Answers in the columnar shape carry `Use-As-Dictionary`, deltas too. The server offers
both over HTTPS and on localhost only, since a browser uses dictionaries nowhere else.
"""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from threading import Lock
from typing import NamedTuple

from cachetools import LRUCache

from adwarm.compression import decompress
from adwarm.compression.choice import decode_counted
from adwarm.compression.dictionaries import encode_delta
from adwarm.compression.envelope import parse_codec
from adwarm.foundation.errors import Corrupt, TooMuchData, Transient
from adwarm.model import Account, QuerySpec, ReportKey, resolve_key
from adwarm.serving.pointers import Pointer
from adwarm.store import Context, entry_versions
from adwarm.store.entries import Entry
from adwarm.store.entry_versions import EntryVersion

CACHE_BYTES = 16 * 2**20
"""Deltas of one process: some thousand, a few kilobytes each; one that is gone is computed again in milliseconds."""
_MAX_UNKNOWN = 10_000
_THREADS = 2


class DeltaKey(NamedTuple):
    """What a delta is made of.

    Attributes:
        content_hash: SHA-256 of the document to send, in hex.
        dictionary_hash: SHA-256 of the document that the client holds.
    """

    key: ReportKey
    content_hash: str
    dictionary_hash: bytes


class CachedDelta(NamedTuple):
    """The cached result for a `DeltaKey`: the delta, or None when there is none."""

    body: bytes | None


class Deltas:
    """Makes deltas, each once on first demand, and caches them. Safe for many threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = Lock()
        self._made: LRUCache[Hashable, bytes] = LRUCache(CACHE_BYTES, getsizeof=len)
        # Keys without a delta have a cache of their own, so that unknown hashes displace no delta.
        self._without: LRUCache[Hashable, bool] = LRUCache(_MAX_UNKNOWN)
        self._running: dict[DeltaKey, Future[bytes | None]] = {}

    def peek(self, delta_key: DeltaKey, plain_bytes: int) -> CachedDelta | None:
        """Return the cached result, or None when `get` would have to compute it. Does no I/O."""
        with self._lock:
            if delta_key in self._without:
                return CachedDelta(None)
            body = self._made.get(delta_key)
        return None if body is None else CachedDelta(_if_smaller(body, plain_bytes))

    def get(
        self, delta_key: DeltaKey, data_zone: str, load_document: Callable[[], bytes], plain_bytes: int
    ) -> bytes | None:
        """Return the delta, or None when the client gets the plain coding.

        There is none when the dictionary is not a kept version of this very account, report and date range, when its
        bytes are damaged, when the database cannot be reached, or when the delta would not be smaller. Reads the
        database and compresses for some milliseconds: call it in a thread. Threads that ask for the same delta at the
        same time share one computation.

        Args:
            load_document: returns the decoded document to send; its errors are raised.
            plain_bytes: size of the plain coding that would be sent instead.
        """
        with self._lock:
            if delta_key in self._without:
                return None
            body = self._made.get(delta_key)
            if body is not None:
                return _if_smaller(body, plain_bytes)
            running = self._running.get(delta_key)
            if running is None:
                mine = self._running[delta_key] = Future[bytes | None]()
        if running is not None:
            return _if_smaller(running.result(), plain_bytes)
        try:
            body = self._make(delta_key, data_zone, load_document)
            mine.set_result(body)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._running[delta_key]
        return _if_smaller(body, plain_bytes)

    def _make(self, delta_key: DeltaKey, data_zone: str, load_document: Callable[[], bytes]) -> bytes | None:
        if delta_key.dictionary_hash.hex() == delta_key.content_hash:
            document = dictionary = load_document()
        else:
            try:
                stored_dictionary = find_dictionary(self._context, delta_key.key, data_zone, delta_key.dictionary_hash)
            except Transient:
                return None  # not cached: the next request tries again
            if stored_dictionary is None:
                self._remember(delta_key, None)
                return None
            document, dictionary = load_document(), stored_dictionary
        body = encode_delta(document, dictionary)
        self._remember(delta_key, body)
        return body

    def _remember(self, delta_key: DeltaKey, body: bytes | None) -> None:
        with self._lock:
            if body is None:
                self._without[delta_key] = True
            elif len(body) <= self._made.maxsize:
                self._made[delta_key] = body


class DeltaThreads:
    """Finds deltas for the hit route: known ones at once, others in threads of its own."""

    def __init__(self, context: Context) -> None:
        self._deltas = Deltas(context)
        self._settings = context.settings.compression
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="adwarm-delta")

    async def find(
        self, pointer: Pointer, entry: Entry, dictionary_hash: bytes, stored: bytes, plain_bytes: int
    ) -> bytes | None:
        """Return a delta of the document of `entry`, or None when the client gets the plain answer.

        Args:
            pointer: the key that the client may read, with its account's zone.
            dictionary_hash: SHA-256 of the document that the client holds.
            stored: the stored body of the entry, in its codec.
            plain_bytes: size of the plain answer; a delta is smaller.

        Raises:
            Corrupt: the stored body does not decode.
            TooMuchData: it decodes to more than the settings allow.
        """
        delta_key = DeltaKey(pointer.key, entry.content_hash, dictionary_hash)
        cached = self._deltas.peek(delta_key, plain_bytes)
        if cached is not None:
            return cached.body

        def load_document() -> bytes:
            return decode_counted(stored, parse_codec(entry.codec), self._settings.max_decoded_bytes)

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, self._deltas.get, delta_key, pointer.data_zone, load_document, plain_bytes
        )

    def close(self) -> None:
        """End the threads; what has not begun is dropped."""
        self._executor.shutdown(cancel_futures=True)


def find_dictionary(context: Context, key: ReportKey, data_zone: str, dictionary_hash: bytes) -> bytes | None:
    """Return the decoded document with this hash if it is a kept version of `key`, else None.

    It has to be of exactly this account, report and query, and the key's date range has to have meant its window when
    it was published: a window is stored once, and several date ranges may read it. Documents of other accounts are
    never looked at, so a hash cannot probe them. A version whose bytes are damaged is ignored.

    Args:
        key: the key that the client may read.
        dictionary_hash: SHA-256 of the document.

    Raises:
        BadRequest: the report is not configured.
    """
    account = Account(key.account_id, data_zone, data_zone)
    spec, digest = context.settings.spec(key.report), dictionary_hash.hex()
    for version, sealed in entry_versions.find(context.engine, key.account_id, key.report, spec.hash, digest):
        if not _answered(version, key, account, spec):
            continue
        try:
            document = decompress(sealed, context.settings.compression)
        except (Corrupt, TooMuchData):
            continue
        if sha256(document).digest() == dictionary_hash:
            return document
    return None


def _answered(version: EntryVersion, key: ReportKey, account: Account, spec: QuerySpec) -> bool:
    """Whether a reader of `key` got this version when it was published."""
    if version.key == key:
        return True
    return resolve_key(key, account, spec, version.created_at).window == version.window


def _if_smaller(body: bytes | None, plain_bytes: int) -> bytes | None:
    return body if body is not None and len(body) < plain_bytes else None
