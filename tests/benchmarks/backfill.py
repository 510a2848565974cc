"""Ninety days of two hundred accounts: how many requests they take, and what a kill in the middle costs.

`adwarm backfill run` fills two homes from the same simulated platform. The first run is not disturbed; the second is
killed (SIGKILL) after half of the requests, and started again.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import requests
from sqlalchemy import select

from adwarm.foundation.clock import FrozenClock
from adwarm.model import Window
from adwarm.runtime import Runtime
from adwarm.store import read_transaction
from adwarm.store.partitions import table as partition
from tests.benchmarks.measure import sized
from tests.benchmarks.meta import digest, runtime_at
from tests.benchmarks.targets import TargetResults

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RANGE = Window(date(2026, 7, 23), date(2026, 10, 20))
LIMIT_PER_ACCOUNT = 12.5
"""Under 2,500 for 200 accounts of 50 ads."""
_START_SECONDS = 30.0
_WORKER = "from adwarm.cli import main; main()"


@dataclass
class Platform:
    """A simulated platform in a process of its own."""

    url: str

    def calls(self) -> int:
        """Return how many calls the platform has received."""
        return int(requests.get(f"{self.url}/control/calls", timeout=10).json()["total"])


@dataclass
class Home:
    """A home, and the backfill that fills it."""

    folder: Path
    platform: Platform
    lease: float

    def start(self) -> subprocess.Popen[bytes]:
        """Start the backfill."""
        words = ["backfill", "run", "--from", str(RANGE.since), "--to", str(RANGE.until), "--at", NOW.isoformat()]
        return subprocess.Popen(
            [sys.executable, "-c", _WORKER, *words, "--json"],
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def finish(self, running: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait until it ends and return its output."""
        out, _ = running.communicate()
        if running.returncode:
            raise SystemExit(f"the backfill ended with {running.returncode}: {out.decode()[:500]}")
        found: dict[str, Any] = orjson.loads(out)
        return found

    def runtime(self) -> Runtime:
        """Return a runtime of the home."""
        return runtime_at(self.folder, self.platform.url, FrozenClock(NOW))

    def _environment(self) -> dict[str, str]:
        values = {
            "HOME": str(self.folder),
            "SOURCE__GRAPH_URL": self.platform.url,
            "SOURCE__ACCESS_TOKEN": "simulated-token",
            "BACKPRESSURE__RATE_PER_SECOND": "1000",
            "BACKPRESSURE__BURST": "1000",
            "BACKPRESSURE__LEASE_SECONDS": str(self.lease),
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ADWARM_")}
        return {**clean, "PYTHONPATH": str(ROOT / "include"), **{f"ADWARM_{n}": v for n, v in values.items()}}


@contextmanager
def simulated(accounts: int, ads: int) -> Iterator[Platform]:
    """Run a platform that stands still at NOW while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["simulate", "--accounts", str(accounts), "--ads", str(ads), "--seed", "7", "--port", str(port)]
    running = subprocess.Popen(
        [sys.executable, "-m", "adwarm", *words, "--at", NOW.isoformat(), "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "include")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Platform(_url_of(running))
    finally:
        running.terminate()
        running.wait(timeout=20)


def _url_of(running: subprocess.Popen[str]) -> str:
    if running.stdout is None:
        raise SystemExit("the simulator cannot be heard")
    text = ""
    while not text.rstrip().endswith("}"):
        line = running.stdout.readline()
        if not line:
            raise SystemExit("the simulator did not start")
        text += line
    url: str = orjson.loads(text)["url"]
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            requests.get(f"{url}/control/calls", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return url
    raise SystemExit("the simulator does not answer")


def _fetched(runtime: Runtime) -> dict[tuple[str, date], int]:
    """Return the token of the lease under which each stored account-day was fetched: a later fetch has another."""
    columns = (partition.c.account_id, partition.c.day, partition.c.token)
    with read_transaction(runtime.engine) as connection:
        return {(row.account_id, row.day): row.token for row in connection.execute(select(*columns))}


@dataclass
class Outcome:
    """The result of both backfills."""

    whole: int
    killed_at: int
    afterwards: int
    refetched: int
    rerun: int
    same: bool
    days: int
    seconds: float
    reasons: int


def measure(accounts: int, ads: int, lease: float = sized(30.0, 3.0)) -> Outcome:
    """Run both backfills and compare; a dead worker's accounts are free again after `lease` seconds."""
    with simulated(accounts, ads) as platform, TemporaryDirectory(prefix="adwarm-bench-") as folder:
        left_alone, killed = (Home(Path(folder) / name, platform, lease) for name in "ab")
        started = time.monotonic()
        said = left_alone.finish(left_alone.start())
        seconds, whole = time.monotonic() - started, platform.calls()
        rerun = left_alone.finish(left_alone.start())["requests"]

        begun = platform.calls()
        _kill_at(killed.start(), platform, begun + whole // 2)
        at_kill, before = platform.calls(), _fetched(killed.runtime())
        said_again = killed.finish(killed.start())
        after = _fetched(killed.runtime())
        return Outcome(
            whole=whole,
            killed_at=at_kill - begun,
            afterwards=platform.calls() - at_kill,
            refetched=sum(after[key] != token for key, token in before.items()),
            rerun=rerun,
            same=digest(left_alone.runtime(), RANGE) == digest(killed.runtime(), RANGE),
            days=len(after),
            seconds=seconds,
            reasons=len(said["reasons"]) + len(said_again["reasons"]),
        )


def _kill_at(running: subprocess.Popen[bytes], platform: Platform, calls: int) -> None:
    while platform.calls() < calls:
        if running.poll() is not None:
            raise SystemExit("the backfill ended before it could be killed")
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()


def main(arguments: Sequence[str]) -> int:
    """Measure, print and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=sized(200, 4))
    parser.add_argument("--ads", type=int, default=sized(50, 2))
    chosen = parser.parse_args(arguments)
    found = measure(chosen.accounts, chosen.ads)
    each_day = chosen.accounts * len(RANGE)
    verdicts = TargetResults("backfill", f"{len(RANGE)} days of {chosen.accounts} accounts of {chosen.ads} ads")
    verdicts.check_at_most("requests of a backfill", found.whole, LIMIT_PER_ACCOUNT * chosen.accounts - 1)
    verdicts.check_equal("account-days stored", found.days, each_day)
    verdicts.check_equal("requests of a rerun over settled days", found.rerun, 0)
    verdicts.check_equal("account-days fetched again after the kill", found.refetched, 0)
    verdicts.check_equal("same digest as the uninterrupted backfill", found.same, True)
    verdicts.check_equal("account-blocks without data", found.reasons, 0)
    rows = [
        {"what": "one request per account and day", "requests": each_day, "ratio": 1.0},
        {"what": "backfill, uninterrupted", "requests": found.whole, "ratio": found.whole / each_day},
        {"what": "killed at", "requests": found.killed_at, "ratio": found.killed_at / each_day},
        {"what": "rerun after the kill", "requests": found.afterwards, "ratio": found.afterwards / each_day},
    ]
    print(f"the uninterrupted backfill took {found.seconds:.0f} s of wall time")
    return verdicts.finish(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
