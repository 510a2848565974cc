"""Runs the simulator as `adwarm simulate` does, in a process of its own, so that it answers while this one works."""

import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from adwarm.foundation.errors import AdwarmError
from dev.up import find_free_port
from graph_simulator.calls import CallCounts

_START_SECONDS = 60.0


class SimulatorProcess:
    """A context manager that serves a simulated platform on a free loopback port.

    Args:
        folder: where its settings are written.
        zone: IANA time zone of the accounts' days.
        now: the moment at which its clock starts, UTC.

    Attributes:
        url: its address, known before it starts.

    Raises:
        AdwarmError: it does not start.
    """

    def __init__(self, folder: Path, zone: str, now: datetime) -> None:
        port, settings = find_free_port(8900), folder / "simulator.toml"
        settings.write_text(f"[platform]\nzone = {json.dumps(zone)}\n", encoding="utf-8")
        self.url = f"http://127.0.0.1:{port}"
        options = ["--port", str(port), "--faults", str(settings), "--at", now.isoformat(), "--json"]
        self._command = [sys.executable, "-m", "adwarm", "simulate", *options]
        self._http = httpx.Client(base_url=f"{self.url}/control", trust_env=False)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)  # noqa: S603 -- our own command
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_answering():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise AdwarmError("the simulator did not start; see its own message above")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def set_now(self, moment: datetime) -> None:
        """Set the platform's clock to `moment`, where it stands still."""
        self._send("POST", "clock", json={"now": moment.isoformat(), "frozen": True})

    def calls(self) -> CallCounts:
        """Return the counts of calls."""
        counts: CallCounts = self._send("GET", "calls")
        return counts

    def get_memory(self) -> int:
        """Return the memory that it takes, in bytes."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def _is_answering(self) -> bool:
        try:
            return self._http.get("calls").is_success
        except httpx.TransportError:
            return False

    def _send(self, method: str, path: str, **body: Any) -> Any:
        response = self._http.request(method, path, **body)
        response.raise_for_status()
        return response.json()

    def _stop(self) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait()
