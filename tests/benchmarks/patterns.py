"""Opens by account, date range and hour of the reader's week, from 10 and 50 million events, beside DuckDB and Polars.

Every contender reads the same Parquet file and writes the same table, in a process of its own; the runs take turns, and
the figures are medians. The tables are compared row by row. The log is made first, outside the time: seeded, in order,
10,000 accounts by Zipf's law, 10 ranges, 8 zones (whole, half and quarter hours off), six weeks over the changes of
clocks in America, Europe and Australia.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.measure import save_results

SIZES = (10_000_000, 50_000_000)
REPEATS = 5
ACCOUNTS, CHUNK, GROUP = 10_000, 1_000_000, 262_144
START, DAYS = datetime(2026, 3, 2, tzinfo=UTC), 42
RANGES = [
    "today",
    "yesterday",
    "last_3d",
    "last_7d",
    "last_14d",
    "last_28d",
    "last_30d",
    "last_90d",
    "this_month",
    "last_month",
]
ZONES = [
    "UTC",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Adelaide",
]

_MOMENT = pa.timestamp("ms", "UTC")
_WORD = pa.dictionary(pa.int32(), pa.string())


def write_log(path: Path, events: int) -> None:
    """Write the log, a million events at a time."""
    rng = np.random.default_rng(7)
    weights = np.cumsum(1 / np.arange(1, ACCOUNTS + 1))
    accounts = pa.array([f"act_{10**15 + 7919 * n}" for n in rng.permutation(ACCOUNTS).tolist()])
    zone_of = rng.integers(0, len(ZONES), ACCOUNTS).astype(np.int32)
    start, span = int(START.timestamp()) * 1000, DAYS * 86_400_000
    schema = pa.schema({"ts": _MOMENT, "account_id": _WORD, "date_range": _WORD, "time_zone": _WORD})
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        for first in range(0, events, CHUNK):
            moments = np.sort(rng.integers(span * first // events, span * (first + CHUNK) // events, CHUNK)) + start
            account = np.searchsorted(weights, rng.random(CHUNK) * weights[-1]).astype(np.int32)
            date_range = (rng.random(CHUNK) ** 1.5 * len(RANGES)).astype(np.int32)
            words = ((account, accounts), (date_range, pa.array(RANGES)), (zone_of[account], pa.array(ZONES)))
            columns = [pa.DictionaryArray.from_arrays(pa.array(codes), names) for codes, names in words]
            table = pa.Table.from_arrays([pa.array(moments).cast(_MOMENT), *columns], schema=schema)
            writer.write_table(table, row_group_size=GROUP)


def write_local_hours(path: Path) -> None:
    """Write the hour of the week of each zone and quarter of an hour, by zoneinfo alone."""
    quarters = [START + n * timedelta(minutes=15) for n in range(DAYS * 96)]
    rows = [
        {"time_zone": name, "quarter": int(at.timestamp()) // 900, "hour_of_week": local.weekday() * 24 + local.hour}
        for name in ZONES
        for at in quarters
        for local in (at.astimezone(ZoneInfo(name)),)
    ]
    schema = pa.schema({"time_zone": pa.string(), "quarter": pa.int64(), "hour_of_week": pa.uint8()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def measured(name: str, folder: Path) -> dict[str, float]:
    """Run one contender in a process of its own."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.contenders", name, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"process": time.perf_counter() - started}


def in_order(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return a table as one number per key, ascending, and its counts."""
    table = pq.read_table(path)
    codes = []
    for name in ("account_id", "date_range"):
        words = pc.cast(table[name], pa.string())
        codes.append(pc.index_in(words, pc.unique(words).sort()).to_numpy().astype(np.int64))
    keys = (codes[0] * len(RANGES) + codes[1]) * 168 + table["hour_of_week"].to_numpy()
    order = np.argsort(keys)
    return keys[order], table["opens"].to_numpy()[order]


def require_equal(folder: Path, events: int) -> int:
    """Compare the tables row by row; return how many rows they have."""
    keys, counts = in_order(folder / "adwarm.parquet")
    if counts.sum() != events:
        raise SystemExit(f"adwarm counted {counts.sum():,} of {events:,} events")
    for name in CONTENDERS:
        other_keys, other_counts = in_order(folder / f"{name}.parquet")
        if not (np.array_equal(keys, other_keys) and np.array_equal(counts, other_counts)):
            raise SystemExit(f"the tables of adwarm and {name} differ for {events:,} events")
    return len(keys)


def compared(folder: Path, events: int) -> list[dict[str, Any]]:
    """Run all contenders on a log of this size, in turns."""
    write_log(folder / "log.parquet", events)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(REPEATS):
        for name, taken in runs.items():
            taken.append(measured(name, folder))
    rows = require_equal(folder, events)
    return [
        {"what": name, "events": f"{events:,}", "rows": f"{rows:,}"}
        | {
            title: statistics.median(run[key] for run in taken)
            for title, key in (("seconds", "seconds"), ("process s", "process"), ("peak MB", "rss_mb"))
        }
        for name, taken in runs.items()
    ]


def run() -> None:
    """Measure and report."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_local_hours(folder / "local.parquet")
        for events in SIZES:
            found += compared(folder, events)
    for row in found:
        peer = next(x for x in found if x["what"] == "duckdb" and x["events"] == row["events"])
        small = next(x for x in found if x["what"] == row["what"])
        row["time / duckdb"] = row["seconds"] / peer["seconds"]
        row["MB / duckdb"] = row["peak MB"] / peer["peak MB"]
        row["MB / 10 M"] = row["peak MB"] / small["peak MB"]
    save_results("patterns", "Opens by account, range and hour of the reader's week, from Parquet to Parquet", found)


if __name__ == "__main__":
    run()
