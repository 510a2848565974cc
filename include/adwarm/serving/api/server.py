"""Runs an ASGI application in one process or several, with limits on what an anonymous client can make one hold."""

import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp

from adwarm.foundation.errors import BadRequest
from adwarm.serving.api.connections import ConnectionLimit, build_protocol, missing_limits
from adwarm.serving.services import WORKERS_FOLDER

try:  # not uvicorn's public interface, and older ones lack the last name; `uvicorn.run` then starts the workers
    from uvicorn.supervisors.multiprocess import Multiprocess, Process

    _ = Process.wait_until_ready
except (ImportError, AttributeError):
    Multiprocess = None  # type: ignore[misc,assignment]

KEEP_ALIVE_SECONDS: Final = 75
"""How long a connection stays open between two requests."""
DRAIN_SECONDS: Final = 35
"""How long running requests may take once the server stops; longer than the longest wait for a report."""
MAX_CONNECTIONS: Final = 4_096
"""The most connections at a time, where the limit of open files allows them."""
OTHER_FILES: Final = 512
"""Open files that are left to databases, caches and imports, and to connections that come at once (`_BACKLOG`)."""
_BACKLOG: Final = 256
_START_SECONDS: Final = 60
"""How long a worker may take to start, or to say that it lives."""
_SWITCH_SECONDS: Final = 0.0005
_NOT_STARTED: Final = "the application did not start; the log says why"
log = logging.getLogger(__name__)


class QuietServer(uvicorn.Server):
    """A server that says when it is ready, and ends without a signal."""

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


class Supervisor(Multiprocess or object):  # type: ignore[misc]
    """Starts the workers of one port, and another one for each that ends.

    Args:
        on_ready: called once each of them answers requests.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], on_ready: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._on_ready = on_ready
        self.started = False

    def init_processes(self) -> None:
        """Start the workers, and wait until all of them are ready; else the run ends."""
        super().init_processes()
        self.started = all(process.wait_until_ready(_START_SECONDS) for process in self.processes)
        if self.started:
            self._on_ready()
        else:
            self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that ended; what they counted counts on, but nothing waits in them."""
        before = [process.pid for process in self.processes]
        super().keep_subprocess_alive()
        for pid in set(before) - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


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
        port: port to listen on; 0 for any free one.
        on_ready: called with the URL once requests are answered.

    Raises:
        BadRequest: the address is in use or cannot be used.
    """
    listening = _listen(host, port)
    url = _url(listening)
    favor_loop()
    server = QuietServer(uvicorn.Config(app, **_options()), lambda: on_ready(url))
    try:
        server.run([listening])
    finally:
        listening.close()
    if not server.started:
        raise BadRequest(_NOT_STARTED)


def run_workers(build: str, workers: int, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve from several processes on one port, until SIGTERM or SIGINT; SIGHUP replaces them one after the other.

    A worker that ends, whatever ends it, loses the requests that it was answering, and is replaced.

    Args:
        build: module and name of the function that returns the application of a worker.
        on_ready: called with the URL once all of them answer.

    Raises:
        BadRequest: the address is in use or cannot be used, or a worker does not start.
    """
    listening = _listen(host, port)
    url = _url(listening)
    try:
        with tempfile.TemporaryDirectory(prefix="adwarm-metrics-") as folder:
            os.environ[WORKERS_FOLDER] = folder
            options = _options() | {"factory": True, "workers": workers}
            if Multiprocess is None:
                listening.close()
                on_ready(url)
                uvicorn.run(build, host=host, port=urlsplit(url).port or port, **options)
                return
            supervisor = Supervisor(uvicorn.Config(build, **options), [listening], lambda: on_ready(url))
            supervisor.run()
    finally:
        listening.close()
    if not supervisor.started:
        raise BadRequest(_NOT_STARTED)


def end_with_supervisor() -> None:
    """Let this worker stop as with SIGTERM when its supervisor is gone, which then frees the port."""
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def wait() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="adwarm-supervisor", daemon=True).start()


def favor_loop() -> None:
    """Let readers wait less for other work of this process, which does nothing but serve.

    A thread gives way to the event loop after half a millisecond instead of five, and what was imported is not part of
    later garbage collections, each of which would take a tenth of a second.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()


@contextmanager
def serve_in_thread(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread of its own while the block runs; yields the URL.

    At the end running requests end first, then the application's lifespan.

    Args:
        port: port to listen on; 0 for any free one.

    Raises:
        BadRequest: the address cannot be used, or the application does not start.
    """
    listening, is_decided = _listen(host, port), threading.Event()
    server = QuietServer(uvicorn.Config(app, **_options()), is_decided.set)

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


def _options() -> dict[str, Any]:
    connections = fit_connections()
    if missing_limits:
        log.warning("%s", missing_limits)
    return {
        "loop": "auto",  # uvloop where it is installed
        "http": "auto" if missing_limits else build_protocol(ConnectionLimit(connections)),
        "limit_concurrency": connections if missing_limits else None,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "log_level": logging.WARNING,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "backlog": _BACKLOG,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": DRAIN_SECONDS,
        "timeout_worker_healthcheck": _START_SECONDS,
    }


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise BadRequest(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another address with --host and --port"
        ) from None
