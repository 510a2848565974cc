"""A platform driven in process, on a clock that moves only when told to."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adwarm.foundation.clock import VirtualClock
from graph_simulator.app_state import Platform
from graph_simulator.call import Call, Reply
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import read_storm

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TIME_RANGE = json.dumps({"since": "2026-11-01", "until": "2026-11-07"})
BASIC_FIELDS = "ad_id,impressions,reach,clicks,spend"


@dataclass
class SimulatorHarness:
    """A platform and the clock it runs on."""

    platform: Platform
    clock: VirtualClock

    def call(self, path: str, method: str = "GET", /, **params: Any) -> Reply:
        """Make one call with the right token and return the answer as it is."""
        given = {"access_token": "tok"} | {name: str(value) for name, value in params.items()}
        parts = tuple(part for part in path.split("/") if part)
        return self.platform.reply(Call("v26.0", parts, given, f"http://host/v26.0/{path}", method=method))

    def get(self, path: str, **params: Any) -> Any:
        """Return the body of an answer."""
        return json.loads(self.call(path, **params).body)

    def insights(self, account: str = "act_1", **params: Any) -> Reply:
        """Ask for a week of an account's ads."""
        asked = {"level": "ad", "fields": BASIC_FIELDS, "time_range": TIME_RANGE, "limit": 500, **params}
        return self.call(f"{account}/insights", **asked)

    def submit(self, account: str = "act_1", **params: Any) -> str:
        """Submit a week of an account's ads as a report, and return its id."""
        asked = {"level": "ad", "fields": BASIC_FIELDS, "time_range": TIME_RANGE, **params}
        return str(json.loads(self.call(f"{account}/insights", "POST", **asked).body)["report_run_id"])

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.moment += timedelta(seconds=seconds)


def error_codes(reply: Reply) -> tuple[int, int | None]:
    """Return code and subcode of an error's body."""
    error = json.loads(reply.body)["error"]
    return error["code"], error.get("error_subcode")


def make_simulator(storm: dict[str, Any] | None = None, **changes: Any) -> SimulatorHarness:
    """Return a fresh platform with a storm."""
    settings = {"now": NOW, "token": "tok", "ads": 6, "storm": read_storm(storm or {}, "storm"), **changes}
    platform = Platform(SimulatorConfig(**settings))
    clock = VirtualClock(NOW)
    platform.clock = clock
    platform.set_storm(platform.storm)
    return SimulatorHarness(platform, clock)
