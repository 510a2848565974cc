"""A server of workers, and a platform with some latency."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.support.fork_server import ForkServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Forks workers, for the whole session."""
    with ForkServer(path=[ROOT, ROOT / "include"]) as server:
        yield server


@pytest.fixture(scope="session")
def slow_platform() -> Iterator[SimulatorServer]:
    """A platform with some latency, so that a kill finds a worker in the middle of a call."""
    with SimulatorServer(SimulatorConfig(ads=2, latency_ms=40)) as server:
        yield server
