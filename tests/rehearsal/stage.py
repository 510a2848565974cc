"""Where an incident is rehearsed: a fresh home, a simulated platform, and a shell that records commands."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adwarm.forecast.training.train import train_and_promote
from adwarm.model import ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store.aggregates import watermark
from adwarm.store.database import write_transaction
from adwarm.store.jobs import table as warming_job
from adwarm.store.maintenance_steps import table as maintenance_step
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.rehearsal.transcripts import ROOT, Transcript
from tests.support.user_log import UserLog

_SECONDS = 120
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "USER")


class Stage:
    """A home whose source is a simulated platform, and the commands that were shown.

    Args:
        folder: an empty folder.
        platform: the simulated platform.
    """

    def __init__(self, folder: Path, platform: SimulatorServer) -> None:
        self.folder, self.platform = folder, platform
        self.home = folder / "home"
        self.shown: list[Transcript] = []
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("include", "plugins")),
            "ADWARM_HOME": str(self.home),
            "ADWARM_SOURCE__GRAPH_URL": platform.url,
            "ADWARM_SOURCE__ACCESS_TOKEN": "simulated-token",
            "ADWARM_RECOVERY__INITIAL_DELAY_SECONDS": "0",
            "ADWARM_BACKPRESSURE__CPU_PERCENT": "100",  # what else this machine does is not part of an incident
            "ADWARM_SERVING__PORT": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def set(self, **settings: str) -> None:
        """Set variables of the shell, without their prefix."""
        self.environment |= {f"ADWARM_{name}": value for name, value in settings.items()}

    def run(self, command: str) -> str:
        """Run commands and return what they print; nothing is recorded."""
        return self._run(command)[1]

    def show(self, step: str, command: str, *, code: int | None = None) -> str:
        """Run a command as a user types it, record it as a step of the page, and return what it prints.

        Args:
            step: name of the step.
            command: the command.
            code: the exit code that it must have; None when it does not matter, as behind a pipe.
        """
        ended, output = self._run(command)
        if code is not None and ended != code:
            raise AssertionError(f"{command} ended with {ended}: {output}")
        hidden = output.replace(str(self.folder), "/srv/adwarm")
        hidden = re.sub(r"127\.0\.0\.1:\d{2,5}", "127.0.0.1:PORT", hidden)
        self.shown.append(Transcript(step, command, hidden))
        return output

    def _run(self, command: str) -> tuple[int, str]:
        process = subprocess.run(
            ["bash", "-c", f"exec 2>&1; {command}"],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=_SECONDS,
        )  # fmt: skip
        return process.returncode, process.stdout

    @contextmanager
    def runtime(self) -> Iterator[Runtime]:
        """Return the installation of the shell in this process."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield Runtime(Settings(home=self.home, database_url=self.environment.get("ADWARM_DATABASE_URL")))
        finally:
            os.environ.clear()
            os.environ.update(before)

    def fail_calls(self, kind: str, **values: Any) -> None:
        """Let every call of the platform fail with a kind of fault."""
        profile = parse_fault_profile({"fault": [{"kind": kind, "rate": 1.0, **values}]}, "the stage")
        self.platform.state.set_fault_profile(profile)

    def heal_platform(self) -> None:
        """Let the platform work again."""
        self.platform.state.set_fault_profile(parse_fault_profile({}, "x"))

    def write_log(self, days: int = 28) -> Path:
        """Write an access log in which a report is opened every morning, up to today."""
        log, now = UserLog(self.folder / "log/opens.jsonl"), datetime.now(UTC)
        for day in range(days, 0, -1):
            for minute in (5, 20):
                at = (now - timedelta(days=day)).replace(hour=9, minute=minute)
                log.append(at, ReportKey("act_1", "yesterday"))
        log.append(now - timedelta(hours=2), ReportKey("act_1", "yesterday"))
        self.set(ACCESS_LOG__URL=str(self.folder / "log"))
        return log.path

    def read_log(self) -> None:
        """Read the access log as the DAG does."""
        with self.runtime() as runtime:
            ingest(Runtime().context, runtime.clock.now())

    def learn(self) -> None:
        """Read the access log and train a forecast, as the DAG does."""
        with self.runtime() as runtime:
            context, until = Runtime().context, runtime.clock.now()
            ingest(context, until)
            train_and_promote(context, until, until)

    def stop_schedules(self, hours: float) -> None:
        """Let the last run of each DAG be some hours ago."""
        at = datetime.now(UTC) - timedelta(hours=hours)
        with self.runtime() as runtime, write_transaction(runtime.engine) as connection:
            connection.execute(maintenance_step.update().values(started_at=at, finished_at=at))
            connection.execute(warming_job.update().values(started_at=at))
            connection.execute(watermark.update().values(updated_at=at, until=at))

    def kill_when(self, command: str, is_reached: Callable[[], bool]) -> None:
        """Start a command, and kill it without warning once something is true."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + _SECONDS
        while not is_reached() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """Return a stage in an empty folder; its platform has three accounts."""
    config = SimulatorConfig(accounts=("act_1", "act_2", "act_3"), ads=2)
    with SimulatorServer(config) as platform:
        yield Stage(folder, platform)
