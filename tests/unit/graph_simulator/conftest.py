"""Helpers that drive a platform in process, on a clock that stands still between calls."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from graph_simulator.app_state import AppState
from graph_simulator.calls import Call, Reply
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.platform_clock import PlatformClock

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
RANGE = json.dumps({"since": "2026-11-01", "until": "2026-11-07"})
PLAIN = "ad_id,impressions,reach,clicks,spend"


def ratio_text(value: float) -> str:
    """Return a ratio as recorded answers have it: rounded to six decimals, without zeros at the end."""
    return format(Decimal(f"{value:.6f}").normalize(), "f")


@dataclass
class Driven:
    """A platform with a frozen clock."""

    platform: AppState

    def call(self, path: str, method: str = "GET", /, **params: Any) -> Reply:
        """Make one call with a valid token and return its reply."""
        given = {"access_token": "tok"} | {name: str(value) for name, value in params.items()}
        parts = tuple(part for part in path.split("/") if part)
        return self.platform.reply(Call("v26.0", parts, given, f"http://host/v26.0/{path}", method=method))

    def get(self, path: str, **params: Any) -> Any:
        """Return the parsed body of a response."""
        return json.loads(self.call(path, **params).body)

    def insights(self, account: str = "act_1", **params: Any) -> Reply:
        """Request a week of an account's ads."""
        query_params = {"level": "ad", "fields": PLAIN, "time_range": RANGE, "limit": 500, **params}
        return self.call(f"{account}/insights", **query_params)

    def submit(self, account: str = "act_1", **params: Any) -> str:
        """Submit a week of an account's ads as a report, and return the run's id."""
        query_params = {"level": "ad", "fields": PLAIN, "time_range": RANGE, **params}
        return str(json.loads(self.call(f"{account}/insights", "POST", **query_params).body)["report_run_id"])

    def wait(self, seconds: float) -> None:
        """Advance the clock."""
        self.platform.advance(seconds)


def error_of(reply: Reply) -> tuple[int, int | None]:
    """Return code and subcode of an error response."""
    error = json.loads(reply.body)["error"]
    return error["code"], error.get("error_subcode")


def drive(profile: dict[str, Any] | None = None, **changes: Any) -> Driven:
    """Return a fresh platform with a fault profile."""
    settings = {
        "now": NOW,
        "token": "tok",
        "ads": 6,
        "fault_profile": parse_fault_profile(profile or {}, "profile"),
        **changes,
    }
    platform = AppState(SimulatorConfig(**settings))
    platform.clock = PlatformClock(NOW, frozen=True)
    platform.set_fault_profile(platform.fault_profile)
    return Driven(platform)
