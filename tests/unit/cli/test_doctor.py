"""`adwarm doctor`: each check, and what it says to fix."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

from .conftest import Adwarm, learn_forecast


def test_the_doctor_sees_every_room(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a log two rooms need fixing and say how; with one all is well."""
    said = adwarm("doctor", "--json")
    assert said.exit_code == 1
    wrong = {check["name"]: check["detail"] for check in said.json if not check["ok"]}
    assert set(wrong) == {"access log", "forecast"}
    assert "ADWARM_ACCESS_LOG_URL" in wrong["access log"]
    learn_forecast(tmp_path, monkeypatch)
    healthy = adwarm("doctor")
    assert healthy.exit_code == 0
    assert "FIX" not in healthy.stdout


def test_the_doctor_compares_clocks(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that differs from the platform's by more than an hour is named, and which way it is wrong."""
    with SimulatorServer(SimulatorConfig(ads=1, now=datetime.now(UTC) - timedelta(days=60))) as behind:
        monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", behind.url)
        (check,) = [check for check in adwarm("doctor", "--json").json if check["name"] == "clock"]
    assert not check["ok"]
    assert "1440.0 h ahead of the platform's" in check["detail"]


def test_the_doctor_of_bad_settings(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is wrong is the first thing a doctor says."""
    monkeypatch.setenv("ADWARM_WORKERS", "none")
    (check,) = adwarm("doctor", "--json").json
    assert (check["ok"], "ADWARM_WORKERS" in check["detail"]) == (False, True)
