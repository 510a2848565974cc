"""The command line as a person calls it, in process, against a simulated platform."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from adwarm.cli import main
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer


@dataclass
class CommandResult:
    """What a command said, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return orjson.loads(self.stdout)


@pytest.fixture(scope="module")
def platform() -> Iterator[SimulatorServer]:
    """A platform of three accounts for the tests of a module."""
    with SimulatorServer(SimulatorConfig(accounts=("act_1", "act_2", "act_3"), ads=2)) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home whose source is the platform."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", platform.url)
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "simulated-token")
    monkeypatch.setenv("ADWARM_RECOVERY__INITIAL_DELAY_SECONDS", "0")
    return tmp_path / "home"


@pytest.fixture
def adwarm(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., CommandResult]:
    """Call a command line and return what it said; only exits it means to make are let through."""

    def call(*words: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["adwarm", *words])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        sys.stdout.flush()
        heard = capfd.readouterr()
        return CommandResult(code, heard.out, heard.err)

    return call
