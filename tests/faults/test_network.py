"""A bad network between a worker and the platform, and between a worker and PostgreSQL: late, but never wrong."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from adwarm.maintenance.integrity import verify_store
from adwarm.store import jobs, open_engine, upgrade, warms
from adwarm.testing import FaultProxy, ForkServer, NetworkFaults
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.faults.batch_home import RETRY, BatchHome
from tests.faults.batch_worker import RUN
from tests.faults.fault_results import FaultRow, save_rows

ACCOUNTS, RANGES = 6, ("yesterday", "last_7d")
CALLS_PER_ACCOUNT = 2
FIRST_RETRIES, RETRY_SHARE = 10, 0.1
"""The retry budget of a worker: what it starts with, and what each first attempt adds."""
FAULTS = {
    "latency of 50 ms": NetworkFaults(latency_seconds=0.05),
    "30 % of requests lost": NetworkFaults(loss=0.3),
    "30 % of answers reset": NetworkFaults(reset=0.3, after_bytes=100),
    "30 % of answers cut off": NetworkFaults(truncation=0.3, after_bytes=600),
    "slow close": NetworkFaults(slow_close_seconds=0.5, truncation=0.1),
    "50 kB a second": NetworkFaults(bytes_per_second=50_000),
    "all of it": NetworkFaults(0.02, 0.1, 0.1, 0.1, after_bytes=300, slow_close_seconds=0.1, bytes_per_second=200_000),
}
SOME = ("30 % of answers cut off", "all of it")


def mark_rest(names: dict[str, NetworkFaults]) -> list[object]:
    """Return the faults as parameters; only some of them run each time."""
    return [pytest.param(name, marks=() if name in SOME else pytest.mark.faults) for name in names]


@pytest.fixture(scope="module")
def platform() -> Iterator[SimulatorServer]:
    """A platform that is well itself."""
    with SimulatorServer(SimulatorConfig(ads=3)) as server:
        yield server


def run_until_served(home: BatchHome, server: ForkServer, most_workers: int = 12) -> tuple[int, float]:
    """Run workers as Airflow tries a task again, check what is stored after each; return how many, and the seconds."""
    began = time.monotonic()
    for number in range(1, most_workers + 1):
        worker = server.start(RETRY, environment=home.environment)
        code = worker.finish(120)
        assert code == 0 or "adwarm.foundation.errors.Transient" in worker.output, worker.output
        assert verify_store(home.context).corrupt == [], "nothing partial is published"
        for row in warms.list_by_run(home.engine, RUN):
            assert row.status.is_served or row.error or row.status == "planned", "what is not served has a reason"
        if not home.count_unserved():
            return number, time.monotonic() - began
    raise AssertionError([row.error for row in warms.list_by_run(home.engine, RUN)])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", mark_rest(FAULTS))
def test_a_bad_network_to_the_platform(
    name: str, tmp_path: Path, platform: SimulatorServer, fork_server: ForkServer
) -> None:
    """Every key is fetched in the end, nothing partial is stored, and no worker retries beyond its budget."""
    parts = urlsplit(platform.url)
    with FaultProxy((str(parts.hostname), int(parts.port or 0)), random.Random(name), FAULTS[name]) as proxy:
        # No isolation and no open breaker, so that the test meets the network again and again.
        off = {"RECOVERY__ISOLATE": "false", "BACKPRESSURE__BREAKER_MIN_CALLS": "1000"}
        home = BatchHome(tmp_path, f"http://127.0.0.1:{proxy.port}", **off)
        home.prepare(ACCOUNTS, *RANGES)
        workers, seconds = run_until_served(home, fork_server)
        counts = proxy.counts()

    damage = home.check(home.list_published())
    hit = counts.lost + counts.resets + counts.truncations
    first_tries = CALLS_PER_ACCOUNT * ACCOUNTS * workers
    assert (damage.lost, damage.duplicated) == (0, 0)
    assert counts.exchanges <= first_tries * (1 + RETRY_SHARE) + FIRST_RETRIES * workers
    row = FaultRow(f"network to the platform: {name}", max(1, hit), damage.lost, damage.duplicated, f"{seconds:.1f} s")
    save_rows(f"network_platform_{list(FAULTS).index(name)}", [row])


def test_retries_stay_within_their_budget(tmp_path: Path, platform: SimulatorServer, fork_server: ForkServer) -> None:
    """While every request is lost, calls are first tries and a tenth more, beside the ten that a process starts with."""
    accounts, parts = 20, urlsplit(platform.url)
    proxy = FaultProxy((str(parts.hostname), int(parts.port or 0)), random.Random(1), NetworkFaults(loss=1.0))
    with proxy:
        off = {"RECOVERY__ISOLATE": "false", "BACKPRESSURE__BREAKER_MIN_CALLS": "1000"}
        home = BatchHome(tmp_path, f"http://127.0.0.1:{proxy.port}", **off)
        home.prepare(accounts, "yesterday")
        worker = fork_server.start(RETRY, environment=home.environment)
        assert worker.finish() == 0, worker.output
        counts = proxy.counts()
    rows = warms.list_by_run(home.engine, RUN)
    assert {str(row.status) for row in rows} <= {"failed", "planned"}
    assert all(row.error for row in rows if row.status == "failed")
    assert accounts <= counts.exchanges <= accounts * (1 + RETRY_SHARE) + FIRST_RETRIES


@pytest.fixture(scope="module")
def postgres_socket(postgres_url: str) -> Path:
    """The Unix socket of the server."""
    upgrade(open_engine(postgres_url))
    folder = parse_qs(urlsplit(postgres_url).query)["host"][0]
    return Path(folder) / ".s.PGSQL.5432"


@pytest.mark.postgres
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", mark_rest(FAULTS))
def test_a_bad_network_to_the_database(
    name: str, tmp_path: Path, platform: SimulatorServer, fork_server: ForkServer, postgres_url: str, postgres_socket: Path
) -> None:
    """Statements and commits get lost, and so do their answers: the batch ends complete, and counts each key once."""
    with FaultProxy(postgres_socket, random.Random(name)) as proxy:
        home = BatchHome(tmp_path, platform.url, postgres_url)
        home.prepare(ACCOUNTS, *RANGES)
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"
        home.environment["ADWARM_DATABASE_URL"] = through
        home.environment["ADWARM_RECOVERY__ISOLATE"] = "false"
        worker = fork_server.start(RETRY, environment=home.environment)
        began = time.monotonic()
        # It starts well. Then one statement in some hundred is hit: a batch has about a thousand.
        threading.Event().wait(0.2)
        proxy.set_faults(scale(FAULTS[name], 0.02))
        worker.finish(120)
        before = home.list_published()
        run_until_served(home, fork_server)
        seconds, counts = time.monotonic() - began, proxy.counts()

    damage = home.check(before)
    (job,) = jobs.list_latest(home.engine)
    assert (damage.lost, damage.duplicated) == (0, 0)
    assert (job.done, job.failed) == (len(home.keys), 0)
    hit = counts.lost + counts.resets + counts.truncations
    row = FaultRow(f"network to PostgreSQL: {name}", max(1, hit), damage.lost, damage.duplicated, f"{seconds:.1f} s")
    save_rows(f"network_postgres_{list(FAULTS).index(name)}", [row])


def scale(faults: NetworkFaults, factor: float) -> NetworkFaults:
    """Return rarer and shorter faults."""
    return NetworkFaults(
        faults.latency_seconds * factor,
        faults.loss * factor,
        faults.reset * factor,
        faults.truncation * factor,
        0,
        faults.slow_close_seconds,
        faults.bytes_per_second and faults.bytes_per_second * 20,
    )
