"""Connections of HTTP/1.1, and what one client, known or not, can make a process hold.

| limit                                            | beyond it                                                      |
|--------------------------------------------------|----------------------------------------------------------------|
| `MAX_HEAD_BYTES` of a request line with headers  | 431, and the connection ends; the parser gets whole heads only |
| `REQUEST_SECONDS` for a whole request            | the connection ends                                            |
| `STALLED_SECONDS` in which no byte is taken      | the connection ends                                            |
| one request at a time of a connection            | further ones wait as bytes, at most `MAX_WAITING_BYTES` of     |
|                                                  | them and one read; then nothing more is read                   |
| half of the connections without a valid token    | the oldest of them ends, whatever it has sent                  |
| all connections                                  | the same; 503 when each has sent a valid token                 |

A client is known from its first valid token or session on (`recognize_client`), until its connection ends.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final

from cachetools import LRUCache

from adwarm.serving.api.anonymous import RECOGNITION
from adwarm.serving.api.errors import SECURITY_HEADERS, describe_problem
from adwarm.serving.problems import Problem

AT_ONCE: Final = "adwarm.at_once"
"""Member of the lifespan's state: an `AnswerAtOnce`, which is called before a task is made for a request."""
Write = Callable[[int, bytes, bytes], None]
"""Writes an answer: its status, its headers as lines with the empty one after them, and its body."""
RepeatedAnswer = Callable[[Write], bool]
"""Answers an equal request, and returns True; else False, and nothing has happened."""
AnswerAtOnce = Callable[[Mapping[str, Any], Write], RepeatedAnswer | None]
"""Answers the request of a scope with what is in memory; else None, and nothing has happened."""
_MAX_REPEATED: Final = 4_096
_MAX_REPEATED_BYTES: Final = 1_024
"""How many requests are answered again without parsing them, and the most bytes of one. Their hashes are stored."""


# None of this is uvicorn's public interface; without it uvicorn serves with its own protocol.
_USED: Final = (
    "_start_asgi_task app_state cycle flow headers loop on_headers_complete on_message_begin on_message_complete "
    "on_response_complete scope send_400_response server_state timeout_keep_alive transport"
)
try:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

    if _gone := {*_USED.split()} - {*dir(HttpToolsProtocol), *HttpToolsProtocol.__init__.__code__.co_names}:
        raise ImportError(f"uvicorn's HttpToolsProtocol has no {', '.join(sorted(_gone))}")
    missing_limits = ""
except ImportError as error:
    HttpToolsProtocol = RequestResponseCycle = object  # type: ignore[misc,assignment]
    missing_limits = (
        f"no limits of slow requests, large heads and the connections of one client, because {error}; run "
        "pip install 'adwarm[serve]', or let a proxy in front set them"
    )
MAX_HEAD_BYTES: Final = 16_384
"""The most bytes of a request line with its headers."""
REQUEST_SECONDS: Final = 10.0
"""How long a client may take to send a request with its body, from the start of its connection or of the request."""
STALLED_SECONDS: Final = 30.0
"""How long a client may take no byte of an answer."""
MAX_WAITING_BYTES: Final = 65_536
"""The most bytes that wait for the answer to an earlier request, besides one read."""
_SWEEP_SECONDS: Final = 1.0
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_BLANK_LINES: Final = re.compile(rb"[\r\n]*")
_CHUNKED: Final = -1
_MALFORMED: Final = Problem(400, "Bad Request", "this is not an HTTP/1.1 request")
_TOO_LARGE: Final = Problem(
    431,
    "Request Header Fields Too Large",
    f"the request line and the headers may have {MAX_HEAD_BYTES} bytes together; send fewer or shorter ones",
)
_NO_ROOM: Final = Problem(503, "Service Unavailable", "no connection is free; try again", {"Retry-After": "1"})


def _encode(problem: Problem) -> bytes:
    """Return an answer that no application gives, with the headers that every answer has."""
    headers, body = describe_problem(problem)
    lines = [
        b"HTTP/1.1 %d %s" % (problem.status, problem.title.encode()),
        *(b"%s: %s" % header for header in (*headers, *SECURITY_HEADERS, (b"connection", b"close"))),
    ]
    return b"\r\n".join((*lines, b"", body))


class ConnectionLimit:
    """The open connections of a server, of which it closes the slow ones every second.

    Args:
        limit: the most that may be open; half of them without a valid token.
    """

    def __init__(self, limit: int) -> None:
        self._sweep: asyncio.TimerHandle | None = None
        self.repeated: LRUCache[bytes, RepeatedAnswer] = LRUCache(_MAX_REPEATED)
        self._limit = limit
        self._max_anonymous = max(1, limit // 2)
        self._anonymous: dict[_BoundedProtocol, None] = {}
        self._authenticated: set[_BoundedProtocol] = set()

    def add(self, connection: "_BoundedProtocol") -> bool:
        """Add a new connection, for which the oldest of an unknown client may end; False when there is no room.

        What an unknown client has asked or left unread protects it from nothing.
        """
        while (
            len(self._anonymous) >= self._max_anonymous
            or len(self._anonymous) + len(self._authenticated) >= self._limit
        ):
            oldest = next(iter(self._anonymous), None)
            if oldest is None:
                return False
            self.remove(oldest)
            oldest.transport.abort()
        self._anonymous[connection] = None
        if self._sweep is None:
            self._sweep = connection.loop.call_later(_SWEEP_SECONDS, self._close_overdue, connection.loop)
        return True

    def _close_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = None
        self.close_overdue(loop.time())
        if self._anonymous or self._authenticated:
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._close_overdue, loop)

    def close_overdue(self, now: float) -> None:
        """Close the connections whose client takes too long, at `now` of the loop's clock."""
        for connection in (*self._anonymous, *self._authenticated):
            if connection.is_overdue(now):
                connection.transport.abort()

    def recognize(self, connection: "_BoundedProtocol") -> None:
        """Note that a connection's client has sent a valid token."""
        if connection in self._anonymous:
            del self._anonymous[connection]
            self._authenticated.add(connection)

    def remove(self, connection: "_BoundedProtocol") -> None:
        """Forget a connection."""
        self._anonymous.pop(connection, None)
        self._authenticated.discard(connection)


class _BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on a client's size, time and number of requests, which uvicorn does not have."""

    def __init__(self, *arguments: Any, limit: ConnectionLimit, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.request_since: float | None = self.loop.time()
        """When the client began to send a request that is not complete; None while there is none."""
        self._limit = limit
        self._extensions = {RECOGNITION: lambda: limit.recognize(self)}
        self._answer_at_once: AnswerAtOnce | None = self.app_state.get(AT_ONCE)
        self._received = b""
        self._body_left: int | None = None
        """Bytes of the body to come, or `_CHUNKED`; None while a head is expected."""
        self._has_request = False
        """Whether a request has come whole and is not answered."""
        self._cycles: list[RequestResponseCycle] = []
        self._repeated: RepeatedAnswer | None = None
        self._unsent = (0, 0.0)
        self._idle_since = 0.0

    def is_overdue(self, now: float) -> bool:
        """Whether the client takes too long: for a request, to take an answer, or until its next request.

        Call it every second or so.
        """
        unsent, since = self._unsent
        if unsent != (size := self.transport.get_write_buffer_size()):
            unsent, since = self._unsent = size, now
        if unsent and now - since > STALLED_SECONDS:
            return True
        if self.request_since is not None:
            return now - self.request_since > REQUEST_SECONDS
        return not self._has_request and not unsent and now - self._idle_since > self.timeout_keep_alive

    def connection_made(self, transport: Any) -> None:
        """Begin, where there is room."""
        super().connection_made(transport)
        if not self._limit.add(self):
            transport.write(_encode(_NO_ROOM))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; every request that is not answered learns of it, not only the last one."""
        self._limit.remove(self)
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what belongs to the present request, and keep the rest until it is answered."""
        self._received = self._received + data if self._received else data
        if self._has_request:
            if len(self._received) > MAX_WAITING_BYTES:
                self.flow.pause_reading()
            return
        if self._received is data and self._body_left is None and self._answer_repeated(data):
            return
        if self.request_since is None:
            self.request_since = self.loop.time()
        self._parse()

    def _answer_repeated(self, data: bytes) -> bool:
        """Answer a request that came as a whole and was answered at once before, to the byte."""
        if len(data) > _MAX_REPEATED_BYTES or self.flow.write_paused or self.transport.is_closing():
            return False
        repeated = self._limit.repeated.get(sha256(data).digest())
        if repeated is None or not repeated(self._write):
            return False
        self._limit.recognize(self)
        self._received, self.request_since, self._idle_since = b"", None, self.loop.time()
        return True

    def _parse(self) -> None:
        data, self._received, start = self._received, b"", 0
        is_answered = False
        while start < len(data) and not self._has_request and not is_answered and not self.transport.is_closing():
            start, end = self._find_piece(data, start)
            if end <= start:
                break
            piece, start, self._repeated = data[start:end], end, None
            super().data_received(piece)
            is_answered = self._body_left is None and not self._has_request
            if is_answered and self._repeated is not None and len(piece) <= _MAX_REPEATED_BYTES:
                self._limit.repeated[sha256(piece).digest()] = self._repeated
        self._received = data[start:]
        if is_answered:
            if len(self._received) > MAX_WAITING_BYTES:
                self.flow.pause_reading()
            self._go_on()
        elif len(self._received) > MAX_HEAD_BYTES and not self._has_request and not self.transport.is_closing():
            self._refuse_head()

    def _find_piece(self, data: bytes, start: int) -> tuple[int, int]:
        """Return where the next piece for the parser begins and ends: a whole head, or no more than a body."""
        if self._body_left is None:
            blank = _BLANK_LINES.match(data, start)
            start = blank.end() if blank else start
            end_of_head = _END_OF_HEAD.search(data, start)
            if end_of_head is not None and end_of_head.end() - start > MAX_HEAD_BYTES:
                self._refuse_head()
                return start, start
            return start, end_of_head.end() if end_of_head else start
        if self._body_left == _CHUNKED:  # ends with an empty line, which may come in two reads
            end_of_head = _END_OF_HEAD.search(data, start)
            return start, end_of_head.end() if end_of_head else len(data) - 2
        end = min(len(data), start + self._body_left)
        self._body_left -= end - start
        return start, end

    def _refuse_head(self) -> None:
        self.transport.write(_encode(_TOO_LARGE))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refuses."""
        self.transport.write(_encode(_MALFORMED))
        self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]

    def on_headers_complete(self) -> None:
        """End the head of a request, and start to answer it."""
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        self._body_left = int(length) if length.isdigit() else _CHUNKED
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer a request: at once where that is possible, else in a task."""
        self._cycles.append(cycle)
        if self._answer_at_once is not None and cycle.keep_alive and not self.flow.write_paused:
            self._repeated = self._answer_at_once(cycle.scope, self._write)
        if self._repeated is None:
            super()._start_asgi_task(cycle, app)
            return
        self._limit.recognize(self)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()

    def _write(self, status: int, lines: bytes, body: bytes) -> None:
        """Write a whole answer, without uvicorn's check of each header and its messages."""
        dated = b"".join([b"%s: %s\r\n" % pair for pair in self.server_state.default_headers])
        self.transport.write(b"%s%s%s" % (STATUS_LINE[status], dated, lines))
        if body:
            self.transport.write(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._body_left = self.request_since = None
        super().on_message_complete()
        self._has_request = not self.cycle.response_complete

    def on_response_complete(self) -> None:
        """End an answer, and begin with what has come meanwhile; no timer is made, since `is_overdue` is called."""
        self._cycles.pop(0)
        self._has_request = False
        self._idle_since = self.loop.time()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._go_on()

    def _go_on(self) -> None:
        """Begin with what came behind an answered request, after the other connections."""
        if self._received and not self.transport.is_closing():
            self.request_since = self.loop.time()
            self.loop.call_soon(self._parse)


def build_protocol(limit: ConnectionLimit) -> Any:
    """Return what makes the protocol of each connection of a server."""
    return partial(_BoundedProtocol, limit=limit)
