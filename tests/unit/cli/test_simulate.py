"""`adwarm simulate` passes its options to the simulator."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adwarm.cli import main
from graph_simulator import server
from graph_simulator.config import SimulatorConfig

ROOT = Path(__file__).resolve().parents[3]


def simulate(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[list[SimulatorConfig], object]:
    """Run the command without serving; return the configurations it would serve, and its exit code."""
    served: list[SimulatorConfig] = []
    monkeypatch.setattr(server, "run_forever", lambda config, host, port: served.append(config))
    monkeypatch.setattr(sys, "argv", ["adwarm", "simulate", *words])
    try:
        main()
    except SystemExit as stop:
        return served, stop.code
    return served, 0


def test_the_command_of_the_docs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Accounts, ads, seed, faults, scale and time are passed on; the address and the token are printed."""
    storm = str(ROOT / "examples/storm.toml")
    words = ["--accounts", "200", "--ads", "50", "--seed", "7", "--faults", storm, "--time-scale", "120"]
    served, code = simulate(monkeypatch, *words, "--at", "2026-11-25T12:00:00Z", "--decoys", "0.4")
    config = served[0]
    assert code in {0, None}
    assert (config.accounts, config.ads, config.seed, config.time_scale, config.decoys) == (200, 50, 7, 120, 0.4)
    assert config.now == datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    assert config.fault_profile.quota is not None
    assert "simulated-token" in capfd.readouterr().out


def test_an_invalid_faults_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The error on an invalid faults file names the field, and nothing is served."""
    storm = tmp_path / "storm.toml"
    storm.write_text('[[fault]]\nkind = "hail"\n', encoding="utf-8")
    served, code = simulate(monkeypatch, "--faults", str(storm))
    assert (served, code in {0, None}) == ([], False)
    assert "fault.0.kind" in capfd.readouterr().err.replace("\n", "")
