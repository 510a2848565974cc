"""What holds for every request of the read API and of the page, whichever route answers it.

Plain ASGI, so that a route that is added, mounted or misspelled cannot forget it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HttpGuard(ABC):
    """ASGI middleware: answers HEAD from GET, and each error that nothing else answers; closes websockets.

    Args:
        headers: lower-case names and values that every answer has which does not set them itself.
    """

    def __init__(self, app: ASGIApp, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        response = _Response(send, self._headers, is_head=scope["method"] == "HEAD")
        try:
            await self.answer(scope, receive, response.send)
        except ClientDisconnect:
            return
        except Exception as error:
            if response.is_started:
                raise  # the server closes the connection, so that a cut answer is not taken for a whole one
            await self.answer_error(error, scope, receive, response.send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a subclass checks it first."""
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)

    @abstractmethod
    async def answer_error(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that raised an error before its answer began."""


class _Response:
    """Sends a response with the headers that it lacks, and without a body for HEAD."""

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]], *, is_head: bool) -> None:
        self._send = send
        self._headers = headers
        self._is_head = is_head
        self.is_started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            names = {name.lower() for name, _ in message["headers"]}
            missing = [pair for pair in self._headers if pair[0] not in names]
            message = {**message, "headers": [*message["headers"], *missing]}
        elif self._is_head:
            message = {**message, "body": b""}
        await self._send(message)
