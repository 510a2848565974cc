"""The control routes serve programs on this machine, and no web page in one of its browsers."""

import pytest

from graph_simulator.caller_check import find_refusal
from graph_simulator.config import SimulatorConfig
from graph_simulator.http_app import PlatformApp
from tests.support.asgi_client import AsgiClient


def test_programs_on_this_machine_are_allowed(subtests: pytest.Subtests) -> None:
    """Loopback addresses and names, the bound name, and pages of the server itself."""
    for client, headers, bound in [
        ("127.0.0.1", {"host": "127.0.0.1:8900"}, "127.0.0.1"),
        ("127.0.0.1", {"host": "localhost"}, None),
        ("127.0.0.1", {"host": "LocalHost.:8900"}, None),
        ("127.0.0.2", {"host": "127.9.8.7:1"}, None),
        ("::1", {"host": "[::1]:8900"}, "0.0.0.0"),
        ("::ffff:127.0.0.1", {"host": "[::ffff:127.0.0.1]"}, None),
        ("127.0.0.1", {"host": "platform.test:8900"}, "Platform.test"),
        ("127.0.0.1", {"host": "127.0.0.1:8900", "origin": "http://127.0.0.1:8900"}, None),
    ]:
        with subtests.test(client=client, headers=headers, bound=bound):
            assert find_refusal(client, headers, "http", bound) is None


def test_everybody_else_is_refused(subtests: pytest.Subtests) -> None:
    """Another machine, a rebound name, and a page of another origin, each with its reason."""
    for client, headers, reason in [
        ("192.0.2.7", {"host": "127.0.0.1"}, "this machine only"),
        ("", {"host": "127.0.0.1"}, "this machine only"),
        ("127.0.0.1", {}, "Host"),
        ("127.0.0.1", {"host": "rebound.attacker.example:8900"}, "Host"),
        ("127.0.0.1", {"host": "127.0.0.1.attacker.example"}, "Host"),
        ("127.0.0.1", {"host": "localhost@attacker.example"}, "Host"),
        ("127.0.0.1", {"host": "attacker.example#localhost"}, "Host"),
        ("127.0.0.1", {"host": "192.0.2.7:8900"}, "Host"),
        ("127.0.0.1", {"host": "127.0.0.1:port"}, "Host"),
        ("127.0.0.1", {"host": "[::1"}, "Host"),
        ("127.0.0.1", {"host": "127.0.0.1:8900", "origin": "null"}, "origin"),
        ("127.0.0.1", {"host": "127.0.0.1:8900", "origin": ""}, "origin"),
        ("127.0.0.1", {"host": "127.0.0.1:8900", "origin": "https://attacker.example"}, "origin"),
        ("127.0.0.1", {"host": "127.0.0.1:8900", "origin": "http://127.0.0.1:3000"}, "origin"),
        ("127.0.0.1", {"host": "127.0.0.1:8900", "origin": "https://127.0.0.1:8900"}, "origin"),
    ]:
        with subtests.test(client=client, headers=headers, reason=reason):
            assert reason in str(find_refusal(client, headers, "http", "0.0.0.0"))


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/control/reset"), ("POST", "/control/faults"), ("GET", "/control/log")]
)
def test_a_refused_call_changes_nothing(method: str, path: str) -> None:
    """A page gets 403 on every control route; the platform's own routes do not look at Host or Origin."""
    app = PlatformApp(SimulatorConfig(ads=4))
    http = AsgiClient(app, "http://127.0.0.1:8900", client=("127.0.0.1", 50_000))
    for headers in ({"Host": "attacker.example"}, {"Origin": "https://attacker.example"}):
        answer = http.request(method, path, headers=headers, json={"fault": [{"kind": "transient_1"}]})
        assert answer.status_code == 403
        assert "the control routes" in answer.json()["detail"]
        assert http.get("/v26.0/act_1", params={"access_token": "simulated-token"}, headers=headers).status_code == 200
