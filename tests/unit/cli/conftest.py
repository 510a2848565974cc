"""Fixtures that call the command line in this process, against a simulated platform."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from adwarm.cli import main
from adwarm.forecast.training.train import train_and_promote
from adwarm.model import ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.user_log import UserLog


@dataclass
class CommandResult:
    """Output and exit code of a command."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return orjson.loads(self.stdout)


Adwarm = Callable[..., CommandResult]
"""Runs the command line with the given arguments."""


@pytest.fixture(scope="module")
def platform() -> Iterator[SimulatorServer]:
    """A simulated platform with three accounts, shared by the tests of a module."""
    with SimulatorServer(SimulatorConfig(accounts=("act_1", "act_2", "act_3"), ads=2)) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home whose source is the simulated platform."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", platform.url)
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "simulated-token")
    monkeypatch.setenv("ADWARM_RECOVERY__INITIAL_DELAY_SECONDS", "0")
    return tmp_path / "home"


@pytest.fixture
def adwarm(home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Adwarm:
    """Return a function that runs the command line with its arguments and returns output and exit code."""

    def call(*words: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["adwarm", *words])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        sys.stdout.flush()
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call


def learn_forecast(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train a forecast on four weeks of a log in `folder` in which one report is opened at nine every day."""
    writer = UserLog(folder / "log" / "a.jsonl")
    for day in range(1, 29):
        writer.append(datetime(2026, 10, day, 9, 5, tzinfo=UTC), ReportKey("act_1", "today"))
    monkeypatch.setenv("ADWARM_ACCESS_LOG_URL", str(folder / "log"))
    runtime, until = Runtime(), datetime(2026, 10, 29, tzinfo=UTC)
    ingest(runtime.context, until)
    train_and_promote(runtime.context, until, until)
