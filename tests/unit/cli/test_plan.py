"""`adwarm plan` after training."""

from pathlib import Path

import pytest

from graph_simulator.server import SimulatorServer

from .conftest import Adwarm, learn_forecast


def test_plan_and_patterns_after_training(
    adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: SimulatorServer
) -> None:
    """The plan shows key, probability and reason without a call; patterns show the peak hour."""
    learn_forecast(tmp_path, monkeypatch)
    calls = platform.calls()["total"]
    made = adwarm("plan", "--at", "2026-10-29T09:00:00+00:00", "--json").json
    assert (made["planned"], made["items"][0]["account_id"]) == (1, "act_1")
    shown = adwarm("plan", "--at", "2026-10-29T09:00:00+00:00")
    assert "1 of 1 keys" in shown.stdout.replace("\n", " ")
    assert adwarm("patterns", "--json").json
    assert "Opens in the 56 days before" in adwarm("patterns").stdout
    assert platform.calls()["total"] == calls
