"""Tests of the bounds of a call: deadline and size, against servers that write raw bytes."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adwarm.foundation.clock import TimeLimit, VirtualClock, limited
from adwarm.foundation.errors import SLOW_BODY, AdwarmError, TooMuchData, Transient
from adwarm.settings import SourceSettings
from adwarm.sources.meta.transport import GraphTransport, MetaCredentials
from adwarm.sources.meta.wire import _STEP, CallBounds, _Decompressor
from tests.unit.sources.conftest import TOKEN

Script = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MOST = 200_000
PROMPT = 5.0
"""Far beyond the deadlines, for a busy machine, and far before an end that never comes."""
SLOW = 0.02
PACE = threading.Event()
"""Never set: what a server waits on between two bytes."""


def at_once(data: bytes) -> Script:
    """Send everything, and close."""
    return lambda connection: connection.sendall(data)


def trickling(fast: bytes, piece: bytes = b"x") -> Script:
    """Send `fast`, then a piece every few hundredths of a second, without end."""

    def send(connection: socket.socket) -> None:
        connection.sendall(fast)
        while True:
            connection.sendall(piece)
            PACE.wait(SLOW)

    return send


def flooding(fast: bytes, piece: bytes) -> Script:
    """Send `fast`, then pieces as fast as possible, without end."""

    def send(connection: socket.socket) -> None:
        connection.sendall(fast)
        while True:
            connection.sendall(piece)

    return send


def silent(connection: socket.socket) -> None:
    """Send nothing until the caller hangs up."""
    while connection.recv(4096):
        continue


class RawServer:
    """A local server that runs its script for each connection."""

    def __init__(self) -> None:
        self.script: Script = silent
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += connection.recv(65_536)
            self.script(connection)

    def close(self) -> None:
        """Take no more connections."""
        self._server.close()


@pytest.fixture
def raw() -> Iterator[RawServer]:
    """A server that writes raw bytes."""
    server = RawServer()
    yield server
    server.close()


@pytest.fixture
def graph(raw: RawServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> GraphTransport:
    """A transport with short deadlines."""
    monkeypatch.setattr("adwarm.sources.meta.transport.MAX_RESPONSE_BYTES", MOST)
    settings = SourceSettings(graph_url=raw.url, read_timeout=0.3, call_timeout=0.6)
    return GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock)


def failure(graph: GraphTransport) -> AdwarmError:
    """The error of a call."""
    with pytest.raises(AdwarmError) as caught:
        graph.get(("act_1",), {}, "act_1")
    return caught.value


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("silent", silent),
        ("header", trickling(b"HTTP/1.1 200 OK\r\nX-Slow: ")),
        ("continue", trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
        ("length", trickling(HEAD + b"Content-Length: 100000\r\n\r\n{")),
        ("chunks", trickling(CHUNKED, b"1\r\n{\r\n")),
        ("chunk size", trickling(CHUNKED + b"5;x=")),
        ("trailer", trickling(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Trailer: 1\r\n")),
        ("packed", trickling(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}", mtime=0)[:10], b"\0")),
    ],
)
def test_no_trickle_outlives_its_deadline(raw: RawServer, clock: VirtualClock, name: str, script: Script) -> None:
    """A head or body of one byte at a time without end fails at the call's deadline."""
    raw.script = script
    settings = SourceSettings(graph_url=raw.url, read_timeout=0.1, call_timeout=0.2)
    graph = GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock)
    began = time.monotonic()
    error = failure(graph)
    assert time.monotonic() - began < PROMPT
    in_head = name in {"silent", "header", "continue"}
    assert (type(error), error.code) in {(Transient, "timeout" if in_head else SLOW_BODY), (Transient, "connection")}


def test_no_handshake_outlives_its_deadline(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a TLS handshake."""
    monkeypatch.setattr("adwarm.sources.meta.transport.CONNECT_SECONDS", 0.3)

    def trickle(server: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"\x16\x03\x03\x40\x00")
                while True:
                    connection.sendall(b"\0")
                    PACE.wait(SLOW)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=trickle, args=(server,), daemon=True).start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        settings = SourceSettings(graph_url=url, read_timeout=0.3, call_timeout=0.6)
        began = time.monotonic()
        error = failure(GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock))
        assert time.monotonic() - began < PROMPT
    assert (type(error), error.code) == (Transient, "timeout")


@pytest.mark.slow
def test_a_slow_response_within_the_deadline_is_read(raw: RawServer, clock: VirtualClock) -> None:
    """A body that takes longer than the head may, but not too long, is read."""

    def send(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 10\r\n\r\n")
        for byte in b'{"ok": 1} ':
            PACE.wait(0.12)
            connection.sendall(bytes([byte]))

    raw.script = send
    settings = SourceSettings(graph_url=raw.url, read_timeout=1.0, call_timeout=60.0)
    graph = GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock)
    assert graph.get(("act_1",), {}).body == {"ok": 1}


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (flooding(b"", b"HTTP/1.1 200 OK" * 1000), Transient),
        (flooding(b"HTTP/1.1 200 OK\r\n", b"X-Flood: 1\r\n" * 1000), Transient),
        (flooding(HEAD + b"\r\n", b" " * 65_536), TooMuchData),
        (flooding(CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"), TooMuchData),
        (flooding(CHUNKED + b"-5\r\n", b" " * 65_536), AdwarmError),
        (flooding(CHUNKED + b"5;", b"x" * 65_536), AdwarmError),
        (flooding(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Trailer: 1\r\n" * 1000), AdwarmError),
    ],
    ids=["status", "headers", "close", "chunks", "negative chunk", "chunk size", "trailer"],
)
def test_no_flood_fills_the_memory(
    raw: RawServer, graph: GraphTransport, script: Script, kind: type[AdwarmError]
) -> None:
    """Whatever part of an answer has no end, the call ends within its bytes and time."""
    raw.script = script
    began = time.monotonic()
    assert isinstance(failure(graph), kind)
    assert time.monotonic() - began < PROMPT


BROKEN_ANSWERS = [
    b"",
    b"\0" * 100,
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n{}",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    HEAD + b"Content-Length: 100\r\n\r\n{}",
    HEAD + b"Content-Length: 1\r\n\r\n{}",
    HEAD + b"Content-Length: 2, 3\r\n\r\n{}",
    HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    CHUNKED + b"zz\r\n{}",
    CHUNKED + b"5\r\n{}",
    HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    HEAD + b"Content-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\n{}",
    HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}", mtime=0)[:-4],
    HEAD + b"Content-Encoding: deflate\r\n\r\n" + b"\xff" * 50,
    b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\n\r\n{}",
    HEAD + b"Location: http://[\r\n\r\n[",
    b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
]


def test_broken_answers_are_errors_with_a_reason(
    raw: RawServer, graph: GraphTransport, subtests: pytest.Subtests
) -> None:
    """What is not an answer ends as an error of ours that names no address and no token, never as a library's."""
    for answer in BROKEN_ANSWERS:
        with subtests.test(answer=answer):
            raw.script = at_once(answer)
            error = failure(graph)
            assert error.code
            assert TOKEN not in str(error)
            assert "127.0.0.1" not in str(error)
            assert error.__context__ is None or not isinstance(error.__context__, OSError)


def test_what_a_lying_length_leaves_behind(raw: RawServer, graph: GraphTransport) -> None:
    """Bytes beyond an answer that said it was shorter never become the next one."""
    body = b'{"data": [1, 2, 3]}'
    planted = HEAD + b'Content-Length: 12\r\n\r\n{"planted":1}'
    raw.script = at_once(HEAD + b"Content-Length: 5\r\n\r\n" + body + planted)
    assert isinstance(failure(graph), Transient)
    raw.script = at_once(HEAD + b'Content-Length: 8\r\n\r\n{"ok":1}')
    assert graph.get(("act_1",), {}).body == {"ok": 1}


def test_a_bomb_is_not_unpacked(raw: RawServer, graph: GraphTransport) -> None:
    """An answer that unpacks to more than it may is too much data, and one that does not is read."""
    raw.script = at_once(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 5_000_000))
    assert isinstance(failure(graph), TooMuchData)
    raw.script = at_once(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"ok": 1}' + b" " * 100_000))
    assert graph.get(("act_1",), {}).body == {"ok": 1}


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=4), st.integers(1, 60))
def test_unpacking_in_steps(members: list[bytes], step: int) -> None:
    """Several members in pieces of any size give the whole."""
    packed, whole = b"".join(gzip.compress(member, mtime=0) for member in members), b"".join(members)
    unpacker, found = _Decompressor(), b""
    for start in range(0, len(packed), step):
        found += b"".join(unpacker.decompress(packed[start : start + step]))
    assert found == whole
    assert unpacker.is_whole


@given(st.integers(-300, 300), st.integers(1, 3))
def test_unpacking_what_fills_whole_steps(beyond: int, steps: int) -> None:
    """A body of about a number of steps is unpacked to its end, in steps."""
    whole = (b"0123456789" * 80_000)[: max(0, steps * _STEP + beyond)]
    unpacker = _Decompressor()
    found = list(unpacker.decompress(gzip.compress(whole)))
    assert b"".join(found) == whole
    assert max(map(len, found)) <= _STEP
    assert unpacker.is_whole


def test_bounds_by_a_clock_of_their_own() -> None:
    """Until the head is complete its own deadline counts, then that of the call; the next call begins anew."""
    now = [100.0]
    bounds = CallBounds(5.0, 20.0, 1_000, lambda: now[0])
    assert bounds.read_timeout_seconds() == 5.0
    now[0] += 4
    assert bounds.read_timeout_seconds() == 1.0
    bounds.mark_head_complete()
    assert bounds.read_timeout_seconds() == 5.0
    now[0] += 12
    assert bounds.read_timeout_seconds() == 4.0
    now[0] += 4
    with pytest.raises(TimeoutError):
        bounds.read_timeout_seconds()
    assert bounds.is_late
    bounds.start()
    assert (bounds.is_late, bounds.read_timeout_seconds()) == (False, 5.0)


def test_a_call_has_no_more_time_than_the_work_it_is_a_part_of() -> None:
    """Connecting, head and body end with the nearest time limit; a call begun outside of it has its own time again."""
    now = 0.0
    bounds = CallBounds(30, 120, MOST, lambda: now)
    with limited(TimeLimit(8, "the account", "SETTING", monotonic=lambda: now)):
        bounds.start()
        assert bounds.connect_timeout_seconds(3.05) == (3.05, 8)
        now = 6.0
        assert bounds.read_timeout_seconds() == 2
        bounds.mark_head_complete()
        now = 8.0
        with pytest.raises(TimeoutError):
            bounds.read_timeout_seconds()
        now = 7.5
        bounds.start()
        assert bounds.connect_timeout_seconds(3.05) == (0.5, 0.5)
    bounds.start()
    assert bounds.connect_timeout_seconds(3.05) == (3.05, 30)
