"""One planning run over 100,000 keys, from the stored log to a priced plan: the adwarm model and the seasonal baseline.

A run does what a task does: load the live forecast, read the opens of the last eight weeks from the store, predict
probabilities for every key, read expiries, stored entries and request costs, and select by price. Each run is a process
of its own; its wall time (without imports), its CPU time and peak memory (with imports, from bytecode) are measured.
The seasonal model, which reads no opens, is the baseline. Training is not included. The seconds that a run takes to
store the outlook on the next 24 hours are measured apart. A run has the allocator's settings that adwarm's Airflow has.

`python -m tests.benchmarks.planning_run [accounts]`; each account has ten reports.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.cli.airflow import ALLOCATOR
from tests.benchmarks.measure import peak_mb, save_results, sized, train_fast_if_tiny

END = datetime(2026, 3, 3, 8, tzinfo=UTC)
WEEKS = sized(8, 4)
RANGES = (
    "today",
    "yesterday",
    "last_7d",
    "last_30d",
    "last_3d",
    "last_14d",
    "this_month",
    "last_month",
    "last_28d",
    "this_week",
)
ZONES = ("Europe/Rome", "America/New_York", "Asia/Tokyo", "America/Los_Angeles")
ROUNDS = sized(3, 1)
LIMITS = {"seconds": 30.0, "peak_mb": 1024.0}


def write_log(path: Path, accounts: int) -> int:
    """Write a seeded log in which every key is opened about 30 times in eight weeks, in its reader's office hours."""
    draw = np.random.default_rng(5)
    account = np.repeat(np.arange(accounts), len(RANGES))
    hour, share = draw.integers(8, 18, len(account)), draw.beta(2, 2, len(account))
    shift = np.array([1, -5, 9, -8])[account % len(ZONES)]
    writer, total = None, 0
    for day in range(-7 * WEEKS, 1):
        came = np.flatnonzero(draw.random(len(account)) < share)
        start = (END.replace(hour=0) + timedelta(days=day)).timestamp()
        ts = start + 3600 * (hour[came] - shift[came]) + draw.integers(0, 3600, len(came))
        came, ts = came[ts < END.timestamp()], ts[ts < END.timestamp()]
        words = [f"act_{n}" for n in range(accounts)]
        table = pa.table({
            "ts": pa.array((np.sort(ts) * 1e6).astype("int64"), pa.timestamp("us", "UTC")),
            "account_id": pa.DictionaryArray.from_arrays(account[came[np.argsort(ts)]].astype("int32"), words),
            "date_range": pa.DictionaryArray.from_arrays((came[np.argsort(ts)] % len(RANGES)).astype("int32"), RANGES),
            "time_zone": pa.DictionaryArray.from_arrays(
                (account[came[np.argsort(ts)]] % len(ZONES)).astype("int32"), ZONES
            ),
        })
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        total += len(ts)
    if writer:
        writer.close()
    return total


def prepare(home: Path, accounts: int) -> dict[str, Any]:
    """Read the log into the store of `home`, and train the forecasts."""
    os.environ |= {"ADWARM_HOME": str(home), "ADWARM_ACCESS_LOG__URL": str(home / "log.parquet")}
    events = write_log(home / "log.parquet", accounts)
    from adwarm.forecast.snapshot import save_snapshot
    from adwarm.forecast.training.train import COMPETING_KINDS, TRAINERS, load_training_opens
    from adwarm.model import Account
    from adwarm.patterns.ingest.run import ingest
    from adwarm.runtime import Runtime
    from adwarm.store import accounts as accounts_table

    train_fast_if_tiny()
    runtime = Runtime()
    engine, settings = runtime.engine, runtime.settings
    ingest(runtime.context, END)
    until = END.replace(hour=0)
    opens = load_training_opens(runtime.context, until)
    zones = dict(zip(opens.account_id.tolist(), opens.zone.tolist(), strict=True))
    accounts_table.save(engine, [Account(name, zone, zone) for name, zone in zones.items()], until)
    ids = {}
    for kind in COMPETING_KINDS:
        started = time.perf_counter()
        forecast = TRAINERS[kind](opens, settings, until)
        ids[kind] = save_snapshot(runtime.context, forecast, metrics={}, at=until).id
        print(f"trained {kind} in {time.perf_counter() - started:.1f} s")
    return {"ids": ids, "events": events, "keys": opens.key_count}


def worker(snapshot: str) -> dict[str, Any]:
    """Make the snapshot live, plan once, and return the measurements of this process."""
    from adwarm.forecast.snapshot import promote_snapshot
    from adwarm.planning.decide import LIVE_DAG, _plan_forecast, _save_outlook
    from adwarm.planning.store_view import StoreView
    from adwarm.runtime import Runtime

    imports = time.process_time()
    runtime = Runtime()
    promote_snapshot(runtime.engine, snapshot, END)
    started = time.perf_counter()
    plan, slots = _plan_forecast(runtime.context, END, LIVE_DAG, StoreView(runtime.context, END), None)
    planned = time.perf_counter()
    _save_outlook(runtime.context, slots, plan, END)
    return {
        "seconds": planned - started,
        "outlook": time.perf_counter() - planned,
        "cpu": time.process_time(),
        "imports' cpu": imports,
        "peak_mb": peak_mb(),
        "planned": len(plan.recommendations),
        "cut": plan.cut_total,
    }


def run(accounts: int = sized(10_000, 4)) -> None:
    """Prepare, plan with each kind in turn, print the table and write it to a file."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(folder), accounts)
        runs = {kind: [_one(snapshot) for _ in range(ROUNDS)] for kind, snapshot in prepared["ids"].items()}
    best = {kind: min(result, key=lambda one: one["cpu"]) for kind, result in runs.items()}
    base = best["hour_of_week"]
    rows = [
        {
            "what": kind,
            **one,
            "times the rhythm": one["seconds"] / base["seconds"],
            "of the limit": max(one[name] / limit for name, limit in LIMITS.items()),
        }
        for kind, one in best.items()
    ]
    keys, events = prepared["keys"], prepared["events"]
    title = f"A planning run over {keys:,} keys, {events:,} opens in eight weeks; limits 30 s, 1 GiB"
    save_results("planning_run", title, rows)


def _one(snapshot: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.planning_run", "--worker", snapshot]
    # No round measures the compiler but the first.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **ALLOCATOR}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(worker(sys.argv[2])))
    else:
        run(*(int(text) for text in sys.argv[1:2]))
