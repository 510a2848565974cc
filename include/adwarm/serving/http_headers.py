"""The HTTP headers of an answer: validators, caching, and where it came from. Pure functions.

What the hit route sends with a report:

| header              | value                                                                                         |
|---------------------|-----------------------------------------------------------------------------------------------|
| `ETag`              | strong, one per document, coding and shape: `make_etag`; on 304 the tag from `find_etag`       |
| `Vary`              | `VARY`                                                                                        |
| `Cache-Control`     | `CACHE_CONTROL`: a cache asks before it uses its copy                                         |
| `Age`               | `age`                                                                                         |
| `Cache-Status`      | `cache_status` (RFC 9211)                                                                     |
| `Content-Encoding`  | the coding                                                                                    |
| `Adwarm-Source`     | which fallback answered: `explain`; absent for the stored entry                                |
| `Adwarm-Degraded`   | `?1` when the answer is less than what was asked for: `explain`                                |
| `Adwarm-Reason`     | why: `explain`                                                                                |
| `Adwarm-Actions`    | what was tried before it: `explain`                                                           |
| `Adwarm-Window`     | the days of the answer, when they are not those asked for                                      |
| `Preference-Applied` | what of `Prefer` was followed: `preference_applied`                                          |
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from adwarm_client import api_headers

VARY: Final = "Authorization, Accept, Accept-Encoding"
CACHE_CONTROL: Final = "private, max-age=0"
_TAG = re.compile(r'\s*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_OUTSIDE_TOKEN = re.compile(r"[^A-Za-z0-9:_./-]")
_MAX_TEXT = 400
_MAX_ACTIONS = 8
_OUTSIDE_STRING = re.compile(r"[^\x20-\x7e]")


def make_etag(content_hash: str, coding: str, shape: str) -> str:
    """Return a strong, quoted entity tag.

    Args:
        content_hash: SHA-256 of the decoded document, in hex.
        coding: content coding of the body, such as `zstd` or `identity`.
        shape: answer shape, such as `columnar`; with the table where an answer holds one table only.
    """
    return f'"{content_hash[:32]}:{shape}:{coding}"'


def find_etag(if_none_match: str | None, content_hash: str, shape: str) -> str | None:
    """Return the client's tag that stands for this document in this shape, in any coding, or None.

    A client whose copy came as brotli holds the same document as one whose copy came as zstd, so both get 304. Send
    the returned tag as the ETag of the 304: a cache finds its stored answer by it.

    Args:
        if_none_match: the request header; `*` returns the tag of the plain document.
        content_hash: SHA-256 of the decoded document, in hex.
        shape: as in `make_etag`.
    """
    if if_none_match is None:
        return None
    if if_none_match.strip() == "*":
        return make_etag(content_hash, "identity", shape)
    start = make_etag(content_hash, "", shape)[:-1]
    return next((tag for tag in _tags(if_none_match) if tag.startswith(start)), None)


def cache_status(
    key: str,
    ttl: float | None,
    *,
    is_miss: bool = False,
    is_stored: bool = False,
    detail: str | None = None,
) -> str:
    """Return the value of Cache-Status (RFC 9211).

    A stale entry that is sent at once is a hit with a negative `ttl`. A request that waited for a fetch is a miss.

    Args:
        key: the cache key, for a person who looks for the entry.
        ttl: seconds until the entry expires, negative when it has; None for never or when there is no entry.
        is_miss: whether nothing was stored, so that a fetch was requested.
        is_stored: whether the fetched answer was stored.
        detail: more for a person, in ASCII.
    """
    parts = ["adwarm", "fwd=miss" if is_miss else "hit", *["stored"] * is_stored]
    if ttl is not None:
        parts.append(f"ttl={_bounded_seconds(ttl)}")
    parts.append(f"key={_quote(key)}")
    if detail:
        parts.append(f"detail={_quote(detail)}")
    return "; ".join(parts)


def age(seconds: float) -> str:
    """Return the value of Age for data that was fetched `seconds` ago; a clock that is behind gives 0."""
    return str(max(0, _bounded_seconds(seconds)))


def explain(
    source: str | None, *, is_degraded: bool, reason: str | None, actions: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Return the headers that say where an answer of the fallback chain came from.

    Args:
        source: the step that answered; the stored entry when None.
        is_degraded: whether it is less than what was asked for.
        actions: what was tried before; long texts and lists are cut.
    """
    headers = []
    if source is not None:
        headers.append((api_headers.SOURCE, _OUTSIDE_TOKEN.sub("_", source)))
    if is_degraded:
        headers.append((api_headers.DEGRADED, "?1"))
    if reason:
        headers.append((api_headers.REASON, _quote(reason[:_MAX_TEXT])))
    if actions:
        headers.append((api_headers.ACTIONS, ", ".join(_quote(text[:_MAX_TEXT]) for text in actions[:_MAX_ACTIONS])))
    return headers


def preference_applied(tokens: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Return the header Preference-Applied (RFC 7240) for the preferences that were followed; none without one."""
    return [(b"preference-applied", ", ".join(tokens).encode())] if tokens else []


def _tags(header: str) -> Iterator[str]:
    """Yield the opaque tags of a list, until one is malformed."""
    position = 0
    while match := _TAG.match(header, position):
        yield match[1]
        position = match.end()


def _quote(text: str) -> str:
    """Return `text` as a string of structured fields (RFC 8941); characters outside ASCII become `?`."""
    cleaned = _OUTSIDE_STRING.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{cleaned}"'


def _bounded_seconds(seconds: float) -> int:
    """Return whole seconds within the integers of structured fields; NaN is 0."""
    limit = 10.0**12
    return int(min(max(seconds, -limit), limit)) if seconds == seconds else 0
