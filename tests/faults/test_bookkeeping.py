"""Stopped and killed workers leave correct records: each warm has its outcome, and a job counts each key once."""

import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text

from adwarm.model import PlannedWarm, ReportKey, WarmReason
from adwarm.runtime import Runtime
from adwarm.store import jobs, read_transaction, warms
from adwarm.store.tables import lease, warm
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
RUN = "dag/1"
LEASE_SECONDS = 0.8
KILLS = 10
"""On each of two databases."""
LATENCY_MS = 60

WORKERS = f"""
import os
import signal
import sys
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.model import PlannedWarm, ReportKey, WarmReason
from adwarm.runtime import Runtime
from adwarm.sources.meta import source

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    worker = os.fork()
    if not worker:
        warm_batch(Runtime().prefetch_engine(), "{RUN}", 0)
        os._exit(0)
    print(worker, flush=True)
"""
"""Starts a worker for each line that it reads, and prints its process id. Forking saves each worker the imports."""


class Workers:
    """Worker processes, all of which have ended when the block does."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._begun: list[int] = []

    def begin(self) -> int:
        """Start a worker, and return its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("one\n")
        self._process.stdin.flush()
        self._begun.append(int(self._process.stdout.readline()))
        return self._begun[-1]

    def finish(self, worker: int, seconds: float = 90) -> None:
        """Wait until a worker has ended by itself."""
        end = time.monotonic() + seconds
        while is_alive(worker):
            assert time.monotonic() < end, "the worker has not ended"
            time.sleep(0.02)

    def kill_all(self) -> None:
        """Kill the workers that are left."""
        for worker in self._begun:
            kill(worker)


@contextmanager
def workers() -> Iterator[Workers]:
    """Starts workers in this test's environment."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    env = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    with subprocess.Popen([sys.executable, "-c", WORKERS], env=env, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        workers = Workers(process)
        try:
            yield workers
        finally:
            workers.kill_all()


def is_alive(worker: int) -> bool:
    """Whether a process exists, stopped or not."""
    try:
        os.kill(worker, 0)
    except ProcessLookupError:
        return False
    return True


def kill(worker: int) -> bool:
    """Kill a process; return False when it had ended by itself."""
    try:
        os.kill(worker, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


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


def until(what: object, seconds: float = 30) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.001)


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


def stop_in_a_fetch(runtime: Runtime, worker: int) -> None:
    """Stop a worker while it holds the lease of an account, and no lock of the database."""
    for _ in range(100):
        until(lambda: fetches_held(runtime))
        os.kill(worker, signal.SIGSTOP)
        time.sleep(0.05)
        if fetches_held(runtime) and not has_open_transaction(runtime.engine):
            return
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.03)
    raise AssertionError("the worker was never found in the middle of a fetch")


def counts(runtime: Runtime) -> tuple[int, int, int]:
    """Return the job's counts: keys in all, done and failed."""
    (job,) = jobs.list_latest(runtime.engine)
    return job.total, job.done, job.failed


@pytest.mark.parametrize("after", [0, 5])
def test_a_worker_that_lost_its_lease_changes_nothing(runtime: Runtime, after: int) -> None:
    """Stopped past its lease and continued after another has finished: warms stay fetched, and each counts once."""
    keys = plan(runtime, 30, "yesterday", "last_7d")
    with workers() as start:
        first = start.begin()
        until(lambda: carried_out(runtime) >= after)
        stop_in_a_fetch(runtime, first)
        time.sleep(LEASE_SECONDS * 1.5)
        start.finish(start.begin())
        before = warms.list_by_run(runtime.engine, RUN)
        assert {row.status for row in before} <= {"fetched", "fresh"}
        assert counts(runtime) == (keys, keys, 0)
        os.kill(first, signal.SIGCONT)
        start.finish(first)

    rows = warms.list_by_run(runtime.engine, RUN)
    assert [(row.status, row.fetched_at) for row in rows] == [(row.status, row.fetched_at) for row in before]
    assert counts(runtime) == (keys, keys, 0)


def test_kills_at_any_point_leave_exact_counts(runtime: Runtime) -> None:
    """Workers are killed just after they recorded an outcome, or anywhere: the job counts each key once."""
    keys, draw, hit = plan(runtime, 40, "last_7d"), random.Random(7), 0
    with workers() as start:
        for number in range(KILLS):
            worker, before = start.begin(), carried_out(runtime)
            if number % 2:
                time.sleep(draw.uniform(0.05, 0.8))
            else:
                until(lambda worker=worker, before=before: carried_out(runtime) > before or not is_alive(worker))
            hit += kill(worker)
            start.finish(worker)
        start.finish(start.begin())

    rows = warms.list_by_run(runtime.engine, RUN)
    assert hit >= KILLS / 2
    assert {row.status for row in rows} <= {"fetched", "fresh"}
    assert counts(runtime) == (keys, keys, 0)
