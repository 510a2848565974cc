"""Runs an ASGI application in one process, with limits on what an anonymous client can make it hold."""

import asyncio
import logging
import resource
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
from adwarm.serving.api.connections import ConnectionLimit, build_protocol

KEEP_ALIVE_SECONDS: Final = 75
"""How long a connection stays open between two requests."""
DRAIN_SECONDS: Final = 35
"""How long running requests may take once the server stops; longer than the longest wait for a report."""
MAX_CONNECTIONS: Final = 4_096
"""The most connections at a time, where the limit of open files allows them."""
OTHER_FILES: Final = 512
"""Open files that are left to databases, caches and imports, and to connections that come at once (`_BACKLOG`)."""
_BACKLOG: Final = 256
_TICKS_PER_SWEEP: Final = 10
_NOT_STARTED: Final = "the application did not start; the log says why"
log = logging.getLogger(__name__)


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
            self.close_overdue(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def close_overdue(self, now: float) -> None:
        """Close the connections whose client takes too long, at `now` of the loop's clock."""
        connections: Any = self.server_state.connections
        for connection in list(connections):
            if connection.is_overdue(now):
                connection.transport.abort()


def fit_connections() -> int:
    """Return how many connections may be open at a time; raises the soft limit of open files as far as they need it.

    Where the hard limit is lower than that, there may be fewer, and the log says so.
    """
    needed = MAX_CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return MAX_CONNECTIONS
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files stays at %d: %s", soft, error)
        allowed = soft
    connections = max(1, min(MAX_CONNECTIONS, allowed - OTHER_FILES))
    if connections < MAX_CONNECTIONS:
        log.warning("at most %d connections at a time: %d open files are allowed", connections, allowed)
    return connections


def run_server(app: ASGIApp, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; running requests end first, then the application's lifespan.

    Args:
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
    protocol = build_protocol(ConnectionLimit(fit_connections()))
    return uvicorn.Config(
        app,
        loop="auto",  # uvloop where it is installed
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
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
