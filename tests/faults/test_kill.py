"""A worker that is killed in the middle of a batch loses and damages nothing: the next one finishes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from adwarm.maintenance.integrity import verify_store
from adwarm.model import PlannedWarm, ReportKey, WarmReason
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus
from adwarm.store import entries, jobs, read_transaction, warms
from adwarm.store.tables import entry, partition, warm
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
RUN = "dag/1"
ACCOUNTS = [f"act_{n}" for n in range(1, 13)]
RANGES = ("yesterday", "last_7d")
LEASE_SECONDS = 1.0

WORKER = f"""
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime

print("ready", flush=True)
print(warm_batch(Runtime().prefetch_engine(), "{RUN}", 0).summary(), flush=True)
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[SimulatorServer]:
    """A platform with some latency."""
    with SimulatorServer(SimulatorConfig(ads=3, latency_ms=60)) as server:
        yield server


@pytest.fixture
def runtime(tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A home with a stored plan of one batch."""
    values = {
        "HOME": str(tmp_path / "home"),
        "WORKERS": "2",
        "SOURCE__GRAPH_URL": platform.url,
        "SOURCE__ACCESS_TOKEN": "simulated-token",
        "BACKPRESSURE__LEASE_SECONDS": str(LEASE_SECONDS),
        "RECOVERY__INITIAL_DELAY_SECONDS": "0",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"ADWARM_{name}", value)
    runtime, now = Runtime(), datetime.now(UTC)
    rows = [
        PlannedWarm(key=ReportKey(account, date_range), reason=WarmReason.STRATEGY, decided_at=now, warm_at=now)
        for account in ACCOUNTS
        for date_range in RANGES
    ]
    warms.replace_plan(runtime.engine, RUN, rows)
    jobs.start(runtime.engine, RUN, "dag", len(rows), now)
    return runtime


def _worker() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    started = subprocess.Popen(
        [sys.executable, "-c", WORKER], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def _count(runtime: Runtime, table: object) -> int:
    with read_transaction(runtime.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_worker_loses_nothing(runtime: Runtime, seed: int) -> None:
    """Wherever it is killed: every key ends fetched once, intact and readable, and the lease is taken over."""
    first = _worker()
    time.sleep(random.Random(seed).uniform(0.05, 1.6))
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=20)
    before = {item.key: item.fetched_at for item in entries.list_entries(runtime.engine)}
    assert verify_store(runtime.context).corrupt == []

    second = _worker()
    _, errors = second.communicate(timeout=30)

    assert (second.returncode, errors) == (0, "")
    rows = warms.list_by_run(runtime.engine, RUN)
    assert len(rows) == len(ACCOUNTS) * len(RANGES)
    assert {row.status for row in rows} <= {"fetched", "fresh"}
    after = {item.key: item.fetched_at for item in entries.list_entries(runtime.engine)}
    assert {key: after[key] for key in before} == before, "what was whole already is not fetched again"
    assert _count(runtime, entry) == len(rows) == _count(runtime, warm)
    assert _count(runtime, partition) % len(ACCOUNTS) == 0
    result = verify_store(runtime.context)
    assert (result.entries, result.corrupt) == (len(rows), [])
    keys = [ReportKey(account, date_range) for account in ACCOUNTS for date_range in RANGES]
    assert {runtime.reader.read(key).status for key in keys} == {ReadStatus.HIT}
    assert all(after[key] <= datetime.now(UTC) + timedelta(seconds=5) for key in after)
