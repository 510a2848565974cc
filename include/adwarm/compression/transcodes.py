"""A cache of representations: documents decoded, transcoded, in another shape, or as a delta. Bounded by bytes.

Content negotiation: which codec a client gets, by its Accept-Encoding header (RFC 9110, 12.5.3).

| Accept-Encoding                                     | response                                         |
|-----------------------------------------------------|--------------------------------------------------|
| absent or empty                                     | plain bytes                                      |
| accepts the stored coding                           | the stored bytes, since nothing has to be decoded |
| accepts others                                      | the one with the highest weight                  |
| accepts none, but does not exclude plain bytes      | plain bytes                                      |
| excludes plain bytes too (`identity;q=0`, `*;q=0`)  | `NotAcceptable`, status 406                      |

The RFC asks for plain bytes when no coding is acceptable "unless the identity coding is indicated as unacceptable"; a
client that says so cannot use them, so it gets the error that names the codings (RFC 9110, 15.5.7).
"""

import re
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import NamedTuple

from cachetools import LRUCache

from adwarm.compression.envelope import Codec, parse_codec
from adwarm.compression.statistics import PROCESS_STATISTICS
from adwarm.foundation.errors import BadRequest

_CODINGS: dict[Codec, str] = {"zstd": "zstd", "brotli": "br", "gzip": "gzip", "identity": "identity"}
_CODECS: dict[str, Codec] = {coding: codec for codec, coding in _CODINGS.items()} | {"x-gzip": "gzip"}
_MEMBER = re.compile(r"(?P<coding>[!#$%&'*+\-.^_`|~0-9a-z]+)(?:\s*;\s*q=(?P<q>[01](?:\.[0-9]{0,3})?))?")


class NotAcceptable(BadRequest):
    """The Accept-Encoding header excludes every coding; accept one of zstd, br, gzip and identity."""


def content_coding(codec: str) -> str:
    """Return the HTTP name of a codec for the Content-Encoding header; that header is omitted for `identity`.

    Raises:
        BadRequest: the codec is unknown.
    """
    return _CODINGS[parse_codec(codec)]


def choose_encoding(accept_encoding: str, stored: str) -> Codec:
    """Return the codec for a response, given a client's Accept-Encoding header and the stored codec.

    Malformed members are ignored. A header that is absent is passed as an empty one: any coding would be allowed, but a
    client that lists none may have no decoder.

    Raises:
        NotAcceptable: the header excludes every codec, plain bytes included.
        BadRequest: the stored codec is unknown.
    """
    stored_codec = parse_codec(stored)
    weights = _weights(accept_encoding)
    if weights.get(stored_codec, 0.0) > 0:
        return stored_codec
    offers = [codec for codec in _CODINGS if weights.get(codec, 0.0) > 0]
    if not offers:
        raise NotAcceptable
    return max(offers, key=lambda codec: weights[codec])  # of equal ones the first


def _weights(accept_encoding: str) -> dict[Codec, float]:
    named: dict[Codec, float] = {}
    others: float | None = None
    for member in accept_encoding.lower().split(","):
        match = _MEMBER.fullmatch(member.strip())
        if not match:
            continue
        weight = min(1.0, float(match["q"] or 1))
        if match["coding"] == "*":
            others = weight
        elif match["coding"] in _CODECS:
            named[_CODECS[match["coding"]]] = weight
    # Plain bytes are acceptable unless excluded, but come last: a client that lists codings prefers one of them.
    if others is None:
        return {"identity": 0.0005, **named}
    return {**dict.fromkeys(_CODINGS, others), **named}


class RepresentationKey(NamedTuple):
    """Names the bytes of a response body by what they are made of.

    The content hash is the SHA-256 of the whole decoded document, so two keys are equal only when the documents are
    equal in every byte. A document names its account in its header, so documents of different accounts differ, and a
    value cannot reach another account; where two requests share one, they hold the same document. The hash is taken
    from the entry that the caller may read, never from the request.

    Attributes:
        content_hash: SHA-256 of the decoded document, in hex.
        coding: content coding: `identity`, `gzip`, `br` or `zstd`.
        shape: shape of the document, `columnar` as it is stored.
    """

    content_hash: str
    coding: str
    shape: str = "columnar"


class TranscodeCache:
    """Holds at most `max_bytes` of values and evicts the least recently used. Safe for many threads.

    A value larger than `max_bytes` is not cached, and 0 disables the cache. Errors are not cached.
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
