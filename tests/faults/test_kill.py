"""A worker that is killed anywhere in a batch loses and doubles nothing: another one takes its leases over."""

import random
import time
from itertools import chain
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import Engine

from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import IS_TINY, sized
from tests.faults.batch_home import BATCH, LEASE_SECONDS, BatchHome, KillTrial, kill_one_of_two
from tests.faults.fault_results import FaultRow, save_rows
from tests.support.fork_server import ForkServer

pytestmark = pytest.mark.slow

ACCOUNTS, RANGES = 6, ("yesterday", "last_7d")
RECLAIM_SECONDS = LEASE_SECONDS + 1.0
"""Time for half of the takeovers, and for each of them on a machine that has a processor free for it."""
KILLS = sized(200, 2)
MOST_KILLS = 12
"""Kills after which one must have found a worker with a lease, however few were asked for."""
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kills", [3, pytest.param(KILLS, id="all", marks=pytest.mark.faults)])
def test_a_killed_worker_loses_nothing(
    engine: Engine, tmp_path: Path, fork_server: ForkServer, slow_platform: SimulatorServer, kills: int
) -> None:
    """At 200 seeded moments of a batch: every key is written once, and the leases are taken over in time."""
    url = engine.url.render_as_string(hide_password=False)
    home, draw = BatchHome(tmp_path, slow_platform.url, url), random.Random(14)
    home.prepare(ACCOUNTS, *RANGES)
    began = time.monotonic()
    both = [fork_server.start(BATCH, environment=home.environment) for _ in range(2)]
    assert [worker.finish() for worker in both] == [0, 0]
    seconds = time.monotonic() - began

    trials: list[KillTrial] = []
    while len(trials) < kills or (len(trials) < MOST_KILLS and not any(trial.reclaimed for trial in trials)):
        home.prepare(ACCOUNTS, *RANGES)
        moment = draw.uniform(0.0, 0.9 * seconds)
        trial = kill_one_of_two(home, fork_server, lambda moment=moment: time.sleep(moment))
        if trial.killed:
            trials.append(trial)
        else:  # it ended first: repeated at another moment
            seconds *= 0.95

    lost, twice = (sum(getattr(trial.damage, name) for trial in trials) for name in ("lost", "duplicated"))
    reclaimed = sorted(seconds for trial in trials for seconds in trial.reclaimed)
    assert (lost, twice) == (0, 0), [trial for trial in trials if trial.damage.lost or trial.damage.duplicated]
    assert reclaimed, "no kill found a worker that held a lease"
    if kills == KILLS:
        name = NAMES[engine.dialect.name]
        longest = max(trial.recovered for trial in trials)
        fault = f"kill -9 at seeded moments of a batch, {name} ({len(reclaimed)} leases taken over)"
        took = f"lease + {max(0.0, reclaimed[-1] - LEASE_SECONDS):.1f} s; batch {longest:.1f} s"
        save_rows(f"kill_{engine.dialect.name}", [FaultRow(fault, kills, lost, twice, took)])
        assert IS_TINY or median(reclaimed) <= RECLAIM_SECONDS
        assert IS_TINY or max(chain.from_iterable(trial.unhindered for trial in trials)) <= RECLAIM_SECONDS
