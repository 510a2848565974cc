"""One request of the report route: what it has sent, who reads, and how it is answered.

| the fallback chain answered with   | validator and `Cache-Control`                                                |
|------------------------------------|------------------------------------------------------------------------------|
| the stored document (cache, entry) | those of that document, `private, max-age=0`: a cache asks before it uses it |
| another document, or other days    | no validator, `no-store`: it must not pass for the report when that is there |
"""

import asyncio
from collections.abc import Awaitable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from starlette.types import Message, Receive, Scope, Send

from adwarm.compression import choose_encoding, decode_envelope
from adwarm.model import AccessToken, Actor, Window
from adwarm.serving import http_headers
from adwarm.serving.api.errors import NO_STORE, SECURITY_HEADERS, Header, describe_problem
from adwarm.serving.api.heads import ParsedRequest
from adwarm.serving.api.insights_request import InsightsQuery, choose_shape, is_insights_path
from adwarm.serving.problems import ANSWER_SECONDS, Problem
from adwarm.serving.reader import ReadResult, ReadStatus
from adwarm.serving.representations import Representations, Selection
from adwarm_client import api_headers

ACTOR_HEADER: Final = b"adwarm-actor"
"""Names the actor of a request; only a token of a trusted backend may."""
TRIGGER_HEADER: Final = b"adwarm-trigger"
"""Why the client asks: `open`, `poll` or `revalidate`."""
_RELOADS = frozenset({b"poll", b"revalidate"})
_ACTORS = {actor.value: actor for actor in (Actor.HUMAN, Actor.EMBEDDED, Actor.API)}
T = TypeVar("T")


def is_reload(trigger: bytes | None) -> bool:
    """Whether the value of `Adwarm-Trigger` says that nobody asked: the client polls or revalidates by itself."""
    return trigger is not None and trigger.strip().lower() in _RELOADS


def choose_actor(token: AccessToken, header: bytes | None = None, *, is_hook_poll: bool = False) -> Actor:
    """Return who opens a report.

    Args:
        token: whose request it is; its class is the default.
        header: the value of `Adwarm-Actor`; `api` counts for every token, another class for a trusted one only.
        is_hook_poll: whether the client announced that it polls or revalidates; see `is_reload`.

    Raises:
        Problem: 400, a trusted token names an unknown actor.
    """
    actor = None if header is None else _ACTORS.get(header.decode("latin-1").strip().lower())
    if is_hook_poll or actor is Actor.API:
        return Actor.API
    if header is None or not token.is_trusted:
        return token.actor
    if actor is None:
        raise Problem(400, "Bad Request", f"Adwarm-Actor is one of {', '.join(_ACTORS)}")
    return actor


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
        content_hash = entry.content_hash
        common.append((b"cache-control", http_headers.CACHE_CONTROL.encode()))
        condition = request_headers.get(b"if-none-match", b"").decode("latin-1")
        current = http_headers.find_etag(condition or None, content_hash, shape)
        if current is not None:
            return 304, [(b"etag", current.encode("latin-1")), *common], b""
        coded = [(b"etag", http_headers.make_etag(content_hash, selection.coding, shape).encode())]
    if codec != "identity":
        coded.append((b"content-encoding", selection.coding.encode()))
    representation = await representations.load(entry, selection, decode_envelope(blob).body)
    if representation is None:
        return None
    length = (b"content-length", b"%d" % len(representation.body))
    return 200, [(b"content-type", representation.content_type), length, *coded, *common], representation.body


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


@dataclass(slots=True)
class HttpExchange:
    """One request."""

    scope: Scope
    receive: Receive
    send: Send
    started: float
    headers: dict[bytes, bytes]
    is_sent: bool = False
    seconds: float = ANSWER_SECONDS
    """How long it waits for the database: as long as the client offers to wait, and not less than by default."""
    refused_window: Window | None = None
    """Days of a stored answer that the request does not allow; None without one."""

    @property
    def is_head(self) -> bool:
        """Whether the answer has no body."""
        return bool(self.scope["method"] == "HEAD")

    @property
    def prefer(self) -> str:
        """The header `Prefer`."""
        return self.headers.get(b"prefer", b"").decode("latin-1")

    @property
    def stored_window(self) -> dict[str, str]:
        """The member of a refusal that names the days of a stored answer that was not allowed, if there is one."""
        return {} if self.refused_window is None else {"stored_window": str(self.refused_window)}


@dataclass(slots=True)
class Reading:
    """A request whose token may read its key.

    Attributes:
        applied: the preferences that the answer has followed.
    """

    exchange: HttpExchange
    token: AccessToken
    parsed: ParsedRequest
    actor: Actor
    at: datetime
    applied: tuple[str, ...] = ()

    @property
    def query(self) -> InsightsQuery:
        """What path and query name."""
        return self.parsed.query


def is_read(scope: Scope) -> bool:
    """Whether a request is for a report."""
    return scope["method"] in {"GET", "HEAD"} and is_insights_path(scope["path"])


async def receive_nothing() -> Message:
    """Stand for `receive` where an answer needs none."""
    raise RuntimeError("an answer at once receives nothing")


async def send_nothing(message: Message) -> None:
    """Stand for `send` where an answer is written."""
    raise RuntimeError(f"an answer at once sends no {message['type']}")


def collect_headers(pairs: list[Header]) -> dict[bytes, bytes]:
    """Return headers by lower-case name; the values of a repeated one are joined to a list."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        joined: MutableMapping[bytes, bytes] = {}
        for name, value in pairs:
            joined[name] = joined[name] + b", " + value if name in joined else value
        return dict(joined)
    return headers


async def send(exchange: HttpExchange, status: int, headers: list[Header], body: bytes) -> None:
    """Send an answer; HEAD gets no body."""
    exchange.is_sent = True
    await exchange.send({"type": "http.response.start", "status": status, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": b"" if exchange.is_head else body})


async def send_problem(exchange: HttpExchange, problem: Problem) -> None:
    """Send a problem."""
    if exchange.refused_window is not None:
        problem = replace(problem, fields={**problem.fields, **exchange.stored_window})
    headers, body = describe_problem(problem)
    await send(exchange, problem.status, [*headers, *SECURITY_HEADERS], body)


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T | None:
    """Return the result of `work`, or None when the client disconnects first, and then `work` is canceled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for item in (task, gone):
            item.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    message: Any = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
