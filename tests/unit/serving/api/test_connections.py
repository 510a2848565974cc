"""Limits of one connection and of all: whole heads, whole requests in time, one request at a time, room for clients."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, TypeVar

import orjson
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from adwarm.serving.api.anonymous import recognize_client
from adwarm.serving.api.connections import (
    AT_ONCE,
    MAX_HEAD_BYTES,
    MAX_WAITING_BYTES,
    REQUEST_SECONDS,
    STALLED_SECONDS,
    ConnectionLimit,
    build_protocol,
)
from adwarm.serving.api.server import KEEP_ALIVE_SECONDS, _options

T = TypeVar("T")
GET = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"


class Wire(asyncio.Transport):
    """The server's end of a connection, without a socket."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = b""
        self.unsent = 0
        self.is_closed = False
        self.is_paused = False
        protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        assert not self.is_closed, "written to a closed connection"
        self.sent += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Echo:
    """Answers with the path and the size of the body; waits for `may_answer` where it is set."""

    def __init__(self) -> None:
        self.running = self.most_running = 0
        self.paths: list[str] = []
        self.may_answer: asyncio.Event | None = None
        self.knows = False
        self.has_left: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        if self.knows:
            recognize_client({**scope})
        size, message = 0, await receive()
        size += len(message.get("body", b""))
        while message.get("more_body"):
            message = await receive()
            size += len(message.get("body", b""))
        if message["type"] == "http.request" and self.may_answer is not None:
            gone = asyncio.ensure_future(receive())
            await asyncio.wait({gone, asyncio.ensure_future(self.may_answer.wait())}, return_when="FIRST_COMPLETED")
            if gone.done():
                self.has_left.append(scope["path"])
        body = f"{scope['path']}:{size};".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
        self.running -= 1


class Serving:
    """A server without sockets."""

    def __init__(self, limit: int = 100, app: Any = None) -> None:
        self.app = Echo()
        self.config = uvicorn.Config(app or self.app, **_options())
        self.make_protocol = build_protocol(ConnectionLimit(limit))
        self.state = ServerState()
        self.lifespan: dict[str, Any] = {}

    def connect(self) -> Wire:
        """Return a new connection."""
        return Wire(self.make_protocol(self.config, self.state, self.lifespan))


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine."""

    async def whole() -> T:
        return await work()

    return asyncio.run(whole())


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


def bodies(wire: Wire) -> str:
    """Return the bodies of the answers."""
    return "".join(part.partition(b"\r\n\r\n")[2].decode() for part in wire.sent.split(b"HTTP/1.1 200 OK")[1:])


def assert_refused(wire: Wire, status: int, detail: str) -> None:
    """Assert that the last answer is a problem with the headers that every answer has, and that it ends all."""
    head, _, body = wire.sent[wire.sent.rindex(b"HTTP/1.1 %d " % status) :].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert (headers["content-type"], headers["connection"]) == ("application/problem+json", "close")
    assert (headers["x-content-type-options"], int(headers["content-length"])) == ("nosniff", len(body))
    assert detail in orjson.loads(body)["detail"]


def test_what_is_no_request_gets_a_problem(server_lines: list[str]) -> None:
    """Bytes that no parser takes, alone or behind a request, are answered with 400."""

    async def work() -> None:
        for before in (b"", GET % 1):
            for head in (b"\x16\x03\x01\x02\x00\n\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\na b: c\r\n\r\n"):
                wire = Serving().connect()
                wire.protocol.data_received(before + head)
                await settle()
                assert_refused(wire, 400, "not an HTTP/1.1 request")

    run(work)


def test_a_large_head_is_refused_however_it_arrives() -> None:
    """A head of 56 KB in one read, alone or behind another request, is answered with 431 and reaches no application."""

    async def work() -> None:
        for before in (b"", GET % 1):
            for head in (b"GET /2 HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 56_000 + b"\r\n\r\n", b"GET /" + b"a" * 56_000):
                serving = Serving()
                wire = serving.connect()
                wire.protocol.data_received(before + head)
                await settle()
                assert_refused(wire, 431, "16384 bytes")
                assert serving.app.paths == ["/1"] * bool(before)

    run(work)


def test_the_limit_is_exact_for_each_request() -> None:
    """Heads of exactly the limit pass, one after the other in one read; a byte more does not."""

    def head(size: int) -> bytes:
        start = b"GET / HTTP/1.1\r\nhost: x\r\nx: "
        return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"

    async def work() -> None:
        wire = Serving().connect()
        wire.protocol.data_received(head(MAX_HEAD_BYTES) * 5 + head(MAX_HEAD_BYTES + 1))
        for _ in range(10):
            await settle()
        assert (bodies(wire).count("/:0;"), wire.sent.count(b"HTTP/1.1 431")) == (5, 1)

    run(work)


@pytest.mark.parametrize("is_at_once", [False, True])
def test_a_thousand_requests_in_one_read_are_answered_in_order(server_lines: list[str], is_at_once: bool) -> None:
    """One runs at a time and none is kept parsed; whoever leaves in the middle causes no line in the log."""

    async def work() -> None:
        serving = Serving()
        serving.lifespan = {AT_ONCE: echo_at_once} if is_at_once else {}
        wire, leaving = serving.connect(), serving.connect()
        wire.protocol.data_received(b"".join(GET % number for number in range(1_000)))
        while bodies(wire).count(";") < 1_000:
            assert len(wire.protocol.pipeline) == 0
            await settle()
        assert bodies(wire) == "".join(f"/{number}:0;" for number in range(1_000))
        assert serving.app.most_running == int(not is_at_once)
        leaving.protocol.data_received(b"".join(GET % number for number in range(1_000)))
        await asyncio.sleep(0)
        leaving.close()
        await settle()

    run(work)
    assert server_lines == []


def test_a_request_learns_that_its_client_left_whatever_was_sent_behind_it() -> None:
    """With further requests waiting, the one that runs learns that the connection ended."""

    async def work() -> None:
        serving = Serving()
        serving.app.may_answer = asyncio.Event()
        wire = serving.connect()
        wire.protocol.data_received(GET % 1 + GET % 2)
        await settle()
        wire.close()
        await settle()
        assert (serving.app.paths, serving.app.has_left) == (["/1"], ["/1"])

    run(work)


def test_what_waits_for_an_answer_is_bounded() -> None:
    """Bytes behind a running request are kept up to a limit; then the connection is not read until it is answered."""

    async def work() -> None:
        serving = Serving()
        serving.app.may_answer = asyncio.Event()
        wire = serving.connect()
        wire.protocol.data_received(GET % 1)
        await settle()
        while not wire.is_paused:
            wire.protocol.data_received((GET % 2) * 100)
            assert len(wire.protocol._received) < MAX_WAITING_BYTES + 10_000
        serving.app.may_answer.set()
        await settle()
        assert not wire.is_paused

    run(work)


def test_what_waits_for_answers_at_once_is_bounded() -> None:
    """A client that sends faster than one answer in each turn of the loop is not read until the rest is answered."""

    async def work() -> None:
        serving = Serving()
        serving.lifespan = {AT_ONCE: echo_at_once}
        wire, sent = serving.connect(), 0
        while not wire.is_paused:
            wire.protocol.data_received((GET % 2) * 100)
            sent += 100
            assert len(wire.protocol._received) < MAX_WAITING_BYTES + 10_000
        while wire.protocol._received:
            await settle()
        assert (bodies(wire), wire.is_paused) == ("/2:0;" * sent, False)

    run(work)


STREAM = (
    GET % 1
    + b"POST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\na\r\n\r\nb\n\nc"
    + b"\r\n\r\n"
    + b"POST /3 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nab\n\n\r\n0\r\n\r\n"
    + b"POST /4 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n"
    + GET % 5
    + b"POST /6 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    + GET % 7
)


def echo_at_once(scope: Any, write: Any) -> Any:
    """Answer GET as `Echo` does; path 9 cannot be answered again."""
    body = f"{scope['path']}:0;".encode()

    def again(write: Any) -> bool:
        write(200, b"content-length: %d\r\n\r\n" % len(body), body)
        return True

    is_answered = scope["method"] == "GET" and again(write)
    return (again if scope["path"] != "/9" else lambda write: False) if is_answered else None


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12), is_at_once=st.booleans())
def test_it_does_not_matter_how_requests_are_cut(cuts: list[int], is_at_once: bool) -> None:
    """Requests with and without bodies get the same answers however their bytes are divided into reads."""

    async def work() -> None:
        serving = Serving()
        serving.lifespan = {AT_ONCE: echo_at_once} if is_at_once else {}
        wire = serving.connect()
        edges = sorted({0, *cuts, len(STREAM)})
        for start, end in pairwise(edges):
            wire.protocol.data_received(STREAM[start:end])
            await settle()
        for _ in range(10):
            await settle()
        assert bodies(wire) == "/1:0;/2:9;/3:4;/4:3;/5:0;/6:0;/7:0;"
        assert wire.protocol.request_since is None

    run(work)


def test_a_request_that_was_answered_at_once_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal bytes are answered on any connection, also behind others; a part, or another byte, goes to the parser."""

    async def work() -> None:
        serving, parsed = Serving(), list[str]()

        def answer(scope: Any, write: Any) -> Any:
            parsed.append(scope["path"])
            return echo_at_once(scope, write)

        serving.lifespan = {AT_ONCE: answer}
        wires = [serving.connect() for _ in range(2)]
        for wire in wires:
            for number in (1, 2, 1, 9, 9):
                wire.protocol.data_received(GET % number)
            assert bodies(wire) == "/1:0;/2:0;/1:0;/9:0;/9:0;"
            assert wire.protocol.request_since is None
        assert parsed == ["/1", "/2", "/9", "/9", "/9", "/9"]
        wires[0].protocol.data_received((GET % 1)[:9])
        wires[0].protocol.data_received((GET % 1)[9:] + GET % 2)
        await settle()
        assert parsed[6:] == ["/1", "/2"]
        assert bodies(wires[0]).endswith("/9:0;/1:0;/2:0;")
        wires[1].protocol.flow.pause_writing()
        wires[1].protocol.data_received(GET % 1)
        wires[1].protocol.flow.resume_writing()
        await settle()
        assert serving.app.paths == ["/1"]

    run(work)


def test_an_answer_at_once_needs_no_task_and_keeps_no_other_connection_waiting() -> None:
    """The application is not called; of many requests in one read, one is answered in each turn of the loop."""

    async def work() -> None:
        serving = Serving()
        serving.lifespan = {AT_ONCE: echo_at_once}
        wires = [serving.connect() for _ in range(2)]
        for wire in wires:
            wire.protocol.data_received(GET % 1 + GET % 2 + GET % 3)
        assert [bodies(wire) for wire in wires] == ["/1:0;"] * 2
        await settle()
        assert [bodies(wire) for wire in wires] == ["/1:0;/2:0;/3:0;"] * 2
        assert serving.app.paths == []
        wires[0].protocol.data_received(b"GET /4 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        wires[1].protocol.flow.pause_writing()
        wires[1].protocol.data_received(GET % 5)
        wires[1].protocol.flow.resume_writing()
        await settle()
        assert (serving.app.paths, wires[0].is_closed) == (["/4", "/5"], True)

    run(work)


def test_a_request_has_one_deadline() -> None:
    """The time of a request is that of its head and body together, however often a byte comes; then it begins anew."""

    async def work() -> None:
        wire = Serving().connect()
        protocol = wire.protocol
        connected = protocol.request_since
        assert not protocol.is_overdue(connected + REQUEST_SECONDS)
        assert protocol.is_overdue(connected + REQUEST_SECONDS + 1)
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na")
        await settle()
        protocol.data_received(b"b")
        assert protocol.request_since == connected
        assert protocol.is_overdue(connected + REQUEST_SECONDS + 1)
        protocol.data_received(b"c")
        await settle()
        assert bodies(wire) == "/:3;"
        assert not protocol.is_overdue(connected + REQUEST_SECONDS + 1)
        protocol.data_received(b"G")
        assert protocol.request_since is not None
        assert protocol.is_overdue(protocol.request_since + REQUEST_SECONDS + 1)

    run(work)


def test_an_answer_that_nobody_takes_has_a_deadline() -> None:
    """A client that takes no byte of an answer is overdue; one that takes some in time is not."""

    async def work() -> None:
        wire = Serving().connect()
        wire.protocol.data_received(GET % 1)
        await settle()
        wire.unsent = 1_000
        assert not wire.protocol.is_overdue(100.0)
        assert not wire.protocol.is_overdue(100.0 + STALLED_SECONDS)
        wire.unsent = 900
        assert not wire.protocol.is_overdue(101.0 + STALLED_SECONDS)
        assert wire.protocol.is_overdue(102.0 + 2 * STALLED_SECONDS)

    run(work)


def test_callers_without_a_token_leave_room() -> None:
    """Half of the connections may be unknown: the oldest ends for a new one, whatever was asked or waits on it."""

    async def work() -> None:
        serving = Serving(limit=8)
        serving.app.knows = True
        known = [serving.connect() for _ in range(3)]
        for wire in known:
            wire.protocol.data_received(GET % 1)
        await settle()
        serving.app.knows = False
        serving.app.may_answer = asyncio.Event()
        unknown = [serving.connect() for _ in range(100)]
        for wire in unknown[:50]:
            wire.protocol.data_received((GET % 2) * 3)
        for wire in unknown[-3:]:
            wire.protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nab")
        await settle()
        for _ in range(3):
            wire = serving.connect()
            wire.protocol.data_received((GET % 2) * 3)
            unknown.append(wire)
        await settle()
        reader = serving.connect()
        reader.protocol.data_received(GET % 3)
        await settle()
        assert [wire.is_closed for wire in (*known, reader)] == [False] * 4
        assert [wire.is_closed for wire in unknown] == [True] * 100 + [False] * 3
        serving.app.may_answer.set()
        await settle()
        assert (bodies(unknown[-1]), bodies(reader)) == ("/2:0;/2:0;/2:0;", "/3:0;")

    run(work)


def test_known_clients_may_use_every_connection() -> None:
    """They take the room of unknown ones; beyond the limit a new connection gets 503."""

    async def work() -> None:
        serving = Serving(limit=8)
        serving.app.knows = True
        known = []
        for _ in range(8):
            known.append(serving.connect())
            known[-1].protocol.data_received(GET % 1)
            await settle()
        refused = serving.connect()
        assert refused.sent.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert refused.is_closed
        assert not any(wire.is_closed for wire in known)
        known[0].close()
        await settle()
        assert not serving.connect().is_closed

    run(work)


@pytest.mark.parametrize("answer", [b"", b"x"])
def test_a_refused_body_ends_in_time_too(answer: bytes) -> None:
    """A request that is answered before its body has come still has its deadline, and then the connection is idle.

    An idle one ends after a while, unless its client still takes the answer.
    """

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({
            "type": "http.response.start",
            "status": 413,
            "headers": [(b"content-length", b"%d" % len(answer))],
        })
        await send({"type": "http.response.body", "body": answer})

    async def work() -> None:
        wire = Serving(app=refuse).connect()
        wire.protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\n")
        await settle()
        assert wire.protocol.is_overdue(wire.protocol.request_since + REQUEST_SECONDS + 1)
        wire.protocol.data_received(b"a" * 30)
        await settle()
        idle_until = asyncio.get_running_loop().time() + KEEP_ALIVE_SECONDS
        assert not wire.protocol.is_overdue(idle_until - 1)
        wire.unsent = 1
        assert not wire.protocol.is_overdue(idle_until + 1)
        wire.unsent = 0
        assert wire.protocol.is_overdue(idle_until + 1)
        wire.protocol.data_received(GET % 1)
        await settle()
        assert wire.sent.count(b"HTTP/1.1 413") == 2

    run(work)
