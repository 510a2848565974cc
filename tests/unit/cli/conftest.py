"""Fixtures that call the command line in this process, against a simulated platform."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from adwarm.cli import main
from adwarm.model import ReportKey
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import schema
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.support.schema_template import SchemaTemplate
from tests.support.user_log import UserLog


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


@pytest.fixture(scope="session")
def running_platform() -> Iterator[SimulatorServer]:
    """A simulated platform with three accounts."""
    with SimulatorServer(SimulatorConfig(accounts=("act_1", "act_2", "act_3"), ads=2)) as server:
        yield server


@pytest.fixture(scope="module")
def platform(running_platform: SimulatorServer) -> SimulatorServer:
    """The simulated platform without earlier calls, shared by the tests of a module."""
    running_platform.reset()
    return running_platform


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
    # Airflow, in the same worker, leaves a handler that writes log lines to standard output.
    own = [handler for handler in logging.root.handlers if type(handler) is not logging.StreamHandler]
    monkeypatch.setattr(logging.root, "handlers", own)

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


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory, schema_template: SchemaTemplate) -> Path:
    """A folder with a log of four weeks in which one report is opened at nine every day, and a home that learned it."""
    from adwarm.forecast.training.train import train_and_promote
    from adwarm.patterns.ingest.run import ingest

    folder = tmp_path_factory.mktemp("learned")
    writer = UserLog(folder / "log" / "a.jsonl")
    for day in range(1, 29):
        writer.append(datetime(2026, 10, day, 9, 5, tzinfo=UTC), ReportKey("act_1", "today"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "run_alone", schema_template.run_alone)
        runtime = Runtime(Settings(home=folder / "home", access_log={"url": str(folder / "log")}))
        until = datetime(2026, 10, 29, tzinfo=UTC)
        ingest(runtime.context, until)
        train_and_promote(runtime.context, until, until)
    runtime.engine.dispose()
    return folder


@pytest.fixture
def learn_forecast(home: Path, learned: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that gives a home in which no command ran yet a forecast and its log."""

    def learn() -> None:
        shutil.copytree(learned / "home", home)
        monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(learned / "log"))

    return learn
