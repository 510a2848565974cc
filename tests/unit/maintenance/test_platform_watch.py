"""The use of apps against what the platform's upper tier asks for."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.platform_watch import (
    NOTHING,
    STEP,
    AppUsage,
    list_apps,
    list_connections,
    make_watch_platform,
)
from adwarm.maintenance.runner import StepBudget
from adwarm.model import Account
from adwarm.store import accounts, maintenance_steps, read_traffic
from adwarm.store.database import write_transaction
from adwarm.store.error_events import ErrorEvent, ErrorLog

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def facts(app: str, **more: Any) -> dict[str, Any]:
    """Return what the step keeps of a connection."""
    return {
        **NOTHING,
        "alerted": [],
        "problems": {},
        "app": app,
        "asked": "v26.0",
        "credential": "c",
        "read_at": NOW.isoformat(),
        **more,
    }


CONNECTIONS = {"eu": facts("app:1"), "us": facts("app:1"), "alone": facts("app:2", asked="v99.0")}


@pytest.fixture
def watched(engine: Engine) -> Engine:
    """Two connections of one app and one of another, each with an account."""
    with write_transaction(engine) as connection:
        connection.execute(
            maintenance_steps.table.insert(), [{"name": STEP, "cursor": CONNECTIONS, "started_at": NOW, "owner": ""}]
        )
    for number, name in enumerate(CONNECTIONS, start=1):
        accounts.save(engine, [Account(f"act_{number}", connection=name)], NOW)
    return engine


def test_use_is_by_app(watched: Engine) -> None:
    """Calls of 15 days and answers by an error add up over an app's connections; neither older calls nor timeouts."""
    rows = [("act_1", 300, 0), ("act_2", 250, 14), ("act_2", 900, 16), ("act_3", 40, 1)]
    with write_transaction(watched) as connection:
        connection.execute(
            read_traffic.table.insert(),
            [
                {"hour": NOW - timedelta(days=days), "account_id": name, "actor": "warmer", "upstream_calls": calls}
                for name, calls, days in rows
            ],
        )
    log = ErrorLog(watched)
    for name, code, count in (("eu", "100", 11), ("us", None, 50), ("alone", "80000/2446079", 8)):
        for _ in range(count):
            log.record(ErrorEvent(NOW, "meta", "BadRequest", "no", connection=name, code=code))
    first, second = list_apps(watched, NOW)
    assert (first, first.error_share) == (AppUsage("app:1", 550, 11), 0.02)
    assert (second, second.error_share) == (AppUsage("app:2", 40, 8), 0.2)


class Connection:
    """A source of a platform that changes; nothing is read, since what is stored of it is new."""

    credential = "c"
    capabilities = SimpleNamespace(api_version="v26.0")

    def __init__(self, name: str) -> None:
        self.connection = name

    def read_api_version(self) -> Any:
        """Return nothing."""

    def read_token_life(self) -> Any:
        """Return nothing."""


def test_a_run_alerts_once_about_what_ends(engine: Engine) -> None:
    """Tokens of many connections that end on one day, and their version, make one alert of each kind."""
    end = (NOW + timedelta(days=6)).isoformat()
    names = [f"agency {number}" for number in range(30)]
    cursor = {name: facts("app:1", token=[end, None], ends=end, is_soon=False) for name in names}
    calls = SimpleNamespace(factories=lambda: names, get_source=Connection)
    raised: list[tuple[str, str, str]] = []
    pipeline = SimpleNamespace(alert=lambda *alert: raised.append(alert))
    clock = VirtualClock(NOW)
    step = make_watch_platform(calls, pipeline, clock)  # type: ignore[arg-type]
    result = step(cursor, StepBudget.of(clock, 60))
    assert sorted((scope, kind) for scope, kind, _ in raised) == [
        ("30 connections", "ApiVersion"),
        ("30 connections", "TokenExpires"),
    ]
    assert all(f"connection {name}: " in text for _, _, text in raised for name in names)
    step(result.cursor, StepBudget.of(clock, 60))
    assert len(raised) == 2


def test_what_was_not_read_is_not_shown(watched: Engine) -> None:
    """A version whose end is not known shows none, and a token that was not read shows nothing."""
    by_name = {item["connection"]: item for item in list_connections(watched, NOW)}
    assert by_name["alone"]["version"] == "no end of version v99.0 of the API is known"
    assert by_name["eu"]["token"] == ""
    assert not by_name["eu"]["token_needs_look"]
