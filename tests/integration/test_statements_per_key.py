"""How many SQL statements a warmed key takes, admission, lease, publication and ledger included.

Transaction control (`BEGIN`, `COMMIT`) and the pool's pings are not counted. A statement with many rows counts once,
and so do those that PostgreSQL gets in one round trip.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from adwarm.foundation.clock import VirtualClock
from adwarm.model import Account, PlannedWarm, ReportKey, WarmReason
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import accounts, jobs, warms
from graph_simulator.config import FIRST_ACCOUNT, SimulatorConfig
from graph_simulator.server import SimulatorServer

NOON = datetime(2026, 9, 16, 12, tzinfo=UTC)
RANGES = (
    *("today", "yesterday", "last_3d", "last_7d", "last_14d", "last_28d", "last_30d", "this_month", "last_month"),
    "2026-09-01..2026-09-10",
)
MOST = 3.0


class WarmedFleet:
    """Accounts on the simulated platform with ten keys each, warmed as batches of a plan."""

    def __init__(self, engine: Engine, home: Path, server: SimulatorServer, clock: VirtualClock, number: int) -> None:
        self.server, self.clock, self.names = server, clock, [f"act_{FIRST_ACCOUNT + item}" for item in range(number)]
        settings = Settings(
            home=home,
            database_url=engine.url.render_as_string(hide_password=False),
            workers=4,
            source={"graph_url": server.url, "access_token": "simulated-token"},
            backpressure={"rate_per_second": 1_000, "burst": 10_000, "max_concurrent": 100},
        )
        self.runtime = Runtime(settings, clock)
        world = server.state.dataset
        known = [Account(name, world.zone_of(name), world.zone_of(name), "USD") for name in self.names]
        accounts.save(self.runtime.engine, known, clock.now())

    def warm(self, hours: float) -> float:
        """Warm every key `hours` after noon, and return the statements per key."""
        now = NOON + timedelta(hours=hours)
        self.server.set_now(now, frozen=True)
        self.clock.set(now)
        run = f"dag/{hours}"
        plan = [
            PlannedWarm(key=ReportKey(name, range_), reason=WarmReason.STRATEGY, decided_at=now, warm_at=now)
            for name in self.names
            for range_ in RANGES
        ]
        warms.replace_plan(self.runtime.engine, run, plan)
        jobs.start(self.runtime.engine, run, "dag", len(plan), now)
        with counting_statements(self.runtime.engine) as statements:
            result = warm_batch(self.runtime.prefetch_engine(), run, 0)
        assert all(outcome.status.is_served for outcome in result.outcomes), result.errors(2)
        assert len(result.outcomes) == len(plan)
        return len(statements) / len(plan)


@contextmanager
def counting_statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that are sent to the database within the context."""
    statements: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", record)


@pytest.fixture(autouse=True)
def without_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch by pages, however many days are missing."""
    monkeypatch.setattr("adwarm.fetch_plan.REPORT_DAYS", 400)


def measure(engine: Engine, home: Path, number: int) -> dict[str, float]:
    """Return the statements per key of the first fill, a day later, and when all is fresh."""
    clock = VirtualClock(NOON)
    with SimulatorServer(SimulatorConfig(accounts=number, ads=2, seed=7, now=NOON)) as server:
        fleet = WarmedFleet(engine, home, server, clock, number)
        return {"first fill": fleet.warm(0), "next day": fleet.warm(24), "all fresh": fleet.warm(24.01)}


@pytest.mark.slow
def test_a_key_takes_at_most_three_statements_however_large_the_batch(
    engine: Engine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At the first fill and the next day's refresh, far fewer when nothing is due; 600 keys take as many as 200."""
    large = measure(engine, tmp_path, 60)
    # The second fleet has accounts of the same names.
    for name in ("entry", "partition", "lease", "capacity_scope", "capacity_grant", "gate"):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM {name}")
    small = measure(engine, tmp_path_factory.mktemp("small"), 20)
    assert max(*large.values(), *small.values()) <= MOST, (large, small)
    assert small["all fresh"] < 1, small
    for phase, value in large.items():
        assert value <= small[phase] * 1.1 + 0.1, (phase, large, small)
