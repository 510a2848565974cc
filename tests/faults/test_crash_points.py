"""A worker that dies at any statement, commit, file write, lease or upstream call loses and doubles nothing."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.faults.fault_results import FaultRow, save_rows
from tests.faults.point_trials import PointWalk, make_homes
from tests.support.crash_points import PointKind
from tests.support.fork_server import ForkServer

pytestmark = pytest.mark.slow

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
KINDS = ("statement", "commit", "file", "lease", "upstream")
ALL = sized(None, 2)
"""How many of the points `make faults` tries; None for each of them."""
DIED = 0.95
"""Share of the runs that die: one whose threads interleave otherwise may end before the last points."""


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("most", [4, pytest.param(ALL, marks=pytest.mark.faults)], ids=["some", "all"])
def test_a_death_at_any_operation_loses_nothing(
    engine: Engine, tmp_path: Path, fork_server: ForkServer, most: int | None
) -> None:
    """At each operation of a batch of four keys: every key ends up written once, and is counted once."""
    with SimulatorServer(SimulatorConfig(ads=2)) as platform:
        homes = make_homes(engine, tmp_path, platform.url)
        walk = PointWalk(fork_server, PointKind.OPERATIONS, lambda home: home.prepare(2, "yesterday", "last_7d"), most)
        result = walk.run(homes)

    assert result.damaged == {}
    assert {kind for kind in KINDS if any(kind in name for name in result.names)} == set(KINDS)
    assert result.kills >= DIED * result.trials
    if most == ALL:
        fault = f"death at each of {result.trials} operations of a batch, {NAMES[engine.dialect.name]}"
        row = FaultRow(fault, result.kills, 0, 0, f"{result.recovered:.1f} s")
        save_rows(f"points_{engine.dialect.name}", [row])
