"""The answer with a report of the fallback chain, as headers and body.

| the chain answered with            | validator and `Cache-Control`                                                |
|------------------------------------|------------------------------------------------------------------------------|
| the stored document (cache, entry) | those of that document, `private, max-age=0`: a cache asks before it uses it |
| another document, or other days    | no validator, `no-store`: it must not pass for the report when that is there |

Neither offers the document as a compression dictionary, nor is sent as a delta.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from adwarm.compression import choose_encoding, decode_envelope
from adwarm.serving import http_headers
from adwarm.serving.api.insights_request import InsightsQuery, choose_shape
from adwarm.serving.api.problem_response import NO_STORE, SECURITY_HEADERS, Header
from adwarm.serving.reader import ReadResult, ReadStatus
from adwarm.serving.representations import Representations, Selection
from adwarm_client import api_headers

_STORED_SOURCES: Final = frozenset({"cache", "entry", "upstream"})


async def describe_fallback(
    result: ReadResult,
    request_headers: Mapping[bytes, bytes],
    query: InsightsQuery,
    representations: Representations,
    now: datetime,
) -> tuple[int, list[Header], bytes] | None:
    """Return status, headers and body of the answer with a result; None when its bytes are damaged.

    Args:
        result: of the chain, with an entry.
        request_headers: by lower-case name.
        query: what the request names.
        representations: encode and shape the document.
        now: the current time, UTC.

    Raises:
        NotAcceptable: the client excludes every coding.
        BadRequest: the document has no such shape or table.
        TooMuchData: the document decodes to more than the settings allow.
    """
    entry, blob = result.entry, result.blob
    if entry is None or blob is None:
        return None
    shape = choose_shape(request_headers.get(b"accept", b"").decode("latin-1"), query)
    codec = choose_encoding(request_headers.get(b"accept-encoding", b"").decode("latin-1"), entry.codec)
    selection = Selection(codec, shape)
    common = [*_describe(result, now), (b"vary", http_headers.VARY.encode()), *SECURITY_HEADERS]
    coded: list[Header] = [NO_STORE]
    if result.source in _STORED_SOURCES and result.other_window is None:
        content_hash = entry.content_hash or entry.payload_hash
        common.append((b"cache-control", http_headers.cache_control(None).encode()))
        condition = request_headers.get(b"if-none-match", b"").decode("latin-1")
        current = http_headers.find_etag(condition or None, content_hash, shape)
        if current is not None:
            return 304, [(b"etag", current.encode("latin-1")), *common], b""
        coded = [(b"etag", http_headers.make_etag(content_hash, selection.coding, shape).encode())]
    if codec != "identity":
        coded.append((b"content-encoding", selection.coding.encode()))
    found = await representations.load(entry, selection, decode_envelope(blob).body)
    if found is None:
        return None
    length = (b"content-length", b"%d" % len(found.body))
    return 200, [(b"content-type", found.content_type), length, *coded, *common], found.body


def _describe(result: ReadResult, now: datetime) -> list[Header]:
    """Return age, `Cache-Status`, and where the answer came from."""
    entry = result.entry
    if entry is None:
        return []
    ttl = None if entry.expires_at is None else (entry.expires_at - now).total_seconds()
    detail = None
    if result.status is ReadStatus.STALE:
        ttl, detail = min(-1.0, ttl or 0.0), "degraded" if result.is_degraded else "expired"
    status = http_headers.cache_status(f"{result.key} {entry.key.window}", ttl, detail=detail)
    explained = http_headers.explain(
        result.source, is_degraded=result.is_degraded, reason=result.reason, actions=result.actions
    )
    age = (now - entry.fetched_at).total_seconds()
    named = [("Age", http_headers.age(age)), ("Cache-Status", status), *explained]
    if result.other_window is not None:
        named.append((api_headers.WINDOW, str(result.other_window)))
    return [(name.lower().encode(), text.encode()) for name, text in named]
