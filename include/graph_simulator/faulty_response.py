"""Answers that do not arrive as they should: pages of HTML, halves of JSON, slow bodies, and connections that end."""

import asyncio
from typing import Any

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_simulator.calls import Reply
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_schedule import Fired

_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Sorry, something went wrong.</body></html>"
_TRANSPORT = "adwarm.transport"
_SLICES = 10
_CLOSING_SECONDS = 0.02


def befallen(fired: Fired, status: int, media: str, body: bytes) -> tuple[int, str, bytes]:
    """Return status, media type and body as the faults leave them; a truncated body is half of itself."""
    if fired.has(FaultKind.HTML_500):
        return 500, "text/html; charset=utf-8", _PAGE
    if fired.has(FaultKind.TRUNCATED):
        return status, media, body[: len(body) // 2]
    return status, media, body


class KnownTransport:
    """Hands the connection on to the answers, so that one of them can end it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope[_TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await self._app(scope, receive, send)


class WireResponse(Response):
    """A reply on its way to the caller, with what befalls it there."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body, status_code=reply.status, headers=dict(reply.headers))
        self._wire = reply.wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply, or what is left of it.

        Raises:
            ConnectionResetError: the connection is to be reset, and the server does not let it.
        """
        kind = None if self._wire is None else self._wire.kind
        if kind is FaultKind.RESET:
            await _end(scope.get(_TRANSPORT))
        elif kind is FaultKind.CUT_BODY:
            await self._send_start(send)
            await send({"type": "http.response.body", "body": self._half(), "more_body": True})
            await _end(scope.get(_TRANSPORT))
        elif kind is FaultKind.SLOW_BODY and self._wire is not None:
            await self._send_slowly(send, self._wire.seconds)
        else:
            await super().__call__(scope, receive, send)

    async def _send_start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _send_slowly(self, send: Send, seconds: float) -> None:
        await self._send_start(send)
        size = len(self.body) // _SLICES + 1
        for start in range(0, _SLICES * size, size):
            await asyncio.sleep(seconds / _SLICES)
            await send({"type": "http.response.body", "body": self.body[start : start + size], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _half(self) -> bytes:
        return bytes(self.body[: len(self.body) // 2])


async def _end(transport: Any) -> None:
    """End the connection and let the server notice, so that it does not answer after all."""
    if transport is None:
        raise ConnectionResetError("the simulator resets this connection")
    transport.abort()
    await asyncio.sleep(_CLOSING_SECONDS)
