"""`adwarm simulate` as a process of its own, and third-party clients in environments of their own."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".adwarm/interop"
ACCOUNTS = ("act_100000000000001", "act_100000000000002")
SINCE = date.today() - timedelta(60)
UNTIL = SINCE + timedelta(4)
QUICK = {"base_seconds": 0.4, "seconds_per_1000_cells": 0.05, "full_seconds": 0.2, "spread": 0}
FIELDS = ["impressions", "reach", "clicks", "spend", "actions", "campaign_name"]


@dataclass(frozen=True)
class Simulator:
    """A running simulator. The tests use days that are so old that their figures no longer change."""

    url: str

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call a control route and return its response."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def behave(self, *faults: dict[str, Any]) -> None:
        """Reset the simulator and set these faults, with fast reports."""
        self.ask("/control/reset", {})
        self.ask("/control/faults", {"reports": QUICK, "fault": list(faults)})

    def truth(self, account: str, level: str, *, daily: bool = True) -> set[tuple[Any, ...]]:
        """The true totals of an account from `SINCE` to `UNTIL`, as comparable tuples."""
        query = f"account={account}&level={level}&since={SINCE}&until={UNTIL}&daily={str(daily).lower()}"
        return {
            (row["id"], row["since"], row["impressions"], row["reach"], row["clicks"], row["spend_cents"])
            for row in self.ask(f"/control/sums?{query}")
        }


def totals_of(rows: Iterable[dict[str, Any]], level: str) -> list[tuple[Any, ...]]:
    """The totals of a client's rows, as comparable tuples."""
    numbers = ("impressions", "reach", "clicks")
    return [
        (row[f"{level}_id"], row["date_start"], *(int(row[name]) for name in numbers), round(float(row["spend"]) * 100))
        for row in rows
    ]


def run(environment: str, program: str, *words: str, home: Path) -> str:
    """Run a program of this folder in an environment and return its output."""
    python = ENVIRONMENTS / environment / "bin/python"
    if not python.exists():
        pytest.fail(f"{python} is not there; run these tests by `make test-interop`")
    variables = {"AIRFLOW_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin", "NO_PROXY": "*"}
    command = [str(python), str(HERE / "programs" / program), *words]
    done = subprocess.run(command, env=variables, cwd=home, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """A simulator with two accounts of eight ads, for all tests."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["simulate", "--port", str(port), "--accounts", "2", "--ads", "8"]
    process = subprocess.Popen([sys.executable, "-m", "adwarm", *words], stdout=subprocess.DEVNULL)
    simulator = Simulator(f"http://127.0.0.1:{port}")
    try:
        _wait_for(simulator, process)
        yield simulator
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(simulator: Simulator, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            simulator.ask("/control/calls")
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("adwarm simulate did not start; see its own message above")
