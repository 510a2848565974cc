"""CPU of warming a key beside a plain script: requests, orjson, Parquet, zstd and one upsert, without any guarantee.

Both fetch the same accounts of a simulated platform, day after day, each round one after the other. Platform, script
and adwarm have a process each. The script fetches all days of every key; adwarm plans, is admitted, holds a lease,
publishes what is new under its fence, keeps versions and records outcomes. `python -m tests.benchmarks.warming_cost`.
One more day counts what the database was given to do: a script of several statements counts once.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from sqlalchemy import Connection, Engine, event

from adwarm.foundation.clock import VirtualClock
from adwarm.model import Account, PlannedWarm, ReportKey, WarmReason, resolve_window
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime
from adwarm.store import accounts, jobs, warms
from graph_simulator.config import FIRST_ACCOUNT
from tests.benchmarks.backfill import NOW, Platform, simulated
from tests.benchmarks.measure import sized
from tests.benchmarks.meta import SPEC, runtime_at
from tests.benchmarks.targets import TargetResults

RANGES = ("last_7d", "yesterday", "last_3d", "last_14d", "last_28d")
ROUNDS = sized(15, 1)
LIMITS = {"one key an account": 2.2, "five keys an account": 1.0}
_ROOMY = {"rate_per_second": 1_000, "burst": 1_000, "max_concurrent": 100, "cpu_percent": 100}


@contextmanager
def _script(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the script, which ends with its input."""
    fields = ",".join(("account_id", "ad_id", *SPEC.fields))
    command = [sys.executable, "-m", "tests.benchmarks.plain_script", url, str(folder), fields]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _run_script(process: subprocess.Popen[str], names: Sequence[str], ranges: Sequence[str], now: datetime) -> float:
    """Let the script fetch a day, and return the CPU seconds that it took."""
    assert process.stdin is not None
    assert process.stdout is not None
    windows = [(date_range, resolve_window(date_range, "UTC", now)) for date_range in ranges]
    reports = [(name, chosen, str(window.since), str(window.until)) for name in names for chosen, window in windows]
    print(json.dumps({"now": now.isoformat(), "reports": reports}), file=process.stdin, flush=True)
    return float(process.stdout.readline())


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


@contextmanager
def _counting(engine: Engine) -> Iterator[Counter[str]]:
    """Count the statements and the write transactions of the block."""
    counts = Counter[str]()

    def on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        counts["statements"] += not statement.startswith("BEGIN")

    def on_commit(connection: Connection) -> None:
        counts["writes"] += connection.get_execution_options().get("sqlite_begin") == "IMMEDIATE"

    event.listen(engine, "before_cursor_execute", on_statement)
    event.listen(engine, "commit", on_commit)
    yield counts


def measure(number: int, ads: int, ranges: Sequence[str]) -> tuple[float, float, Counter[str]]:
    """Return the median CPU milliseconds of a key, of the script and of adwarm, and the counts of all keys of a day.

    The first day is left out, and the last one only counted.
    """
    names, spent = [f"act_{FIRST_ACCOUNT + index}" for index in range(number)], list[tuple[float, float]]()
    with (
        simulated(number, ads) as platform,
        TemporaryDirectory(prefix="adwarm-bench-") as folder,
        _script(platform.url, Path(folder)) as script,
    ):
        clock = VirtualClock(NOW)
        runtime = runtime_at(Path(folder), platform.url, clock, backpressure=_ROOMY)
        accounts.save(runtime.engine, [Account(name, "UTC", "UTC", "USD") for name in names], clock.now())
        for day in range(ROUNDS + 2):
            _set_time(platform, clock, NOW + timedelta(days=day))
            discovery = runtime.account_discovery()
            discovery.run(discovery.list_due(runtime.source_factories())[0])  # as maintenance does, a few times a day
            if day > ROUNDS:
                break
            plain, started = _run_script(script, names, ranges, clock.now()), time.process_time()
            _warm(runtime, names, ranges)
            spent.append((plain, time.process_time() - started))
        with _counting(runtime.engine) as counts:
            _warm(runtime, names, ranges)
    keys = number * len(ranges)
    plain, product = (statistics.median(values) * 1000 / keys for values in zip(*spent[1:], strict=True))
    return plain, product, counts


def main(arguments: Sequence[str]) -> int:
    """Measure both shapes, print them and compare them with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=sized(30, 2))
    parser.add_argument("--ads", type=int, default=sized(20, 2))
    chosen = parser.parse_args(arguments)
    verdicts = TargetResults("warming", f"{chosen.accounts} accounts of {chosen.ads} ads, {ROUNDS} days")
    rows = []
    for (shape, limit), ranges in zip(LIMITS.items(), (RANGES[:1], RANGES), strict=True):
        plain, product, counts = measure(chosen.accounts, chosen.ads, ranges)
        verdicts.check_at_most(f"CPU of {shape}, beside the script", product / plain, limit)
        row = {"what": shape, "script, ms a key": plain, "adwarm, ms a key": product, "ratio": product / plain}
        keys = chosen.accounts * len(ranges)
        rows.append(row | {f"{name} a key": count / keys for name, count in counts.items()})
    return verdicts.finish(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
