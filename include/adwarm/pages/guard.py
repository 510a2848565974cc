"""What holds for every request of the page, whichever route it finds: limits, HEAD, headers, and no bare exception.

It is plain ASGI inside the application, so that a route that is added later cannot forget it.
"""

import logging
from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adwarm.foundation.redaction import log_unexpected

MAX_URL_BYTES: Final = 4_096
"""The most bytes of a path with its query; filters of a tab are in the query."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "Vary": "Cookie, Authorization",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer that does not set them itself."""
log = logging.getLogger(__name__)


class PageGuard:
    """ASGI middleware around the routes of the page.

    Args:
        describe_failure: returns the answer to a request whose route raised an error that nothing else answers.
    """

    def __init__(self, app: ASGIApp, describe_failure: Callable[[Exception], Response]) -> None:
        self._app = app
        self._describe_failure = describe_failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; HEAD is answered from GET, and websockets are closed."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, is_head=scope["method"] == "HEAD")
        if len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"]) > MAX_URL_BYTES:
            await Response("the address is too long", 414)(scope, receive, answer.send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            return
        except Exception as error:
            # The message of an unexpected error may hold anything, so it goes to the log, without secrets.
            log_unexpected(log, error, "the page failed to answer %s", scope["path"][:200])
            if answer.is_started:
                raise  # the server closes the connection, so that a cut answer is not taken for a whole one
            await self._describe_failure(error)(scope, receive, answer.send)


class _Answer:
    """Sends an answer with the headers that it lacks, and without a body for HEAD."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self._send = send
        self._is_head = is_head
        self.is_started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            names = {name.lower() for name, _ in message["headers"]}
            added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            missing = [pair for pair in added if pair[0] not in names]
            message = {**message, "headers": [*message["headers"], *missing]}
        elif self._is_head:
            message = {**message, "body": b""}
        await self._send(message)
