"""Stopped and killed workers leave correct records: each warm has its outcome, and a job counts each key once."""

import fcntl
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text

from adwarm.model import PlannedWarm, ReportKey, WarmReason
from adwarm.runtime import Runtime
from adwarm.store import jobs, read_transaction, warms
from adwarm.store.leases import table as lease
from adwarm.store.warms import table as warm
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.faults.batch_home import BATCH
from tests.faults.batch_worker import RUN
from tests.support.fork_server import ForkedWorker, ForkServer
from tests.support.kill import wait_until

pytestmark = pytest.mark.slow

LEASE_SECONDS = 0.8
KILLS = 10
"""On each of two databases."""
LATENCY_MS = 60


@pytest.fixture
def runtime(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A runtime on either database, and a platform with some latency."""
    with SimulatorServer(SimulatorConfig(ads=2, latency_ms=LATENCY_MS)) as platform:
        values = {
            "HOME": str(tmp_path / "home"),
            "DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "WORKERS": "6",
            "SOURCE__GRAPH_URL": platform.url,
            "SOURCE__ACCESS_TOKEN": "simulated-token",
            "BACKPRESSURE__LEASE_SECONDS": str(LEASE_SECONDS),
            "RECOVERY__INITIAL_DELAY_SECONDS": "0",
        }
        for name, value in values.items():
            monkeypatch.setenv(f"ADWARM_{name}", value)
        yield Runtime()


@pytest.fixture
def start(runtime: Runtime, fork_server: ForkServer) -> Iterator[Callable[[], ForkedWorker]]:
    """Starts workers on the runtime's batch; those that are left are killed at the end."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("ADWARM_")}
    started: list[ForkedWorker] = []

    def begin() -> ForkedWorker:
        started.append(fork_server.start(BATCH, environment=environment))
        return started[-1]

    yield begin
    for worker in started:
        worker.kill()


def plan(runtime: Runtime, accounts: int, *date_ranges: str) -> int:
    """Store a plan of one batch with its job, and return the number of its keys."""
    now = datetime.now(UTC)
    rows = [
        PlannedWarm(key=ReportKey(f"act_{number}", date_range), reason=WarmReason.STRATEGY, decided_at=now, warm_at=now)
        for number in range(1, accounts + 1)
        for date_range in date_ranges
    ]
    warms.replace_plan(runtime.engine, RUN, rows)
    jobs.start(runtime.engine, RUN, "dag", len(rows), now)
    return len(rows)


def carried_out(runtime: Runtime) -> int:
    """Return the warms that are no longer planned."""
    with read_transaction(runtime.engine) as connection:
        query = select(func.count()).select_from(warm).where(warm.c.status != "planned")
        return int(connection.execute(query).scalar_one())


def fetches_held(runtime: Runtime) -> int:
    """Return the leases of accounts that are being fetched."""
    with read_transaction(runtime.engine) as connection:
        query = select(func.count()).select_from(lease).where(lease.c.name.startswith("fetch:"), lease.c.owner != "")
        return int(connection.execute(query).scalar_one())


def has_open_transaction(engine: Engine) -> bool:
    """Whether a worker is in the middle of a transaction that others would wait for."""
    if engine.dialect.name == "postgresql":
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()"
        )
        with read_transaction(engine) as connection:
            return bool(connection.execute(query).scalar_one())
    with closing(sqlite3.connect(str(engine.url.database), timeout=0.2, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
    return any(_is_locked(Path(f"{engine.url.database}-turn{suffix}")) for suffix in ("", ".gate"))


def _is_locked(path: Path) -> bool:
    """Whether a worker holds the write lock of SQLite."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def stop_in_a_fetch(runtime: Runtime, worker: ForkedWorker) -> None:
    """Stop a worker while it holds the lease of an account, and no lock of the database."""
    for _ in range(100):
        wait_until(lambda: fetches_held(runtime), "an account is being fetched", 30)
        worker.stop()
        time.sleep(0.05)
        if fetches_held(runtime) and not has_open_transaction(runtime.engine):
            return
        worker.resume()
        time.sleep(0.03)
    raise AssertionError("the worker was never found in the middle of a fetch")


def counts(runtime: Runtime) -> tuple[int, int, int]:
    """Return the job's counts: keys in all, done and failed."""
    (job,) = jobs.list_latest(runtime.engine)
    return job.total, job.done, job.failed


@pytest.mark.parametrize("after", [0, 5])
def test_a_worker_that_lost_its_lease_changes_nothing(
    runtime: Runtime, start: Callable[[], ForkedWorker], after: int
) -> None:
    """Stopped past its lease and continued after another has finished: warms stay fetched, and each counts once."""
    keys, first = plan(runtime, 30, "yesterday", "last_7d"), start()
    wait_until(lambda: carried_out(runtime) >= after, "it has begun", 30)
    stop_in_a_fetch(runtime, first)
    time.sleep(LEASE_SECONDS * 1.5)
    assert start().finish(90) == 0
    before = warms.list_by_run(runtime.engine, RUN)
    assert {row.status for row in before} <= {"fetched", "fresh"}
    assert counts(runtime) == (keys, keys, 0)
    first.resume()
    assert first.finish(90) == 0

    rows = warms.list_by_run(runtime.engine, RUN)
    assert [(row.status, row.fetched_at) for row in rows] == [(row.status, row.fetched_at) for row in before]
    assert counts(runtime) == (keys, keys, 0)


def test_kills_at_any_point_leave_exact_counts(runtime: Runtime, start: Callable[[], ForkedWorker]) -> None:
    """Workers are killed just after they recorded an outcome, or anywhere: the job counts each key once."""
    keys, draw, hit = plan(runtime, 40, "last_7d"), random.Random(7), 0
    for number in range(KILLS):
        worker, before = start(), carried_out(runtime)
        if number % 2:
            time.sleep(draw.uniform(0.05, 0.8))
        else:
            wait_until(
                lambda worker=worker, before=before: carried_out(runtime) > before or not worker.is_running,
                "it records an outcome",
                30,
            )
        hit += worker.kill()
        worker.finish(90)
    assert start().finish(90) == 0

    rows = warms.list_by_run(runtime.engine, RUN)
    assert hit >= KILLS / 2
    assert {row.status for row in rows} <= {"fetched", "fresh"}
    assert counts(runtime) == (keys, keys, 0)
