"""`adwarm maintain` killed in the middle of its steps: the next run goes on, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from adwarm.maintenance.steps import run_if_due
from adwarm.model import Window
from adwarm.runtime import Runtime
from adwarm.store import maintenance_steps, partitions, read_transaction, write_transaction
from adwarm.store.maintenance_steps import table as maintenance_step
from adwarm.store.partition_rows import by_day, content_hash, daily_rows, pack_rows
from adwarm.store.partitions import PartitionState
from adwarm.store.read_traffic import table as traffic_hour
from tests.benchmarks.measure import sized

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = 12
MONTH = Window(date(2026, 6, 1), date(2026, 6, 30))
OLD_HOURS = 6_000
KILLS = sized(2, 1)
COMMAND = ("maintain", "--step", "compact", "--step", "collect_garbage", "--step", "apply_retention", "--json")


@pytest.fixture
def runtime(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A runtime on either database, with months to compact and rows past their retention."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    runtime = Runtime()
    now = datetime.now(UTC)
    for number in range(ACCOUNTS):
        _publish(runtime, f"act_{number}")
    rows = [
        {
            "hour": (now - timedelta(days=500)).replace(minute=0, second=0, microsecond=0),
            "account_id": f"a{n}",
            "actor": "api",
        }
        for n in range(OLD_HOURS)
    ]
    with write_transaction(runtime.engine) as connection:
        connection.execute(traffic_hour.insert(), [*rows, {"hour": now, "account_id": "act_1", "actor": "api"}])
    return runtime


def _publish(runtime: Runtime, account_id: str) -> None:
    """Store June of an account in three objects."""
    for start in (1, 11, 21):
        span = Window(date(2026, 6, start), date(2026, 6, start + 9))
        rows = [
            {"account_id": account_id, "ad_id": ad, "date_start": str(day), "date_stop": str(day), "spend": "1.00"}
            for day in span.days()
            for ad in ("1", "2")
        ]
        digest, groups, at = runtime.objects.put(pack_rows(rows)), by_day(rows), datetime.now(UTC)
        states = [
            PartitionState(day, digest, 2, content_hash(groups[day]), at, True, True, 1, "v26.0") for day in span.days()
        ]
        with write_transaction(runtime.engine) as connection:
            partitions.publish(connection, account_id, "spec", states, 1)


def _rows(runtime: Runtime) -> list[str]:
    """Return a hash of every account's rows."""
    hashes = []
    for number in range(ACCOUNTS):
        states = partitions.list_states(runtime.engine, f"act_{number}", "spec", MONTH)
        hashes.append(content_hash(daily_rows(runtime.objects, states, MONTH)))
    return hashes


def _maintain() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    words = [sys.executable, "-m", "adwarm", *COMMAND]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _list_running(runtime: Runtime) -> list[str]:
    """Return the steps that a live or killed process holds."""
    states, now = maintenance_steps.list_states(runtime.engine), datetime.now(UTC)
    return [name for name, state in states.items() if state.lease_until is not None and state.lease_until > now]


def _kill_in_a_step(runtime: Runtime) -> list[str]:
    """Start a run and kill it while a step runs; return that step, none when it ended before."""
    process = _maintain()
    while process.poll() is None and not _list_running(runtime):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    return _list_running(runtime)


def _expire(runtime: Runtime) -> None:
    """Let the leases of killed runs end, as if their time had passed."""
    with write_transaction(runtime.engine) as connection:
        connection.execute(update(maintenance_step).values(lease_until=datetime.now(UTC) - timedelta(seconds=1)))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_the_next_run_goes_on(runtime: Runtime) -> None:
    """Killed runs block their step for no longer than the lease; then all months are compacted and no row is lost."""
    before, kills = _rows(runtime), 0
    for _ in range(KILLS):
        killed = _kill_in_a_step(runtime)
        kills += len(killed)
        assert _rows(runtime) == before
        parts = runtime.maintenance_parts()
        assert [run_if_due(parts, name, run_now=True).status for name in killed] == ["held"] * len(killed)
        _expire(runtime)
    finished = _maintain()
    output = finished.communicate(timeout=180)[0]
    assert finished.returncode == 0, output
    assert kills
    assert _rows(runtime) == before
    assert partitions.list_compactable_months(runtime.engine) == []
    with read_transaction(runtime.engine) as connection:
        assert connection.execute(select(func.count()).select_from(traffic_hour)).scalar_one() == 1
    assert _list_running(runtime) == []
