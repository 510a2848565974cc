"""A drain that is killed in the middle of a batch: its requests return after the lease, and all of them end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.model import Priority, ReportKey
from adwarm.runtime import Runtime
from adwarm.store.requests import RequestStatus
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.support.fork_server import ForkServer
from tests.support.kill import wait_until

pytestmark = pytest.mark.slow

LEASE_SECONDS = 1.0
DRAIN = "tests.faults.batch_worker:drain"


@pytest.fixture
def runtime(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A runtime on either database, and a platform with some latency."""
    with SimulatorServer(SimulatorConfig(ads=3, latency_ms=60)) as platform:
        values = {
            "HOME": str(tmp_path / "home"),
            "DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "WORKERS": "2",
            "SOURCE__GRAPH_URL": platform.url,
            "SOURCE__ACCESS_TOKEN": "simulated-token",
            "BACKPRESSURE__LEASE_SECONDS": str(LEASE_SECONDS),
            "RECOVERY__INITIAL_DELAY_SECONDS": "0",
        }
        for name, value in values.items():
            monkeypatch.setenv(f"ADWARM_{name}", value)
        yield Runtime()


def _processing(runtime: Runtime) -> int:
    return runtime.queue.status().classes[Priority.NORMAL].processing


def test_a_killed_drain_loses_no_request(runtime: Runtime, fork_server: ForkServer) -> None:
    """After SIGKILL another worker claims the requests once their lease expires, and every request completes."""
    tickets = [runtime.queue.enqueue(ReportKey(f"act_{n}", "last_7d"), Priority.NORMAL) for n in range(1, 9)]
    environment = {name: value for name, value in os.environ.items() if name.startswith("ADWARM_")}
    killed = fork_server.start(DRAIN, environment=environment)
    wait_until(lambda: _processing(runtime) or not killed.is_running, "it takes a request")
    killed.kill()
    killed.finish()

    processing = _processing(runtime)
    while runtime.queue.status().to_dict()["pending"] or _processing(runtime):
        assert fork_server.start(DRAIN, environment=environment).finish() == 0
    ended = [result for ticket in tickets if (result := runtime.queue.find(ticket.id))]
    assert processing
    assert [item.status for item in ended] == [RequestStatus.COMPLETED] * len(tickets)
    assert sum(item.attempts == 2 for item in ended) == processing
