"""The simulator starts, serves and stops as a server."""

import json
import threading
from datetime import UTC, datetime
from urllib.request import ProxyHandler, build_opener

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.error_responses import ServerUnavailable
from graph_simulator.server import SimulatorServer

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CONFIG = SimulatorConfig(now=NOW, accounts=2, ads=2)


def fetch(url: str) -> dict[str, object]:
    """The JSON at a URL of this machine."""
    with build_opener(ProxyHandler({})).open(url, timeout=20) as answer:
        return json.load(answer)


def test_it_serves_and_stops() -> None:
    """Within the block it serves on its own port; afterwards neither thread nor port is left."""
    before = set(threading.enumerate())
    with SimulatorServer(CONFIG) as server:
        result = fetch(f"{server.url}/v26.0/me/adaccounts?access_token=simulated-token")
        assert len(result["data"]) == 2  # type: ignore[arg-type]
        assert server.calls()["total"] == 1
        port = int(server.url.rsplit(":", 1)[1])
    assert not [thread for thread in threading.enumerate() if thread not in before]
    with SimulatorServer(CONFIG, port) as again:
        assert again.calls()["total"] == 0


def test_two_at_once() -> None:
    """Two simulators run side by side, each with its own clock and counts."""
    with SimulatorServer(CONFIG) as one, SimulatorServer(CONFIG) as other:
        other.set_now(datetime(2020, 1, 1, tzinfo=UTC), frozen=True)
        fetch(f"{one.url}/v26.0/me/adaccounts?access_token=simulated-token")
        assert (one.calls()["total"], other.calls()["total"]) == (1, 0)
        assert one.state.clock.now() >= NOW
        assert other.state.clock.now() == datetime(2020, 1, 1, tzinfo=UTC)
        one.reset()
        assert one.calls()["total"] == 0


def test_a_taken_port_is_named() -> None:
    """A port in use is an error that names it."""
    with SimulatorServer(CONFIG) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with pytest.raises(ServerUnavailable, match=f":{port} "):
            SimulatorServer(CONFIG, port)
