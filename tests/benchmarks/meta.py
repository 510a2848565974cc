"""What the benchmarks against the simulated platform share: homes, the platform's clock, true rows and calls."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from sqlalchemy import select as select_rows

from adwarm.foundation.clock import Clock, VirtualClock
from adwarm.model import Account, QuerySpec, Row, Window
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.sources.protocol import Increment
from adwarm.store import accounts, partitions, read_transaction
from adwarm.store.partition_rows import daily_rows
from adwarm.store.partitions import table as partition
from graph_simulator.insights import render, select
from graph_simulator.query import read_query
from graph_simulator.server import SimulatorServer

SPEC = QuerySpec()
_OWN_FIELDS = {"campaign_id", "campaign_name", "adset_id", "adset_name"}


@contextmanager
def temporary_runtime(url: str, clock: Clock, **values: Any) -> Iterator[Runtime]:
    """Yield a runtime of an empty home whose source is the platform at `url`."""
    with TemporaryDirectory(prefix="adwarm-bench-") as folder:
        yield runtime_at(Path(folder), url, clock, **values)


def runtime_at(home: Path, url: str, clock: Clock, **values: Any) -> Runtime:
    """Return the runtime of a home."""
    source = {"graph_url": url, "access_token": "simulated-token", **values.pop("source", {})}
    return Runtime(Settings(home=home, source=source, **values), clock)


def save_accounts(runtime: Runtime, server: SimulatorServer) -> list[Account]:
    """Store the platform's accounts without a call, as they are once history is present."""
    world = server.state.dataset
    result = [Account(name, world.zone_of(name), world.zone_of(name), "USD") for name in world.account_ids()]
    accounts.save(runtime.engine, result, runtime.clock.now())
    return result


def set_time(server: SimulatorServer, clock: VirtualClock, moment: datetime) -> None:
    """Set the platform's and the runtime's clock to `moment`; both stand still."""
    server.set_now(moment, frozen=True)
    clock.set(moment)


def expected_rows(server: SimulatorServer, account: str, windows: Iterable[Window], increment: Increment) -> list[Row]:
    """Return the true rows of an account on the platform, without a call."""
    platform, now = server.state, server.state.clock.now()
    result: list[Row] = []
    for window in windows:
        span = orjson.dumps({"since": str(window.since), "until": str(window.until)}).decode()
        params = {"level": "ad", "fields": ",".join(("account_id", "ad_id", *SPEC.fields)), "time_range": span}
        if increment is Increment.DAY:
            params["time_increment"] = "1"
        query = read_query(params, platform.dataset.zone_of(account), now)
        chosen = select(platform.dataset, account, query, now)
        result += render(chosen.table, (chosen.windows, chosen.objects), query.fields)
    return result


def stored_rows(runtime: Runtime, account: str, window: Window) -> list[Row]:
    """Return the stored daily rows of an account."""
    states = partitions.list_states(runtime.engine, account, runtime.settings.spec("default").hash, window)
    return daily_rows(runtime.objects, states, window)


def by_key(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Return rows by day and ad."""
    return {(str(row["date_start"]), str(row["date_stop"]), str(row["ad_id"])): row for row in rows}


@dataclass
class RowDifference:
    """How stored rows differ from the true ones."""

    true: int = 0
    missing: int = 0
    wrong: int = 0
    extra: int = 0
    duplicates: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether every row is stored once, and correct."""
        return not (self.missing or self.wrong or self.extra or self.duplicates)

    def add(self, stored: list[Row], true: list[Row]) -> None:
        """Count one account's rows."""
        have, want = by_key(stored), by_key(true)
        self.true += len(want)
        self.missing += len(want.keys() - have.keys())
        self.extra += len(have.keys() - want.keys())
        self.duplicates += len(stored) - len(have)
        self.wrong += sum(have[key] != want[key] for key in want.keys() & have.keys())


def digest(runtime: Runtime, window: Window) -> str:
    """Return a digest of every stored account-day of a window: which are stored, and their rows."""
    columns = (partition.c.account_id, partition.c.day, partition.c.rows, partition.c.content_hash)
    query = select_rows(*columns).where(partition.c.day.between(window.since, window.until)).order_by(*columns[:2])
    with read_transaction(runtime.engine) as connection:
        lines = "\n".join("|".join(map(str, row)) for row in connection.execute(query))
    return hashlib.sha256(lines.encode()).hexdigest()
