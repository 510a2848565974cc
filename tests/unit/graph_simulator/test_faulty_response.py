"""What a client of a real server sees of faulty responses."""

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.http_app import PlatformApp
from graph_simulator.server import SimulatorServer
from tests.support.asgi_client import AsgiClient

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
PATH = "/v26.0/act_1?access_token=simulated-token&fields=currency,name"


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    """A running simulator."""
    with SimulatorServer(SimulatorConfig(now=NOW, ads=2)) as running:
        yield running


def fetch(server: SimulatorServer, kind: str | None = None, **rule: Any) -> tuple[http.client.HTTPResponse, bytes]:
    """One call to a platform with one fault."""
    faults = [] if kind is None else [{"kind": kind, **rule}]
    server.state.set_fault_profile(parse_fault_profile({"fault": faults}, "profile"))
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]), timeout=20)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_reset(server: SimulatorServer) -> None:
    """A reset ends the connection before any byte of a response, and the server keeps running."""
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        fetch(server, "reset")
    assert fetch(server)[0].status == 200


def test_cut_body(server: SimulatorServer) -> None:
    """A cut body is shorter than its Content-Length."""
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        fetch(server, "cut_body")


def test_truncated_json(server: SimulatorServer) -> None:
    """A truncated response is complete HTTP with incomplete JSON."""
    answer, body = fetch(server, "truncated")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=UTF-8")
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_a_slow_body_arrives_whole(server: SimulatorServer) -> None:
    """A slow body is the same body."""
    assert fetch(server, "slow_body", seconds=0.05)[1] == fetch(server)[1]


def test_html_page(server: SimulatorServer) -> None:
    """An HTML page with status 500 replaces the body, and keeps the usage headers."""
    answer, body = fetch(server, "html_500")
    assert (answer.status, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert body.startswith(b"<!DOCTYPE html>")
    assert answer.headers["X-App-Usage"]


def test_clock_skew(server: SimulatorServer) -> None:
    """The Date header is the platform's time plus the skew."""
    server.set_now(NOW, frozen=True)
    assert fetch(server)[0].headers["date"] == "Wed, 25 Nov 2026 12:00:00 GMT"
    assert fetch(server, "clock_skew", seconds=-3600)[0].headers["date"] == "Wed, 25 Nov 2026 11:00:00 GMT"


def test_reset_without_access_to_the_connection() -> None:
    """Without access to the connection, a reset is an error of the server."""
    profile = parse_fault_profile({"fault": [{"kind": "reset"}]}, "profile")
    client = AsgiClient(PlatformApp(SimulatorConfig(fault_profile=profile)))
    with pytest.raises(ConnectionResetError):
        client.get(PATH)
