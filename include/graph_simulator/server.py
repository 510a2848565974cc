"""Runs the simulator as a server: in a background thread, or in the foreground until interrupted."""

import asyncio
import socket
import threading
import time
from datetime import datetime
from types import TracebackType
from typing import Self

import uvicorn

from graph_simulator.app_state import AppState
from graph_simulator.calls import CallCounts
from graph_simulator.config import SimulatorConfig
from graph_simulator.error_responses import ServerUnavailable
from graph_simulator.faulty_response import TransportInScope
from graph_simulator.http_app import PlatformApp

_START_SECONDS = 20.0
_STOP_SECONDS = 2.0


class _PromptServer(uvicorn.Server):
    """Stops at once: the server of uvicorn looks ten times a second whether it should, and then waits as long."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Stop, from another thread; calls that are being served may end before."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        if not await self.on_tick(0):
            await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_STOP_SECONDS)


class SimulatorServer:
    """A context manager that serves a simulated platform on a loopback port. Thread-safe.

    The port is bound at construction, so two servers never race for one.

    Args:
        port: the port to listen on; 0 chooses a free one.

    Attributes:
        url: the address of the server, for the setting `graph_url`.
        state: the platform's state, for tests that compare with the planted truth.

    Raises:
        ServerUnavailable: the port is in use, or the server does not start.
    """

    def __init__(self, config: SimulatorConfig, port: int = 0) -> None:
        self.state = AppState(config)
        self._socket = _listen("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = _PromptServer(_uvicorn_config(config, self.state, "127.0.0.1"))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="adwarm-simulator", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_until_started()
        return self

    def _wait_until_started(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self._stop()
                raise ServerUnavailable("the simulator did not start; see the server's own message above")
            self._thread.join(timeout=0.005)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def set_now(self, moment: datetime, *, frozen: bool = False) -> None:
        """Set the platform's clock to `moment`; it runs on from there unless `frozen`."""
        self.state.set_now(moment, frozen=frozen)

    def calls(self) -> CallCounts:
        """Return the counts of calls since the last reset."""
        return self.state.calls.counts()

    def reset(self) -> None:
        """Clear calls, reports and used quota, and return to the configured moment and fault profile."""
        self.state.reset()

    def _stop(self) -> None:
        self._server.stop()
        self._thread.join(timeout=_START_SECONDS)
        self._socket.close()


def run_forever(config: SimulatorConfig, host: str = "127.0.0.1", port: int = 8089) -> None:
    """Serve a simulated platform in the foreground until interrupted.

    Raises:
        ServerUnavailable: the address is in use.
    """
    listening, state = _listen(host, port), AppState(config)
    try:
        uvicorn.Server(_uvicorn_config(config, state, host)).run([listening])
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=512)
    except OSError as error:
        raise ServerUnavailable(
            f"the simulator cannot listen on {host}:{port} ({error.strerror}); choose another port"
        ) from error


def _uvicorn_config(config: SimulatorConfig, state: AppState, host: str) -> uvicorn.Config:
    return uvicorn.Config(
        TransportInScope(PlatformApp(config, state, host)),
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(_STOP_SECONDS),
    )
