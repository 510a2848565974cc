"""A worker that is killed while the platform runs its report costs no second report, or one that is counted."""

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adwarm.model import ReportKey
from adwarm.prefetch.fetch_lease import OrphanReport
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus
from adwarm.store.database import read_transaction
from adwarm.store.error_events import ErrorLog
from adwarm.store.leases import table as lease
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.support.kill import Worker, wait_until

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = [f"act_{number}" for number in range(1, 5)]
LEASE_SECONDS = 1.0
pytestmark = pytest.mark.slow

WORKER = """
import sys
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest, async_reports
from adwarm.runtime import Runtime
from adwarm.store import leases

async_reports.POLL_SECONDS = 0.3

if sys.argv[1] == "stop":
    save = leases.save_report
    def stop(engine, lease, report):
        if report and report.run_id:
            print("submitted", flush=True)
            sys.stdin.read()
        return save(engine, lease, report)
    leases.save_report = stop
print("ready", flush=True)
wanted = [KeyRequest(ReportKey(account, "last_90d")) for account in sys.argv[2:]]
print(Runtime().prefetch_engine().run(wanted, Priority.LOW).summary(), flush=True)
"""


@pytest.fixture
def platform() -> Iterator[SimulatorServer]:
    """A platform whose reports take some seconds."""
    storm = parse_fault_profile({"reports": {"base_seconds": 1.5, "spread": 0, "full_seconds": 0.2}}, "storm")
    with SimulatorServer(SimulatorConfig(ads=3, fault_profile=storm)) as server:
        yield server


@pytest.fixture
def runtime(tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """An empty home."""
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
    runtime = Runtime()
    runtime.engine.connect().close()
    return runtime


def start(mode: str, *accounts: str) -> Worker:
    """Start a worker, and return it when it is ready."""
    lease = {"ADWARM_BACKPRESSURE__LEASE_SECONDS": "30"} if mode == "calm" else {}
    worker = Worker([sys.executable, "-c", WORKER, mode, *accounts], {**lease, "PYTHONPATH": str(ROOT / "include")})
    worker.wait_for_line("ready")
    return worker


def kill(worker: Worker) -> None:
    """Kill a worker."""
    worker.kill()
    worker.finish()


def finish(runtime: Runtime, *accounts: str) -> None:
    """Run another worker until every account is fetched."""
    worker = start("go", *accounts)
    worker.finish()
    assert (worker.errors, "".join(worker.lines).count("'fetched'")) == ("", 1)
    assert {runtime.reader.read(ReportKey(account, "last_90d")).status for account in accounts} == {ReadStatus.HIT}


def count_submits(platform: SimulatorServer) -> int:
    """Return how many reports were requested."""
    return platform.calls()["paths"].get("submit", 0)


def count_orphans(runtime: Runtime) -> int:
    """Return how many reports were counted as orphans."""
    return sum(event.kind == OrphanReport.__name__ for event in ErrorLog(runtime.engine).list_recent(1_000))


def count_saved_reports(runtime: Runtime) -> int:
    """Return how many leases hold the id of their report."""
    with read_transaction(runtime.engine) as connection:
        return len(connection.execute(lease.select().where(lease.c.report_run_id.is_not(None))).all())


def test_a_report_whose_id_is_stored_is_continued(runtime: Runtime, platform: SimulatorServer) -> None:
    """Killed as soon as the ids are stored: the retry submits nothing, and counts no orphan."""
    worker = start("go", "act_1", "act_2")
    wait_until(lambda: count_saved_reports(runtime) == 2, "both ids are stored")
    kill(worker)
    finish(runtime, "act_1", "act_2")
    assert (count_submits(platform), count_orphans(runtime), count_saved_reports(runtime)) == (2, 0, 0)


def test_a_kill_between_submit_and_store_costs_one_counted_orphan(runtime: Runtime, platform: SimulatorServer) -> None:
    """Killed before the id is stored: one more report, and one orphan in the error events."""
    worker = start("stop", "act_1")
    worker.wait_for_line("submitted")
    kill(worker)
    finish(runtime, "act_1")
    assert (count_submits(platform), count_orphans(runtime), count_saved_reports(runtime)) == (2, 1, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_kill_at_any_point_loses_no_account(runtime: Runtime, platform: SimulatorServer, seed: int) -> None:
    """Every report beyond one per account is a counted orphan, and no account is lost."""
    worker = start("go", *ACCOUNTS)
    time.sleep(random.Random(seed).uniform(0.1, 2.5))
    kill(worker)
    finish(runtime, *ACCOUNTS)
    assert count_submits(platform) <= len(ACCOUNTS) + count_orphans(runtime)
    assert count_orphans(runtime) <= 2, "no more than accounts that were at work"


def test_two_processes_make_one_fetch(runtime: Runtime, platform: SimulatorServer) -> None:
    """Two workers that fetch the same key at the same time: one fetches, the other waits and finds the entry."""
    workers = [start("calm", "act_1") for _ in range(2)]
    assert [worker.finish() for worker in workers] == [0, 0]
    output = ["".join(worker.lines) + worker.errors for worker in workers]
    assert sum("'fetched': 1" in text for text in output) == 1
    assert sum("'fresh': 1" in text for text in output) == 1
    assert count_submits(platform) == 1
    assert platform.calls()["paths"]["account"] == 1
