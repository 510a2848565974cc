"""The simulator as a running server: in a thread beside the caller, or in the foreground until interrupted."""

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
from graph_simulator.faulty_response import KnownTransport
from graph_simulator.graph_errors import ServerUnavailable
from graph_simulator.http_app import create_app

_START_SECONDS = 20.0


class SimulatorServer:
    """A simulator on a loopback port for as long as the `with` block lasts.

    The port is bound at construction, so two servers never race for one. Its methods may be called from any thread.

    Attributes:
        url: what to set as `graph_url`.
        platform: the platform behind it, for tests that compare with the truth.
    """

    def __init__(self, config: SimulatorConfig, port: int = 0) -> None:
        self.state = AppState(config)
        self._socket = _listen("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(_uvicorn_config(config, self.state))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="adwarm-simulator", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self._stop()
                raise ServerUnavailable("the simulator did not start; see the server's own message above")
            self._thread.join(timeout=0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def set_now(self, moment: datetime, *, frozen: bool = False) -> None:
        """Let it be `moment` on the platform; time goes on from there unless `frozen`."""
        self.state.set_now(moment, frozen=frozen)

    def calls(self) -> CallCounts:
        """Return the counts of calls answered so far."""
        return self.state.calls.counts()

    def reset(self) -> None:
        """Forget calls, reports and quotas, and go back to the configured moment and behaviour."""
        self.state.reset()

    def _stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=_START_SECONDS)
        self._socket.close()


def run_forever(config: SimulatorConfig, host: str = "127.0.0.1", port: int = 8089) -> None:
    """Serve in the foreground until interrupted."""
    listening = _listen(host, port)
    try:
        uvicorn.Server(_uvicorn_config(config, AppState(config))).run([listening])
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=512)
    except OSError as error:
        raise ServerUnavailable(
            f"the simulator cannot listen on {host}:{port} ({error.strerror}); choose another port"
        ) from error


def _uvicorn_config(config: SimulatorConfig, platform: AppState) -> uvicorn.Config:
    return uvicorn.Config(
        KnownTransport(create_app(config, platform)),
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
