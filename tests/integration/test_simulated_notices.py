"""Notices of the simulated platform arrive in the database of a real server, signed and over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from adwarm.foundation.clock import FrozenClock
from adwarm.runtime import Runtime
from adwarm.serving.api.server import serve_in_thread
from adwarm.settings import Settings
from adwarm.store import platform_fatigue
from graph_simulator.config import SimulatorConfig, WebhookConfig
from graph_simulator.fatigue_notices import list_notices
from graph_simulator.server import SimulatorServer

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=60)


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., object]:
    """Return a function that serves the API with an app secret and yields its runtime and the URL of the webhook."""

    @contextmanager
    def serving(secret: str) -> Iterator[tuple[Runtime, str]]:
        settings = Settings(
            home=tmp_path / "home",
            source={"app_secret": secret, "access_token": "simulated-token", "graph_url": "http://127.0.0.1:9"},
            serving={"webhook_verify_token": "simulated-verify-token"},
        )
        runtime = Runtime(settings, FrozenClock(NOW))
        with serve_in_thread(runtime.serving_application()) as url:
            yield runtime, f"{url}/v1/webhooks/meta"

    return serving


def _simulator(url: str) -> SimulatorServer:
    return SimulatorServer(SimulatorConfig(accounts=2, ads=20, now=NOW, webhook=WebhookConfig(url)))


def test_planted_fatigue_becomes_stored_notices(serve: Callable[..., Iterator[tuple[Runtime, str]]]) -> None:
    """Every planted notice is stored with its level and time, once, also when the platform sends it again."""
    with serve("simulated-app-secret") as (runtime, url), _simulator(url) as platform:  # type: ignore[attr-defined]
        for expected in (200, 200):
            (delivery,) = httpx.post(
                f"{platform.url}/control/webhooks", json={"after": SINCE.isoformat()}, trust_env=False
            ).json()
            assert delivery["status"] == expected
        for account in platform.state.dataset.account_ids():
            stored = platform_fatigue.list_since(runtime.engine, account, SINCE)
            planted = list_notices(platform.state.dataset, account, SINCE, NOW)
            assert [(item.ad_id, item.level.upper(), item.noticed_at) for item in stored] == [
                (item.ad_id, item.level, item.at) for item in planted
            ]
            assert len(stored) > 10
            assert {item.origin for item in stored} == {"webhook"}


def test_another_app_secret_stores_nothing(serve: Callable[..., Iterator[tuple[Runtime, str]]]) -> None:
    """With another secret than the platform's, every delivery is refused and repeated, and nothing is stored."""
    with serve("another-app-secret") as (runtime, url), _simulator(url) as platform:  # type: ignore[attr-defined]
        webhooks = platform.state.webhooks
        assert webhooks is not None
        assert [item.status for item in webhooks.send_between(SINCE, NOW, NOW)] == [403]
        assert [item.attempt for item in webhooks.send_due(NOW + timedelta(minutes=2))] == [2]
        assert platform_fatigue.list_since(runtime.engine, "act_100000000000001", SINCE) == []
