"""Callers without a valid token or session: each connection of theirs ends with the answer to its first request.

So requests that wait behind one another on a connection are answered only as long as each of them has a valid token.
Plain ASGI, so it holds under any server: one that gets an answer with `Connection: close` reads nothing behind it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RECOGNITION: Final = "adwarm.recognition"
"""Extension of a request's ASGI scope: a function that `recognize_client` calls."""
MAX_DISCARDED_BYTES: Final = 65_536
"""How much of a body that nobody has read is taken before the answer: a client may miss what comes while it sends."""


def recognize_client(scope: Mapping[str, Any]) -> None:
    """Note that a request has a valid token or session, so that its connection stays, also when others are new."""
    note = (scope.get("extensions") or {}).get(RECOGNITION)
    if note is not None:
        note()


class EndAnonymous:
    """ASGI middleware around everything that `adwarm serve` answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and end its connection unless the client was recognized before the answer began."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extensions = scope.get("extensions") or {}
        caller = _Caller(receive, send, extensions.get(RECOGNITION))
        extensions = {**extensions, RECOGNITION: caller.recognize}
        await self._app({**scope, "extensions": extensions}, caller.receive, caller.send)


class _Caller:
    def __init__(self, receive: Receive, send: Send, note: Callable[[], None] | None) -> None:
        self._receive = receive
        self._send = send
        self._note = note
        self._is_known = False
        self._has_more = True

    def recognize(self) -> None:
        self._is_known = True
        if self._note is not None:
            self._note()

    async def receive(self) -> Message:
        message = await self._receive()
        self._has_more = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._is_known:
            await self._discard_body()
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)

    async def _discard_body(self) -> None:
        size = 0
        while self._has_more and size < MAX_DISCARDED_BYTES:
            size += len((await self.receive()).get("body", b""))
