"""A home with the plan of one small batch, on which workers are killed, and what is right once it has recovered."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, select

from adwarm.maintenance.integrity import verify_store
from adwarm.model import PlannedWarm, ReportKey, WarmReason, WarmStatus
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, entries, jobs, open_engine, read_transaction, upgrade, warms
from adwarm.store.database import write_transaction
from adwarm.store.leases import table as lease
from adwarm.store.schema import get_current_revision
from adwarm.store.tables import metadata
from tests.faults.batch_worker import RUN
from tests.support.fork_server import ForkedWorker, ForkServer

BATCH = "tests.faults.batch_worker:run_batch"
RETRY = "tests.faults.batch_worker:retry_batch"
LEASE_SECONDS = 1.0
_MOST_WORKERS = 5


@dataclass(frozen=True, slots=True)
class Damage:
    """What a fault cost, in keys; all zeros when the batch recovered from it."""

    lost: int
    duplicated: int


class BatchHome:
    """A home whose batch is fetched from a platform.

    Args:
        folder: an empty folder for it.
        platform: URL of the platform.
        url: of a database with the schema; an SQLite file in the folder when None.
        settings: further settings, without the prefix.
    """

    def __init__(self, folder: Path, platform: str, url: str | None = None, **settings: str) -> None:
        values = {
            "HOME": str(folder / "home"),
            "DATABASE_URL": url or f"sqlite:///{folder}/home/adwarm.db",
            "WORKERS": "3",
            "SOURCE__GRAPH_URL": platform,
            "SOURCE__ACCESS_TOKEN": "simulated-token",
            "BACKPRESSURE__LEASE_SECONDS": str(LEASE_SECONDS),
            "RECOVERY__INITIAL_DELAY_SECONDS": "0",
            "SQL__STATEMENT_TIMEOUT_SECONDS": "10",
            **settings,
        }
        self.environment = {f"ADWARM_{name}": value for name, value in values.items()}
        # Only what this process itself uses: the settings of the workers are in their environment.
        self.settings = Settings(home=folder / "home", database_url=values["DATABASE_URL"])
        self.keys: list[ReportKey] = []

    @property
    def engine(self) -> Engine:
        """The database, from this process."""
        return open_engine(self.settings.database, self.settings.sql)

    @property
    def context(self) -> Context:
        """Database, objects and settings, from this process."""
        return Context(self.engine, ObjectStore(self.settings.data), self.settings)

    def prepare(self, accounts: int, *date_ranges: str) -> None:
        """Empty the database, and store the plan of one batch."""
        if get_current_revision(self.engine) is None:
            upgrade(self.engine)
        with write_transaction(self.engine) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        now = datetime.now(UTC)
        self.keys = [ReportKey(f"act_{number}", name) for number in range(1, accounts + 1) for name in date_ranges]
        rows = [PlannedWarm(key=key, reason=WarmReason.STRATEGY, decided_at=now, warm_at=now) for key in self.keys]
        warms.replace_plan(self.engine, RUN, rows)
        jobs.start(self.engine, RUN, "dag", len(rows), now)

    def list_published(self) -> dict[ReportKey, datetime]:
        """Return when each published entry was fetched."""
        stored = {(item.key.account_id, item.key.window): item.fetched_at for item in entries.list_entries(self.engine)}
        return {ReportKey(account, str(window)): at for (account, window), at in stored.items()}

    def list_leases(self, pid: int) -> dict[str, int]:
        """Return the leases that a process holds, with their tokens."""
        query = select(lease.c.name, lease.c.token).where(lease.c.owner.contains(f":{pid}:"))
        with read_transaction(self.engine) as connection:
            return {row.name: row.token for row in connection.execute(query)}

    def list_tokens(self, names: Sequence[str]) -> dict[str, int]:
        """Return the tokens of leases by name; a lease that was taken over has a higher one."""
        with read_transaction(self.engine) as connection:
            query = select(lease.c.name, lease.c.token).where(lease.c.name.in_(names))
            return {row.name: row.token for row in connection.execute(query)}

    def count_unserved(self) -> int:
        """Return the warms that did not end served."""
        return sum(not row.status.is_served for row in warms.list_by_run(self.engine, RUN))

    def complete(self, server: ForkServer, running: ForkedWorker | None = None) -> None:
        """Run workers, the running one first, until every warm of the batch is served."""
        for _ in range(_MOST_WORKERS):
            worker = running or server.start(RETRY, environment=self.environment)
            running = None
            code = worker.finish(90)
            if code:
                raise AssertionError(f"a worker that nobody killed ended with {code}: {worker.output}")
            if not self.count_unserved():
                return
        raise AssertionError(f"{self.count_unserved()} warms are never served: {worker.output}")

    def check(self, before: dict[ReportKey, datetime]) -> Damage:
        """Return what was lost and what was written twice, given what was published at the moment of the fault."""
        after = self.list_published()
        served = {WarmStatus.FETCHED, WarmStatus.FRESH}
        rows = warms.list_by_run(self.engine, RUN)
        (job,) = jobs.list_latest(self.engine)
        lost = sum(row.status not in served for row in rows) + max(0, len(self.keys) - len(after))
        lost += len(verify_store(self.context).corrupt) + max(0, len(self.keys) - job.done)
        twice = sum(after.get(key) != at for key, at in before.items())
        twice += max(0, len(after) - len(self.keys)) + max(0, job.done - len(self.keys)) + job.failed
        return Damage(lost, twice)

    def close(self) -> None:
        """Close this process's connections."""
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class KillTrial:
    """How a batch went of whose two workers one was killed.

    Attributes:
        killed: whether it still ran.
        reclaimed: seconds from the kill until each lease that it held was the other worker's.
        unhindered: the same seconds, less those in which a process of the machine waited for a processor.
        recovered: seconds from the kill until the batch was complete.
    """

    killed: bool
    damage: Damage
    reclaimed: tuple[float, ...]
    unhindered: tuple[float, ...]
    recovered: float


def kill_one_of_two(home: BatchHome, server: ForkServer, wait: Callable[[], None]) -> KillTrial:
    """Run two workers on the home's batch, kill the first after `wait`, and let the second one complete it."""
    first, second = (server.start(BATCH, environment=home.environment) for _ in range(2))
    wait()
    killed, at, stalled = first.kill(), time.monotonic(), _stalled_seconds()
    code = first.finish()
    before, held = home.list_published(), home.list_leases(first.pid)
    reclaimed: dict[str, float] = {}
    unhindered: dict[str, float] = {}
    while len(reclaimed) < len(held):
        is_last = not second.is_running
        tokens = home.list_tokens(list(held))
        taken = [name for name, token in held.items() if tokens[name] > token and name not in reclaimed]
        took = time.monotonic() - at
        reclaimed |= dict.fromkeys(taken, took)
        unhindered |= dict.fromkeys(taken, took - (_stalled_seconds() - stalled))
        if is_last:
            break
        time.sleep(0.01)
    home.complete(server, second)
    recovered = time.monotonic() - at
    times = tuple(reclaimed.values()), tuple(unhindered.values())
    return KillTrial(killed and code < 0, home.check(before), *times, recovered)


def _stalled_seconds() -> float:
    """Return for how long since its start a process of the machine waited for a processor; 0 if no kernel tells."""
    try:
        text = Path("/proc/pressure/cpu").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(text.partition("total=")[2].split()[0]) / 1e6
