"""Slots of a quarter of an hour, from 10 and 50 million events, beside DuckDB and Polars.

adwarm runs the product's ingest; see `contenders`. Each contender reads the same Parquet file and computes the same
table in a process of its own; the runs take turns, and the figures are medians. The tables are compared row by row. The
log is written before the time starts: seeded, in order, 10,000 accounts by Zipf's law, 10 ranges, 8 zones, six weeks.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adwarm.patterns.open_history import iter_slots
from adwarm.patterns.slot_counts import SLOT_MICROS
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, open_engine
from tests.benchmarks.contenders import CONTENDERS, KEYS
from tests.benchmarks.measure import find_missing, save_results, sized

SIZES = sized((10_000_000, 50_000_000), (20_000, 40_000))
REPEATS = sized(5, 1)
ACCOUNTS, CHUNK, GROUP = 10_000, sized(1_000_000, 20_000), 262_144
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

_TIMESTAMP = pa.timestamp("ms", "UTC")
_STRINGS = pa.dictionary(pa.int32(), pa.string())


def write_log(path: Path, events: int) -> None:
    """Write the log, a million events at a time."""
    rng = np.random.default_rng(7)
    weights = np.cumsum(1 / np.arange(1, ACCOUNTS + 1))
    accounts = pa.array([f"act_{10**15 + 7919 * n}" for n in rng.permutation(ACCOUNTS).tolist()])
    zone_of = rng.integers(0, len(ZONES), ACCOUNTS).astype(np.int32)
    start, span = int(START.timestamp()) * 1000, DAYS * 86_400_000
    schema = pa.schema({"ts": _TIMESTAMP, "account_id": _STRINGS, "date_range": _STRINGS, "time_zone": _STRINGS})
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        for first in range(0, events, CHUNK):
            moments = np.sort(rng.integers(span * first // events, span * (first + CHUNK) // events, CHUNK)) + start
            account = np.searchsorted(weights, rng.random(CHUNK) * weights[-1]).astype(np.int32)
            date_range = (rng.random(CHUNK) ** 1.5 * len(RANGES)).astype(np.int32)
            words = ((account, accounts), (date_range, pa.array(RANGES)), (zone_of[account], pa.array(ZONES)))
            columns = [pa.DictionaryArray.from_arrays(pa.array(codes), names) for codes, names in words]
            table = pa.Table.from_arrays([pa.array(moments).cast(_TIMESTAMP), *columns], schema=schema)
            writer.write_table(table, row_group_size=GROUP)


def measured(name: str, folder: Path) -> dict[str, float]:
    """Run one contender in a process of its own."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.contenders", name, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"process": time.perf_counter() - started}


def prepare(name: str, folder: Path) -> None:
    """Remove what an earlier run of adwarm has stored: a second ingest would find nothing new to read."""
    if name == "adwarm":
        shutil.rmtree(folder / "data", ignore_errors=True)
        for path in folder.glob("adwarm.db*"):
            path.unlink()


def ingested_slots(folder: Path) -> pa.Table:
    """Return the slots that adwarm has published, in the columns and the order of the peers' tables."""
    engine, objects = open_engine(f"sqlite:///{folder}/adwarm.db"), ObjectStore(str(folder / "data"))
    table = pa.concat_tables(iter_slots(Context(engine, objects, Settings()), START, START + timedelta(days=DAYS)))
    engine.dispose()  # the next run has a new file at the same place
    slot = pc.divide(pc.cast(table["slot"], pa.int64()), SLOT_MICROS)
    return table.drop_columns(["report"]).set_column(table.column_names.index("slot") - 1, "slot", slot)


def installed() -> list[str]:
    """Return the contenders that can run here; the modules of the peers have their names."""
    return [name for name in CONTENDERS if name == "adwarm" or not find_missing(name)]


def require_equal(folder: Path, events: int) -> int:
    """Compare the tables row by row; return how many rows they have."""
    slots = ingested_slots(folder)
    if (counted := pc.sum(slots["opens"]).as_py()) != events:
        raise SystemExit(f"adwarm counted {counted:,} of {events:,} events")
    for name in installed():
        if name == "adwarm":
            continue
        for column in slots.column_names:
            other = pq.read_table(folder / f"{name}.parquet", columns=[column])[column]
            kind = pa.string() if column in KEYS else pa.int64()
            if pa.types.is_timestamp(slots[column].type):
                other = pc.cast(other, slots[column].type)
            if not pc.cast(slots[column], kind).equals(pc.cast(other, kind)):
                raise SystemExit(f"the column {column} of adwarm and {name} differs for {events:,} events")
    return slots.num_rows


def compared(folder: Path, events: int) -> list[dict[str, Any]]:
    """Run all contenders on a log of this size, in turns."""
    write_log(folder / "log.parquet", events)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in installed()}
    for _ in range(REPEATS):
        for name, taken in runs.items():
            prepare(name, folder)
            taken.append(measured(name, folder))
    rows = require_equal(folder, events)
    columns = {"seconds": "seconds", "cpu s": "cpu", "process s": "process", "peak MB": "rss_mb"}
    return [
        {"what": name if name in runs else f"{name}: not installed", "events": f"{events:,}", "rows": f"{rows:,}"}
        | {
            title: statistics.median(run[key] for run in runs[name]) if name in runs else None
            for title, key in columns.items()
        }
        for name in CONTENDERS
    ]


def run() -> None:
    """Measure and report."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for events in SIZES:
            found += compared(folder, events)
    for row in found:
        peer = next(x for x in found if x["what"].startswith("duckdb") and x["events"] == row["events"])
        small = next(x for x in found if x["what"] == row["what"])
        row["time / duckdb"] = _ratio(row["seconds"], peer["seconds"])
        row["MB / duckdb"] = _ratio(row["peak MB"], peer["peak MB"])
        row["MB / 10 M"] = _ratio(row["peak MB"], small["peak MB"])
    save_results("patterns", "Events of a Parquet log into slots of a quarter of an hour", found)


def _ratio(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


if __name__ == "__main__":
    run()
