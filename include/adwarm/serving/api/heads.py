"""The heads of hits: what a client accepts and the headers of the answer, made once and used again.

- A `ParsedRequest` is the same for all requests with one path, query and negotiated headers. `_PARSED_REQUESTS` of them
  are in memory.
- A `Head` is that of a parsed request, until its pointer, the status or the second of the age changes.

Neither depends on a token. Long texts, which no usual client sends, are not kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from starlette.types import Scope

from adwarm.compression import choose_encoding
from adwarm.serving import http_headers
from adwarm.serving.api.errors import SECURITY_HEADERS, Header
from adwarm.serving.api.insights_request import (
    InsightsQuery,
    choose_shape,
    parse_query,
)
from adwarm.serving.pointers import Pointer
from adwarm.serving.representations import Selection
from adwarm.store.entries import Entry
from adwarm_client.date_ranges import PRESETS

Described = tuple[list[Header], bytes]
"""Headers, and the same as `encode_headers` returns them."""
VARY: Final[Header] = (b"vary", http_headers.VARY.encode())
_PARSED_REQUESTS: Final = 2_048
_MAX_BYTES: Final = 600
"""The most bytes of the texts of a cached one; with its head it takes about 4 kB."""


def encode_headers(headers: Sequence[Header]) -> bytes:
    """Return headers as lines of HTTP/1.1, with the empty line that ends them."""
    return b"".join([b"%s: %s\r\n" % pair for pair in headers]) + b"\r\n"


class Head:
    """The headers of an entry's answers during one second.

    Attributes:
        shared: the headers of 200 and 304 but those of the representation.
    """

    __slots__ = ("_full", "_hash", "_matched", "_shared_lines", "key", "selection", "shared")

    def __init__(self, parsed: "ParsedRequest", pointer: Pointer, entry: Entry, status: str, now: datetime) -> None:
        age = (now - entry.fetched_at).total_seconds()
        self.key = (pointer, status, int(age))
        self.selection = Selection(choose_encoding(parsed.accept_encoding, entry.codec), parsed.shape)
        self.shared = [*parsed.common, *_timed_headers(pointer, entry, status, age, now)]
        self._hash = entry.content_hash
        self._shared_lines = encode_headers(self.shared)
        self._matched: tuple[bytes, Described | None] = (b"", None)
        self._full: tuple[int, list[Header], bytes] = (-1, [], b"")

    def match(self, condition: bytes) -> Described | None:
        """Return the headers of a 304, also as lines; None when If-None-Match names no tag of the document."""
        if condition != self._matched[0]:
            tag = http_headers.find_etag(condition.decode("latin-1"), self._hash, self.selection.shape)
            self._matched = condition, None
            if tag is not None:
                first = (b"etag", tag.encode("latin-1"))
                self._matched = condition, ([first, *self.shared], b"etag: %s\r\n%s" % (first[1], self._shared_lines))
        return self._matched[1]

    def describe(self, content_type: bytes, length: int) -> Described:
        """Return the headers of a 200 with a body of `length` bytes, also as lines."""
        if self._full[0] != length:
            tag = http_headers.make_etag(self._hash, self.selection.coding, self.selection.shape)
            headers = [(b"content-type", content_type), (b"content-length", b"%d" % length), (b"etag", tag.encode())]
            if self.selection.codec != "identity":
                headers.append((b"content-encoding", self.selection.coding.encode()))
            headers += self.shared
            self._full = length, headers, encode_headers(headers)
        return self._full[1:]


@dataclass(slots=True)
class ParsedRequest:
    """What a request names and what its client accepts, whatever entry answers it.

    Attributes:
        common: headers of every answer with a stored entry.
        head: the last head that was made of it.
    """

    query: InsightsQuery
    shape: str
    accept_encoding: str
    common: list[Header]
    head: Head | None = None

    def find_head(self, pointer: Pointer, entry: Entry, status: str, now: datetime) -> Head:
        """Return the head for an entry at `now`."""
        key = (pointer, status, int((now - entry.fetched_at).total_seconds()))
        head = self.head
        if head is None or head.key != key:
            head = self.head = Head(self, pointer, entry, status, now)
        return head


def parse_request(scope: Scope, headers: dict[bytes, bytes]) -> ParsedRequest:
    """Return what a request negotiates.

    Raises:
        BadRequest: a part of path or query is not valid; the message says which one and what to write.
        Problem: 414, path and query are too long.
    """
    get = headers.get
    texts = (
        scope["query_string"],
        get(b"accept", b""),
        get(b"accept-encoding", b""),
    )
    make = _parse if len(scope["path"]) + sum(map(len, texts)) <= _MAX_BYTES else _parse.__wrapped__
    return make(scope["path"], *texts)


@lru_cache(maxsize=_PARSED_REQUESTS)
def _parse(path: str, query_string: bytes, accept: bytes, accept_encoding: bytes) -> ParsedRequest:
    query = parse_query(path, query_string)
    shape = choose_shape(accept.decode("latin-1"), query)
    common: list[Header] = [(b"cache-control", http_headers.CACHE_CONTROL.encode()), VARY, *SECURITY_HEADERS]
    return ParsedRequest(query, shape, accept_encoding.decode("latin-1"), common)


def _timed_headers(pointer: Pointer, entry: Entry, status: str, age: float, now: datetime) -> list[Header]:
    """Return `Age` and `Cache-Status`; an entry that is degraded before it expires has no seconds left."""
    ttl = None if entry.expires_at is None else (entry.expires_at - now).total_seconds()
    detail = None
    if status == "stale":
        ttl = min(-1.0, ttl or 0.0)
        detail = "degraded" if entry.degraded else "expired"
    key = str(pointer.key)
    if pointer.key.date_range in PRESETS:
        key = f"{key} {pointer.window}"
    is_fetched = status == "fetched"
    value = http_headers.cache_status(key, ttl, is_miss=is_fetched, is_stored=is_fetched, detail=detail)
    timed = [(b"age", http_headers.age(age).encode()), (b"cache-status", value.encode())]
    if entry.degraded and status == "stale":
        why = http_headers.explain(None, is_degraded=True, reason=entry.degraded_reason)
        timed += [(name.lower().encode(), text.encode()) for name, text in why]
    return timed
