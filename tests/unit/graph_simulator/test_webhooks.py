"""Webhooks are verified, signed, repeated and given up, on the platform's clock."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from graph_simulator import webhooks
from graph_simulator.app_state import AppState
from graph_simulator.config import SimulatorConfig, WebhookConfig
from graph_simulator.dataset import Dataset
from graph_simulator.error_responses import InvalidValue
from graph_simulator.http_app import create_app
from graph_simulator.webhooks import RETRY_DELAYS, WebhookSender, send_by_http
from tests.asgi_client import AsgiClient

URL = "http://127.0.0.1:9/hook"
START = datetime(2026, 9, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


@dataclass
class Callback:
    """A callback that answers as a test says.

    Attributes:
        status: of each POST.
        answers_challenge: whether the setup succeeds.
        bodies: what was accepted.
    """

    status: int = 200
    answers_challenge: bool = True
    bodies: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def __call__(self, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Answer a request."""
        self.requests.append((url, headers))
        if body is None:
            (challenge,) = parse_qs(urlsplit(url).query)["hub.challenge"]
            return (200, challenge.encode()) if self.answers_challenge else (403, b"")
        if 200 <= self.status < 300:
            self.bodies.append(body)
        return self.status, b""

    def notices(self) -> list[tuple[str, str]]:
        """Return ad and level of everything that was accepted."""
        entries = [entry for body in self.bodies for entry in json.loads(body)["entry"]]
        values = [change["value"] for entry in entries for change in entry["changes"]]
        return [(value["adgroup_id"], value["creative_fatigue_level"]) for value in values]


def make_sender(callback: Callback, ads: int = 20) -> WebhookSender:
    """A sender whose notices begin at START."""
    return WebhookSender(WebhookConfig(URL), Dataset(SimulatorConfig(accounts=2, ads=ads)), START, callback)


def test_notices_are_sent_once_and_signed() -> None:
    """The setup comes first, once; then each due notice is sent once, with a valid signature of its body."""
    callback = Callback()
    sender = make_sender(callback)
    assert sender.send_due(START) == []
    (delivery,) = sender.send_due(START + MONTH)
    assert (delivery.status, delivery.attempt, delivery.notices) == (200, 1, len(callback.notices()))
    assert sender.send_due(START + MONTH) == []
    sender.send_due(START + 2 * MONTH)
    assert len(callback.notices()) == len(set(callback.notices())) > 20
    setup = [parse_qs(urlsplit(url).query) for url, _ in callback.requests if "?" in url]
    assert [(query["hub.mode"], query["hub.verify_token"]) for query in setup] == [
        (["subscribe"], ["simulated-verify-token"])
    ]
    signature = callback.requests[1][1]["X-Hub-Signature-256"]
    expected = hmac.new(b"simulated-app-secret", callback.bodies[0], hashlib.sha256).hexdigest()
    assert signature == f"sha256={expected}"


def test_nothing_is_sent_before_the_callback_is_verified() -> None:
    """A callback that fails the setup gets no notice, and all of them once it passes."""
    callback = Callback(answers_challenge=False)
    sender = make_sender(callback)
    assert sender.send_due(START + MONTH) == []
    assert sender.send_between(START, START + MONTH, START + MONTH) == []
    callback.answers_challenge = True
    assert [delivery.status for delivery in sender.send_due(START + MONTH)] == [200]
    assert callback.notices()


def test_failures_are_repeated_and_then_given_up() -> None:
    """A failed delivery comes again after each delay, not earlier, and no more after the last."""
    callback = Callback(status=503)
    sender, now = make_sender(callback), START + MONTH
    sender.sent_until = now + MONTH  # no notice but those of the past month
    attempts = [delivery.attempt for delivery in sender.send_between(START, now, now)]
    for delay in RETRY_DELAYS:
        assert sender.send_due(now + delay - timedelta(seconds=1)) == []
        now += delay
        attempts += [delivery.attempt for delivery in sender.send_due(now)]
    assert attempts == [*range(1, len(RETRY_DELAYS) + 2)]
    assert sender.send_due(now + timedelta(days=1)) == []


def test_a_repeated_delivery_arrives() -> None:
    """A callback that was down gets the same bytes when it is back."""
    callback = Callback(status=0)
    sender = make_sender(callback)
    now = START + MONTH
    sender.send_due(now)
    callback.status = 204
    (delivery,) = sender.send_due(now + RETRY_DELAYS[0])
    assert (delivery.status, delivery.attempt) == (204, 2)
    assert len(callback.notices()) == delivery.notices


def test_a_reset_forgets_what_was_due() -> None:
    """After a reset neither failed nor earlier notices are sent."""
    callback = Callback(status=500)
    sender = make_sender(callback)
    sender.send_due(START + MONTH)
    callback.status = 200
    sender.reset(START + MONTH)
    assert sender.send_due(START + MONTH + timedelta(hours=1)) == []


def test_large_bodies_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """No body has more notices than the limit, which is a thousand, as at the platform."""
    assert webhooks.MAX_NOTICES == 1_000
    monkeypatch.setattr(webhooks, "MAX_NOTICES", 7)
    callback = Callback()
    deliveries = make_sender(callback).send_due(START + MONTH)
    assert len(deliveries) > 1
    assert max(delivery.notices for delivery in deliveries) == 7
    assert sum(delivery.notices for delivery in deliveries) == len(set(callback.notices()))


def test_http_errors_are_a_status() -> None:
    """A callback that does not answer is status 0."""
    assert send_by_http("http://127.0.0.1:9/", b"{}", {}) == (0, b"")


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "ftp://host/x", "http://", "http://host/x?y=1", "https://h#a"]
)
def test_the_callback_is_a_web_address(url: str) -> None:
    """Only http and https addresses without a query are taken."""
    with pytest.raises(InvalidValue, match="webhook URL"):
        WebhookConfig(url)


def test_the_control_route() -> None:
    """The control route sends the notices of a span now; without a webhook it says how to configure one."""
    callback = Callback()
    config = SimulatorConfig(accounts=2, ads=20, now=START + MONTH, webhook=WebhookConfig(URL))
    state = AppState(config)
    assert state.webhooks is not None
    state.webhooks.send = callback
    client = AsgiClient(create_app(config, state), "http://127.0.0.1:8900", client=("127.0.0.1", 50_000))
    span = {"after": START.isoformat()}
    callback.answers_challenge = False
    assert client.post("/control/webhooks", json=span).status_code == 409
    callback.answers_challenge = True
    (delivery,) = client.post("/control/webhooks", json=span).json()
    assert (delivery["status"], delivery["notices"]) == (200, len(callback.notices()))
    assert client.post("/control/webhooks", json={**span, "until": START.isoformat()}).json() == []
    assert client.post("/control/webhooks", json={"after": "2026-09-01T00:00:00"}).status_code == 422
    off = AsgiClient(create_app(SimulatorConfig()), "http://127.0.0.1:8900", client=("127.0.0.1", 50_000))
    assert "--webhook-url" in off.post("/control/webhooks", json=span).json()["detail"]
