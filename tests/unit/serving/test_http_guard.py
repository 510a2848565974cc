"""Headers, HEAD, errors and websockets are the same for the read API and for the page."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from adwarm.serving.http_guard import HttpGuard

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"X-Given", b"own")]}
BODY: Message = {"type": "http.response.body", "body": b"rows"}


class _Guard(HttpGuard):
    async def answer_error(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": str(error).encode()})


def _call(sends: Sequence[Message], error: Exception | None = None, **scope: Any) -> list[Message]:
    """Return what a guard sends around an application that sends and then fails."""
    sent: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        for message in sends:
            await send(message)
        if error is not None:
            raise error

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    guard = _Guard(application, [(b"x-given", b"default"), (b"x-added", b"1")])
    try:
        asyncio.run(guard({"type": "http", "method": "GET", **scope}, receive, send))
    except ZeroDivisionError:
        sent.append({"type": "raised"})
    return sent


def test_an_answer_gets_the_headers_that_it_lacks() -> None:
    """A header of its own stays, whatever its case; the body of HEAD is empty and its head that of GET."""
    head, body = _call([START, BODY])
    assert (head["headers"], body) == ([(b"X-Given", b"own"), (b"x-added", b"1")], BODY)
    assert _call([START, BODY], method="HEAD") == [head, {**BODY, "body": b""}]


def test_an_error_is_answered_while_nothing_was_sent() -> None:
    """Afterwards it is raised: the server closes the connection, so a cut answer is not taken for a whole one."""
    head, body = _call([], ZeroDivisionError("why"))
    assert (head["status"], body["body"]) == (500, b"why")
    assert (b"x-added", b"1") in head["headers"]
    assert [message["type"] for message in _call([START], ZeroDivisionError())] == ["http.response.start", "raised"]


@pytest.mark.parametrize("sends", [[], [START]])
def test_a_client_that_left_gets_no_answer(sends: list[Message]) -> None:
    """It is not an error of the server."""
    assert len(_call(sends, ClientDisconnect())) == len(sends)


def test_a_websocket_is_closed() -> None:
    """No route has one."""
    assert _call([START], type="websocket") == [{"type": "websocket.close", "code": 1008}]
