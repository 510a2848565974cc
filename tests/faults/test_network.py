"""A bad network between a worker and the platform, and between a worker and PostgreSQL: late, but never wrong."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from adwarm.maintenance.integrity import verify_store
from adwarm.settings import Settings
from adwarm.store import open_engine, upgrade, warms
from adwarm.store.healing_runs import HealingStore
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.faults.batch_home import RETRY, BatchHome
from tests.faults.batch_worker import RUN
from tests.faults.fault_results import FaultRow, save_rows
from tests.support.fork_server import ForkServer
from tests.support.proxy import FaultProxy, NetworkFaults

pytestmark = pytest.mark.slow

ACCOUNTS, RANGES = 6, ("yesterday", "last_7d")
CALLS_PER_ACCOUNT = 2
FIRST_RETRIES, RETRY_SHARE = 10, 0.1
"""The retry budget of a worker: what it starts with, and what each first attempt adds."""
UNDETERRED = {"RECOVERY__ISOLATE": "false", "BACKPRESSURE__BREAKER_MIN_CALLS": "1000"}
"""Neither isolation nor a breaker keeps a worker from meeting the bad network again and again."""
TO_PLATFORM = {
    "latency": NetworkFaults(latency_seconds=0.05),
    "lost requests": NetworkFaults(loss=0.3),
    "resets": NetworkFaults(reset=0.3, after_bytes=100),
    "truncated answers": NetworkFaults(truncation=0.3, after_bytes=100),
    "slow close": NetworkFaults(slow_close_seconds=0.3, truncation=0.2, after_bytes=100),
    "little bandwidth": NetworkFaults(bytes_per_second=50_000),
    "all of it": NetworkFaults(0.02, 0.1, 0.1, 0.1, after_bytes=100, slow_close_seconds=0.1, bytes_per_second=200_000),
}
"""Of a few dozen requests in a batch, about a third is hit."""
TO_DATABASE = {
    "latency": NetworkFaults(latency_seconds=0.002),
    "lost requests": NetworkFaults(loss=0.01),
    "resets": NetworkFaults(reset=0.01),
    "truncated answers": NetworkFaults(truncation=0.01, after_bytes=4),
    "slow close": NetworkFaults(slow_close_seconds=0.3, truncation=0.01),
    "little bandwidth": NetworkFaults(bytes_per_second=1_000_000),
    "all of it": NetworkFaults(0.001, 0.004, 0.004, 0.004, slow_close_seconds=0.1, bytes_per_second=4_000_000),
}
"""Of some hundred statements in a batch, a few are hit. An answer that is lost may be that of a commit."""
ALWAYS = ("truncated answers", "all of it")
FEW_HITS, MANY_HITS, ROUNDS, MOST_ROUNDS = 2, sized(20, 1), 3, 60


def every(faults: dict[str, NetworkFaults]) -> list[object]:
    """Return the faults as parameters, each with the hits that it takes; only some of them are tried each time."""
    some = [pytest.param(name, FEW_HITS, id=f"{name}, some") for name in faults if name in ALWAYS]
    return some + [pytest.param(name, MANY_HITS, id=name, marks=pytest.mark.faults) for name in faults]


def count_hits(proxy: FaultProxy) -> int:
    """Return how many exchanges the proxy has spoiled."""
    counts = proxy.counts()
    return counts.lost + counts.resets + counts.truncations


def is_enough(faults: NetworkFaults, proxy: FaultProxy, rounds: int, hits: int) -> bool:
    """Whether the faults have hit often enough; those that spoil nothing are tried in a few batches."""
    spoils = faults.loss or faults.reset or faults.truncation
    assert rounds <= MOST_ROUNDS, f"only {count_hits(proxy)} exchanges were spoiled"
    return count_hits(proxy) >= hits if spoils else rounds >= ROUNDS


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
        assert code == 0 or "adwarm_client.errors.Transient" in worker.output, worker.output
        assert verify_store(home.context).corrupt == [], "nothing partial is published"
        for row in warms.list_by_run(home.engine, RUN):
            assert row.status.is_served or row.error or row.status == "planned", "what is not served has a reason"
        if not home.count_unserved():
            return number, time.monotonic() - began
    raise AssertionError([row.error for row in warms.list_by_run(home.engine, RUN)])


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "hits"), every(TO_PLATFORM))
def test_a_bad_network_to_the_platform(
    name: str, hits: int, tmp_path: Path, platform: SimulatorServer, fork_server: ForkServer
) -> None:
    """Every key is fetched in the end, nothing partial is stored, and no worker retries beyond its budget."""
    parts, faults = urlsplit(platform.url), TO_PLATFORM[name]
    rounds = workers = lost = twice = 0
    slowest = 0.0
    with FaultProxy((str(parts.hostname), int(parts.port or 0)), random.Random(name), faults) as proxy:
        home = BatchHome(tmp_path, f"http://127.0.0.1:{proxy.port}", **UNDETERRED)
        while not is_enough(faults, proxy, rounds, hits):
            rounds += 1
            home.prepare(ACCOUNTS, *RANGES)
            started, seconds = run_until_served(home, fork_server)
            damage = home.check(home.list_published())
            workers, slowest = workers + started, max(slowest, seconds)
            lost, twice = lost + damage.lost, twice + damage.duplicated
        exchanges, spoiled = proxy.counts().exchanges, count_hits(proxy)

    assert (lost, twice) == (0, 0)
    assert exchanges <= CALLS_PER_ACCOUNT * ACCOUNTS * workers * (1 + RETRY_SHARE) + FIRST_RETRIES * workers
    if hits == MANY_HITS:
        row = FaultRow(f"network to the platform: {name}", spoiled or rounds, lost, twice, f"{slowest:.1f} s")
        save_rows(f"network_platform_{list(TO_PLATFORM).index(name)}", [row])


def test_retries_stay_within_their_budget(tmp_path: Path, platform: SimulatorServer, fork_server: ForkServer) -> None:
    """While every request is lost, calls are first tries and a tenth more, besides ten that each process has.

    Restarting the sessions adds one attempt of each thread that had an older one, once in its cool-down.
    """
    accounts, parts = 20, urlsplit(platform.url)
    proxy = FaultProxy((str(parts.hostname), int(parts.port or 0)), random.Random(1), NetworkFaults(loss=1.0))
    with proxy:
        home = BatchHome(tmp_path, f"http://127.0.0.1:{proxy.port}", **UNDETERRED)
        home.prepare(accounts, "yesterday")
        worker = fork_server.start(RETRY, environment=home.environment)
        assert worker.finish() == 0, worker.output
        counts = proxy.counts()
    rows = warms.list_by_run(home.engine, RUN)
    heals = len(HealingStore(home.engine).list_recent(10_000))
    assert heals >= 1
    assert {str(row.status) for row in rows} <= {"failed", "planned"}
    assert all(row.error for row in rows if row.status == "failed")
    threads = Settings().backpressure.max_concurrent
    assert accounts <= counts.exchanges <= accounts * (1 + RETRY_SHARE) + FIRST_RETRIES + heals * threads


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL server with the schema, by its URL and its Unix socket."""

    url: str
    socket: Path


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Database:
    """The server of the session."""
    upgrade(open_engine(postgres_url))
    folder = parse_qs(urlsplit(postgres_url).query)["host"][0]
    return Database(postgres_url, Path(folder) / ".s.PGSQL.5432")


@pytest.mark.postgres
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "hits"), every(TO_DATABASE))
def test_a_bad_network_to_the_database(
    name: str, hits: int, tmp_path: Path, platform: SimulatorServer, fork_server: ForkServer, database: Database
) -> None:
    """Statements and commits get lost, or their answers do: the batch ends complete, and counts each key once."""
    faults = TO_DATABASE[name]
    rounds = lost = twice = 0
    slowest = 0.0
    with FaultProxy(database.socket, random.Random(name)) as proxy:
        home = BatchHome(tmp_path, platform.url, database.url, **UNDETERRED)
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"
        home.environment["ADWARM_DATABASE_URL"] = through
        while not is_enough(faults, proxy, rounds, hits):
            rounds += 1
            home.prepare(ACCOUNTS, *RANGES)
            proxy.set_faults(faults)
            began = time.monotonic()
            fork_server.start(RETRY, environment=home.environment).finish(120)
            before = home.list_published()
            run_until_served(home, fork_server)
            slowest, damage = max(slowest, time.monotonic() - began), home.check(before)
            lost, twice = lost + damage.lost, twice + damage.duplicated
        spoiled = count_hits(proxy)

    assert (lost, twice) == (0, 0)
    if hits == MANY_HITS:
        row = FaultRow(f"network to PostgreSQL: {name}", spoiled or rounds, lost, twice, f"{slowest:.1f} s")
        save_rows(f"network_postgres_{list(TO_DATABASE).index(name)}", [row])
