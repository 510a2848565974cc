"""A worker that is stopped past its lease and continued writes nothing: its successor's results stay."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from adwarm.backpressure import RequestQueue
from adwarm.model import Priority, ReportKey
from adwarm.store import read_transaction
from adwarm.store.entries import table as entry
from adwarm.store.leases import table as lease
from adwarm.store.partitions import table as partition
from adwarm.store.requests import RequestStatus
from adwarm.store.requests import table as request
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.faults.batch_home import BatchHome
from tests.faults.fault_results import FaultRow, save_rows
from tests.support.fork_server import ForkedWorker, ForkServer
from tests.support.kill import wait_until

pytestmark = pytest.mark.slow

DRAIN = "tests.faults.batch_worker:drain"
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def stop_at(home: BatchHome, server: ForkServer, work: str, step: str) -> ForkedWorker:
    """Start a worker that stops itself at a step, and return it when its lease has expired."""
    worker = server.start("tests.faults.batch_worker:run_stopping", work, step, environment=home.environment)
    status = Path(f"/proc/{worker.pid}/stat")
    wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", f"it stops at {step}")
    wait_until(lambda: has_expired(home), "its lease expires")
    return worker


@pytest.fixture
def platform() -> Iterator[SimulatorServer]:
    """A platform without faults."""
    with SimulatorServer(SimulatorConfig(ads=2)) as server:
        yield server


@pytest.fixture
def home(engine: Engine, tmp_path: Path, platform: SimulatorServer) -> BatchHome:
    """A home on either database."""
    return BatchHome(tmp_path, platform.url, engine.url.render_as_string(hide_password=False))


def list_rows(home: BatchHome) -> dict[str, list[tuple[object, ...]]]:
    """Return every entry and partition with the tokens of their writers."""
    with read_transaction(home.engine) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in (entry, partition)
        }


def has_expired(home: BatchHome) -> bool:
    """Whether no worker holds a lease that is still valid by this machine's clock."""
    with read_transaction(home.engine) as connection:
        newest = connection.execute(select(func.max(lease.c.expires_at)).where(lease.c.owner != "")).scalar_one()
    return newest is None or newest.timestamp() < time.time()


def count_partitions(home: BatchHome) -> int:
    """Return how many days are stored."""
    with read_transaction(home.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(partition)).scalar_one())


def test_a_late_write_is_rejected(home: BatchHome, fork_server: ForkServer) -> None:
    """Stopped before it stores its days and entries: the successor's rows stay as they are."""
    home.prepare(1, "yesterday", "last_7d")
    first = stop_at(home, fork_server, "batch", "publication")
    assert count_partitions(home) == 0
    began = time.monotonic()
    home.complete(fork_server)
    took = time.monotonic() - began
    before = list_rows(home)

    first.resume()

    assert first.finish() == 0
    assert first.result["fetched"] == 0, first.result
    assert list_rows(home) == before
    damage = home.check(home.list_published())
    assert (damage.lost, damage.duplicated) == (0, 0)
    fault = f"SIGSTOP past the lease, then SIGCONT: late write, {NAMES[home.engine.dialect.name]}"
    save_rows(f"stopped_publication_{home.engine.dialect.name}", [FaultRow(fault, 1, 0, 0, f"lease + {took:.1f} s")])


def test_a_late_ack_is_rejected(home: BatchHome, fork_server: ForkServer) -> None:
    """Stopped while it holds a request of the queue: the successor's result of the request stays."""
    home.prepare(1, "yesterday")
    queue = RequestQueue(home.engine, home.settings.backpressure, owner="test")
    ticket = queue.enqueue(ReportKey("act_5", "last_7d"), Priority.NORMAL)
    first = stop_at(home, fork_server, "drain", "ack")
    began = time.monotonic()
    wait_until(lambda: drain_until_completed(home, fork_server, ticket.id), "another worker completes it")
    took = time.monotonic() - began
    before = read_request(home, ticket.id)

    first.resume()

    assert first.finish() == 0
    assert (first.result["completed"], first.result["lost"]) == (0, 1), first.result
    assert read_request(home, ticket.id) == before
    fault = f"SIGSTOP past the lease, then SIGCONT: late ack of a request, {NAMES[home.engine.dialect.name]}"
    save_rows(f"stopped_ack_{home.engine.dialect.name}", [FaultRow(fault, 1, 0, 0, f"lease + {took:.1f} s")])


def drain_until_completed(home: BatchHome, server: ForkServer, request_id: int) -> bool:
    """Drain the queue once, and return whether the request is completed."""
    assert server.start(DRAIN, environment=home.environment).finish() == 0
    return RequestStatus.COMPLETED in read_request(home, request_id)


def read_request(home: BatchHome, request_id: int) -> tuple[object, ...]:
    """Return the row of a request."""
    with read_transaction(home.engine) as connection:
        return tuple(connection.execute(select(request).where(request.c.id == request_id)).one())
