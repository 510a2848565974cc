"""An unmodified worker that dies at any system call of a batch loses and doubles nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.faults.batch_home import BatchHome
from tests.faults.fault_results import FaultRow, save_rows
from tests.faults.point_trials import PointWalk, make_homes
from tests.support.crash_points import PointKind
from tests.support.fork_server import ForkServer
from tests.support.syscalls import CannotCount

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KEYS, FEWEST_POINTS, DIED = 6, 150, 0.95
ALL = sized(None, 1)
"""How many of the system calls `make faults SET=syscalls` tries; None for each of them."""


@pytest.fixture(scope="module")
def counting_server() -> Iterator[ForkServer]:
    """Forks workers whose system calls are counted."""
    try:
        server = ForkServer(path=[ROOT, ROOT / "include"], count_syscalls=True)
    except CannotCount as error:
        pytest.skip(str(error))
    with server:
        yield server


def prepare_plan(home: BatchHome) -> None:
    """Store a plan of six keys."""
    home.prepare(KEYS // 2, "yesterday", "last_7d")


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("most", [3, pytest.param(ALL, marks=pytest.mark.syscalls)], ids=["some", "all"])
def test_a_death_at_any_system_call_loses_nothing(
    engine: Engine, tmp_path: Path, counting_server: ForkServer, most: int | None
) -> None:
    """At each write, fsync, rename, unlink and send of six keys: every key is written once, and is counted once."""
    with SimulatorServer(SimulatorConfig(ads=2)) as platform:
        homes = make_homes(engine, tmp_path, platform.url)
        walk = PointWalk(counting_server, PointKind.SYSCALLS, prepare_plan, most)
        result = walk.run(homes)

    assert result.damaged == {}
    assert result.names["syscall"] >= FEWEST_POINTS, "SQLite's own writes are counted too"
    assert result.kills >= DIED * result.trials
    if most == ALL:
        fault = f"death at each of {result.trials} system calls of a batch of {KEYS} keys, SQLite"
        save_rows("syscalls", [FaultRow(fault, result.kills, 0, 0, f"{result.recovered:.1f} s")])
