"""Runs an ASGI application in one process, with limits on what an anonymous client can make it hold."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from adwarm.foundation.errors import BadRequest

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ModuleNotFoundError:
    raise BadRequest(
        "the read API parses HTTP with httptools, which is not installed; run pip install 'adwarm[serve]'",
        code="no_httptools",
    ) from None

MAX_HEAD_BYTES: Final = 16_384
"""The most bytes of a request line with its headers."""
HEAD_SECONDS: Final = 10.0
"""How long a client may take to send them, from the start of its connection or of the request."""
KEEP_ALIVE_SECONDS: Final = 75
"""How long a connection stays open between two requests."""
DRAIN_SECONDS: Final = 35
"""How long running requests may take once the server stops; longer than the longest wait for a report."""
_BACKLOG: Final = 2_048
_MAX_CONNECTIONS: Final = 4_096
_TICKS_PER_SWEEP: Final = 10
_NOT_STARTED: Final = "the application did not start; the log says why"
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on the size and the time of a request's head, which uvicorn does not have."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.head_since: float | None = self.loop.time()
        """When the client began to send a head that is not complete; None while there is none."""
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived; a head that is too large ends the connection."""
        super().data_received(data)
        if self.head_since is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin the head of a request."""
        self.head_since, self._head_bytes = self.loop.time(), 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End the head of a request."""
        self.head_since = None
        super().on_headers_complete()


class BoundedServer(uvicorn.Server):
    """A server that closes connections whose client takes too long to send a request."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and then call `on_ready`."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second Ctrl-C does not wait for running requests.

        Unlike uvicorn's own, it does not send the signal again at the end: a process that has
        answered and stored everything exits with 0.
        """
        del frame
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Close slow connections once a second."""
        if counter % _TICKS_PER_SWEEP == 0:
            self.close_slow(asyncio.get_running_loop().time() - HEAD_SECONDS)
        return await super().on_tick(counter)

    def close_slow(self, oldest: float) -> None:
        """Close connections that have waited for the rest of a head since before `oldest` of the loop's clock."""
        connections: Any = self.server_state.connections
        for connection in list(connections):
            since = getattr(connection, "head_since", None)
            if since is not None and since < oldest:
                connection.transport.close()


def run_server(app: ASGIApp, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; running requests end first, then the application's lifespan.

    Args:
        app: what is served.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        on_ready: called with the URL once requests are answered.

    Raises:
        BadRequest: the address is in use or cannot be used.
    """
    listening = _listen(host, port)
    url = _url(listening)
    server = BoundedServer(_configure(app), lambda: on_ready(url))
    try:
        server.run([listening])
    finally:
        listening.close()
    if not server.started:
        raise BadRequest(_NOT_STARTED)


@contextmanager
def serve_in_thread(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread of its own while the block runs; yields the URL.

    At the end running requests end first, then the application's lifespan.

    Args:
        app: what is served.
        host: address to listen on.
        port: port to listen on; 0 for any free one.

    Raises:
        BadRequest: the address cannot be used, or the application does not start.
    """
    listening, is_decided = _listen(host, port), threading.Event()
    server = BoundedServer(_configure(app), is_decided.set)

    def run() -> None:
        try:
            with suppress(SystemExit):  # how uvicorn ends when the application does not start
                server.run([listening])
        finally:
            listening.close()
            is_decided.set()

    thread = threading.Thread(target=run, name="adwarm-serve", daemon=True)
    url = _url(listening)
    thread.start()
    is_decided.wait()
    try:
        if not server.started:
            raise BadRequest(_NOT_STARTED)
        yield url
    finally:
        server.should_exit = True
        thread.join()


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if listening.family == socket.AF_INET6 else f"http://{host}:{port}"


def _configure(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="auto",  # uvloop where it is installed
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise BadRequest(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another address with --host and --port"
        ) from None
