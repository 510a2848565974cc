"""Faults in the response itself: HTML pages, truncated JSON, slow bodies, and connections that end early."""

import asyncio
from typing import Any

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_simulator.calls import Reply
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_schedule import ActiveFaults

_HTML_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Sorry, something went wrong.</body></html>"
_TRANSPORT = "graph_simulator.transport"
_SLICES = 10
_CLOSING_SECONDS = 0.02


def apply_to_body(faults: ActiveFaults, status: int, media: str, body: bytes) -> tuple[int, str, bytes]:
    """Return status, media type and body after the faults that change them; a truncated body is its first half."""
    if faults.has(FaultKind.HTML_500):
        return 500, "text/html; charset=utf-8", _HTML_PAGE
    if faults.has(FaultKind.TRUNCATED):
        return status, media, body[: len(body) // 2]
    return status, media, body


class TransportInScope:
    """ASGI middleware that puts the connection's transport into the scope, so that a response can abort it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        # ASGI has no way to abort a connection. uvicorn's `send` is a bound method of an object with the transport.
        scope[_TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await self._app(scope, receive, send)


class WireResponse(Response):
    """A response that sends a reply with the fault of its `wire`, if it has one."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body, status_code=reply.status, headers=dict(reply.headers))
        self._wire = reply.wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply, or the part of it that the fault leaves.

        Raises:
            ConnectionResetError: the connection should be reset, and the server gives no access to it.
        """
        kind = None if self._wire is None else self._wire.kind
        if kind is FaultKind.RESET:
            await _abort(scope.get(_TRANSPORT))
        elif kind is FaultKind.CUT_BODY:
            await self._send_start(send)
            half = bytes(self.body[: len(self.body) // 2])
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await _abort(scope.get(_TRANSPORT))
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


async def _abort(transport: Any) -> None:
    """Abort the connection, and wait until the server has noticed so that it does not respond after all."""
    if transport is None:
        raise ConnectionResetError("the simulator resets this connection")
    transport.abort()
    await asyncio.sleep(_CLOSING_SECONDS)
