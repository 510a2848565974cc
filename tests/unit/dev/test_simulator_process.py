"""The demo's simulator answers in a process of its own, at the moments that the demo sets."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from adwarm.foundation.errors import AdwarmError
from dev.environment import TOKEN
from dev.simulator_process import SimulatorProcess
from graph_simulator.request_handler import VERSIONS

NOW = datetime(2013, 3, 29, 4, 30, tzinfo=UTC)
pytestmark = pytest.mark.slow


def test_a_process_answers_with_the_zone_and_the_clock_that_are_set_real_clock(tmp_path: Path) -> None:
    """Calls are counted, days are those of the zone, the clock stands still, and the process ends with the block."""
    with SimulatorProcess(tmp_path, "America/New_York", datetime(2013, 3, 28, tzinfo=UTC)) as simulator:
        simulator.set_now(NOW)
        parameters = {"access_token": TOKEN, "fields": "timezone_name"}
        answers = [httpx.get(f"{simulator.url}/{VERSIONS[0]}/act_1", params=parameters) for _ in range(2)]
        assert [answer.json()["timezone_name"] for answer in answers] == ["America/New_York"] * 2
        assert {answer.headers["date"] for answer in answers} == {"Fri, 29 Mar 2013 04:30:00 GMT"}
        assert simulator.calls()["total"] == 2
        assert simulator.get_memory() > 2**20
    with pytest.raises(httpx.TransportError):
        httpx.get(simulator.url)


def test_a_process_that_does_not_start_is_an_error_real_clock(tmp_path: Path) -> None:
    """A zone that does not exist ends the command, and the demo says so in one line."""
    with pytest.raises(AdwarmError, match="the simulator did not start"), SimulatorProcess(tmp_path, "Nowhere", NOW):
        pass
