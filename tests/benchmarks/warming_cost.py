"""CPU of warming a key beside a plain script: requests, orjson, Parquet, zstd and one upsert, without any guarantee.

Both fetch the same accounts of a simulated platform, which runs in a process of its own, day after day, each round one
after the other. The script fetches all days of every key; adwarm plans, is admitted, holds a lease, publishes what is
new under its fence, keeps versions and records outcomes. `python -m tests.benchmarks.warming_cost`.
"""

import argparse
import sqlite3
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import requests
import zstandard

from adwarm.foundation.clock import VirtualClock
from adwarm.model import Account, PlannedWarm, ReportKey, WarmReason, Window, resolve_window
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime
from adwarm.store import accounts, jobs, warms
from graph_simulator.config import FIRST_ACCOUNT
from tests.benchmarks.backfill import NOW, Platform, simulated
from tests.benchmarks.measure import sized
from tests.benchmarks.meta import SPEC, runtime_at
from tests.benchmarks.targets import TargetResults

RANGES = ("last_7d", "yesterday", "last_3d", "last_14d", "last_28d")
ROUNDS = sized(5, 1)
LIMITS = {"one key an account": 2.2, "five keys an account": 1.4}
_ROOMY = {"rate_per_second": 1_000, "burst": 1_000, "max_concurrent": 100, "cpu_percent": 100}


@dataclass
class PlainScript:
    """What somebody writes in an afternoon."""

    url: str
    folder: Path

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._database = sqlite3.connect(self.folder / "plain.sqlite")
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("CREATE TABLE entry (key TEXT PRIMARY KEY, body BLOB, fetched_at TEXT)")

    def warm(self, account: str, date_range: str, now: datetime) -> None:
        """Fetch the daily rows of a key, and store them as Parquet and as a compressed document."""
        rows = self._fetch(account, resolve_window(date_range, "UTC", now))
        columns = {
            name: [str(row.get(name)) for row in rows] for name in sorted({name for row in rows for name in row})
        }
        pq.write_table(pa.table(columns), self.folder / f"{account}-{date_range}.parquet", compression="zstd")
        body = zstandard.ZstdCompressor(level=3).compress(orjson.dumps(columns))
        with self._database:
            self._database.execute(
                "INSERT INTO entry VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                (f"{account} {date_range}", body, now.isoformat()),
            )

    def _fetch(self, account: str, window: Window) -> list[dict[str, object]]:
        span = orjson.dumps({"since": str(window.since), "until": str(window.until)}).decode()
        parameters: dict[str, str] | None = {
            "level": "ad",
            "fields": ",".join(("account_id", "ad_id", *SPEC.fields)),
            "time_range": span,
            "time_increment": "1",
            "limit": "500",
            "access_token": "simulated-token",
        }
        url, rows = f"{self.url}/v25.0/{account}/insights", list[dict[str, object]]()
        while url:
            answer = self._session.get(url, params=parameters, timeout=30)
            answer.raise_for_status()
            page = orjson.loads(answer.content)
            rows += page["data"]
            url, parameters = page.get("paging", {}).get("next", ""), None
        return rows


def _warm(runtime: Runtime, names: Sequence[str], ranges: Sequence[str]) -> None:
    """Plan and carry out a batch, as a task of a DAG does."""
    now = runtime.clock.now()
    planned = [
        PlannedWarm(key=ReportKey(name, date_range), reason=WarmReason.STRATEGY, decided_at=now, warm_at=now)
        for name in names
        for date_range in ranges
    ]
    run = f"bench/{now.isoformat()}"
    warms.replace_plan(runtime.engine, run, planned)
    jobs.start(runtime.engine, run, "bench", len(planned), now)
    result = warm_batch(runtime.prefetch_engine(), run, 0)
    if not all(outcome.status.is_served for outcome in result.outcomes):
        raise SystemExit(f"not every key was warmed: {result.errors(3)}")


def _set_time(platform: Platform, clock: VirtualClock, moment: datetime) -> None:
    clock.set(moment)
    at = {"now": moment.isoformat(), "frozen": True}
    requests.post(f"{platform.url}/control/clock", json=at, timeout=20).raise_for_status()


def measure(number: int, ads: int, ranges: Sequence[str]) -> tuple[float, float]:
    """Return the median CPU milliseconds of a key, of the script and of adwarm; the first day is not counted."""
    names, spent = [f"act_{FIRST_ACCOUNT + index}" for index in range(number)], list[tuple[float, float]]()
    with simulated(number, ads) as platform, TemporaryDirectory(prefix="adwarm-bench-") as folder:
        clock = VirtualClock(NOW)
        runtime = runtime_at(Path(folder), platform.url, clock, backpressure=_ROOMY)
        accounts.save(runtime.engine, [Account(name, "UTC", "UTC", "USD") for name in names], clock.now())
        script = PlainScript(platform.url, Path(folder))
        for day in range(ROUNDS + 1):
            _set_time(platform, clock, NOW + timedelta(days=day))
            started = time.process_time()
            for name in names:
                for date_range in ranges:
                    script.warm(name, date_range, clock.now())
            between = time.process_time()
            _warm(runtime, names, ranges)
            spent.append((between - started, time.process_time() - between))
    keys = number * len(ranges)
    plain, product = (statistics.median(values) * 1000 / keys for values in zip(*spent[1:], strict=True))
    return plain, product


def main(arguments: Sequence[str]) -> int:
    """Measure both shapes, print them and compare them with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=sized(30, 2))
    parser.add_argument("--ads", type=int, default=sized(20, 2))
    chosen = parser.parse_args(arguments)
    verdicts = TargetResults("warming", f"{chosen.accounts} accounts of {chosen.ads} ads, {ROUNDS} days")
    rows = []
    for (shape, limit), ranges in zip(LIMITS.items(), (RANGES[:1], RANGES), strict=True):
        plain, product = measure(chosen.accounts, chosen.ads, ranges)
        verdicts.check_at_most(f"CPU of {shape}, beside the script", product / plain, limit)
        rows.append({"what": shape, "script, ms a key": plain, "adwarm, ms a key": product, "ratio": product / plain})
    return verdicts.finish(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
