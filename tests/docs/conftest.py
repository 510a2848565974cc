"""A copy of the repository in which the demo has run, and shells that work in it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.docs.blocks import ROOT

_MADE = (".venv", ".adwarm", "dist", "node_modules", "__pycache__", ".*_cache", ".hypothesis")
_LEFT_OUT = shutil.ignore_patterns(".git", *_MADE)  # another part of CI may be making some of it
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "PYTHONDONTWRITEBYTECODE")
_MAKE = """#!/bin/bash
# What is installed stays as it is. The demo has run already; another log of another run would take as long again.
if [ "$*" = demo ]; then
    log=$(realpath "${{ADWARM_ACCESS_LOG__URL:-examples/access_log.parquet}}")
    test "$log" = "$PWD/examples/access_log.parquet" && cat .adwarm/demo/output.txt && exit 0
fi
exec {make} -o .venv/.ready "$@"
"""
_BLOCK_SECONDS = 300


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository.

    Attributes:
        folder: where it is.
        demo: what `make demo` printed in it.
        graph_url: the simulated platform that stands for a configured account.
    """

    folder: Path
    demo: str
    graph_url: str

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables of a newcomer's shell: the virtual environment is active, a source is configured."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        paths = [self.folder / ".shims", self.folder / ".venv/bin", kept["PATH"]]
        return {
            **kept,
            "PATH": os.pathsep.join(map(str, paths)),
            # The installed package may be another checkout's; this one is tested.
            "PYTHONPATH": os.pathsep.join(str(self.folder / name) for name in ("include", "plugins")),
            "ADWARM_HOME": str(home),
            "AIRFLOW_HOME": str(home / "airflow"),
            "ADWARM_SOURCE__GRAPH_URL": self.graph_url,
            "ADWARM_SOURCE__ACCESS_TOKEN": "simulated-token",
            "NO_PROXY": "127.0.0.1,localhost",
        }


class Shell:
    """One bash that runs a page's blocks one after the other, so that variables stay set; `close` ends its children."""

    def __init__(self, checkout: Checkout, home: Path) -> None:
        self._log = home.with_suffix(".log")
        self._folder, self._environment = checkout.folder, checkout.environment(home)
        self._state = home.with_suffix(".state")
        self._groups: list[int] = []

    def run(self, text: str) -> tuple[int, str]:
        """Run commands until the first that fails, and return its exit code, 0 if there is none, and their output.

        `adwarm doctor` may end with 1: it says what is still to be set up.
        """
        state = self._state
        script = (
            f"set -eo pipefail\n[ ! -f {state} ] || source {state}\n"
            'adwarm() { command adwarm "$@" || [ "$1" = doctor ]; }\n'
            f"{text}\nexport -p > {state}\n"
        )
        with self._log.open("w+", encoding="utf-8") as log:
            process = subprocess.Popen(
                ["bash", "-c", script], cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
            self._groups.append(process.pid)
            code = process.wait(timeout=_BLOCK_SECONDS)
        return code, self._log.read_text(encoding="utf-8")

    def close(self) -> None:
        """End what the blocks left in the background."""
        for group in self._groups:
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                continue


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Return a copy of the repository in which `make demo` has run once."""
    folder = tmp_path_factory.mktemp("docs") / "adwarm"
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".shims").mkdir()
    make = folder / ".shims/make"
    make.write_text(_MAKE.format(make=shutil.which("make")), encoding="utf-8")
    make.chmod(0o755)
    with SimulatorServer(SimulatorConfig(accounts="any")) as simulator:
        empty = Checkout(folder, "", simulator.url)
        environment = {**empty.environment(folder / "unused"), "PATH": f"{folder}/.venv/bin:{os.environ['PATH']}"}
        done = subprocess.run(
            [str(shutil.which("make")), "-o", ".venv/.ready", "demo"],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1_200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / ".adwarm/demo/output.txt").write_text(done.stdout, encoding="utf-8")
        yield Checkout(folder, done.stdout, simulator.url)


@pytest.fixture
def shell(checkout: Checkout, tmp_path: Path) -> Iterator[Shell]:
    """Return a shell in the copy, with a fresh home."""
    made = Shell(checkout, tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
