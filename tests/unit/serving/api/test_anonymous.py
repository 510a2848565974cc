"""What a caller without a token gets from a connection: one answer, and no place of somebody else."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import TokenScope
from adwarm.serving.api.anonymous import MAX_DISCARDED_BYTES, RECOGNITION, EndAnonymous, recognize_client
from tests.support.asgi_client import AsgiClient
from tests.support.route_list import list_routes
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.serving.api.conftest import Api
from tests.unit.serving.api.test_server import Running

REQUEST = b"%s HTTP/1.1\r\nhost: x\r\n\r\n"


class Door:
    """Recognizes requests below `/known`; answers with the path, and reads the body only of `/read`."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        path = scope["path"]
        if path.startswith("/known"):
            recognize_client({**scope})
        while path == "/read" and (await receive()).get("more_body"):
            pass
        body = path.encode() + b";"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def running() -> Iterator[Running]:
    """A server on a socket, with the door behind it."""
    server = Running(EndAnonymous(Door()))
    yield server
    server.stop()


def receive_bodies(client: socket.socket) -> str:
    """Return the bodies of all answers until the connection ends."""
    answer = b""
    try:
        while part := client.recv(65_536):
            answer += part
    except ConnectionResetError:
        pass
    return "".join(part.partition(b"\r\n\r\n")[2].decode() for part in answer.split(b"HTTP/1.1 200 OK")[1:])


def test_a_connection_ends_with_its_first_answer_to_a_stranger(running: Running) -> None:
    """Of a hundred requests in one write, those up to the first without a valid token are answered."""
    for known, answered in ((0, 1), (1, 2), (3, 4)):
        with running.connect() as client:
            paths = (
                [b"GET /known%d" % number for number in range(known)] + [b"GET /unknown"] * 50 + [b"GET /known"] * 50
            )
            client.sendall(b"".join(REQUEST % path for path in paths))
            assert receive_bodies(client).count(";") == answered


@pytest.mark.parametrize("path", [b"/unknown", b"/read"])
def test_the_answer_reaches_a_client_that_still_sends(running: Running, path: bytes) -> None:
    """A body is taken before the answer, so that the end of the connection does not cut the answer off."""
    with running.connect() as client:
        client.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 40000\r\n\r\n" % path)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        client.sendall(b"a" * 40_000)
        assert receive_bodies(client) == f"{path.decode()};"


@given(sizes=st.lists(st.integers(0, 20_000), max_size=20), leaves=st.booleans())
def test_no_more_of_a_body_is_taken_than_its_limit(sizes: list[int], leaves: bool) -> None:
    """However a body is cut, taking it ends with the body, with the client, or with the limit and one message more."""
    messages = [{"type": "http.request", "body": b"a" * size, "more_body": True} for size in sizes]
    messages.append({"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b""})
    taken, sent = 0, list[Any]()

    async def receive() -> Any:
        nonlocal taken
        message = messages.pop(0)
        taken += len(message.get("body", b""))
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/unknown"}
    answering = EndAnonymous(Door())(scope, receive, send)
    with pytest.raises(StopIteration):
        answering.send(None)
    assert taken == sum(sizes) or MAX_DISCARDED_BYTES <= taken < MAX_DISCARDED_BYTES + 20_000
    assert (b"connection", b"close") in sent[0]["headers"]


def test_the_server_learns_who_is_known() -> None:
    """The server's own note is called for a valid token or session, and for nothing else."""
    noted: list[str] = []
    scope = {"type": "http", "extensions": {RECOGNITION: lambda: noted.append("known")}}

    class WithNote:
        def __init__(self) -> None:
            self.app = EndAnonymous(Door())

        async def __call__(self, own: Any, receive: Any, send: Any) -> None:
            await self.app({**own, **scope}, receive, send)

    client = AsgiClient(WithNote())
    ends = {path: client.get(path).headers.get("connection") for path in ("/unknown", "/known")}
    assert (ends, noted) == ({"/unknown": "close", "/known": None}, ["known"])


@SQLITE_ONLY
def test_each_route_ends_the_connection_of_a_stranger(api: Api) -> None:
    """Whatever is asked without a token, the answer is the last one; with a token it is not, also beyond its rate."""
    client = AsgiClient(EndAnonymous(api.client.app))
    routes = [*list_routes(api.app.routes), ("OPTIONS", "/v1/queue"), ("GET", "/none"), ("GET", "/" + "a" * 3_000)]
    invented = {"Authorization": "Bearer adwarm_abcdefghijkl_" + "A" * 43}
    for method, path in routes:
        for headers in ({}, invented):
            assert client.request(method, path, headers=headers).headers["connection"] == "close", (method, path)
    token = {"Authorization": api.token(TokenScope.ADMIN, rate_per_second=1.0)}
    answers = [client.get("/v1/queue", headers=token) for _ in range(3)]
    assert {(answer.status_code, answer.headers.get("connection")) for answer in answers} == {(200, None), (429, None)}
