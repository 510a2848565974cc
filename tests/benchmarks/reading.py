"""Reads a million events into slots of a quarter of an hour, compared with pandas on the whole file at once."""

import tempfile
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from adwarm.access_log import read_events
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings
from tests.benchmarks.measure import median_seconds, save_results, sized

EVENTS = sized(1_000_000, 20_000)
SPAN_SECONDS = 28 * 86_400


def write_log(folder: Path) -> Path:
    """Write a seeded log: 1,000 accounts, four ranges, four weeks, in order."""
    rng = np.random.default_rng(7)
    start = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp())
    moments = np.sort(rng.integers(0, SPAN_SECONDS, EVENTS)) + start
    frame = pd.DataFrame({
        "ts": pd.to_datetime(moments, unit="s", utc=True),
        "account_id": pd.Categorical.from_codes(rng.integers(0, 1000, EVENTS), [f"act_{n}" for n in range(1000)]),
        "date_range": pd.Categorical.from_codes(
            rng.integers(0, 4, EVENTS), ["today", "yesterday", "last_7d", "last_30d"]
        ),
        "time_zone": "Europe/Berlin",
    })
    path = folder / "log.parquet"
    frame.astype({"account_id": str, "date_range": str}).to_parquet(path, index=False)
    return path


def count_slots(path: Path) -> int:
    """Count slots in a stream of batches."""
    slots = SlotAggregator()
    for batch in read_events(str(path), Settings()):
        slots.add(batch)
    return slots.table().num_rows


def pandas_whole(path: Path) -> int:
    """Count the same slots with pandas, the whole file in memory."""
    frame = pd.read_parquet(path)
    slot = frame["ts"].dt.floor("15min")
    keys = ["account_id", "date_range", "time_zone", slot.rename("slot")]
    return len(frame.groupby(keys, sort=False)["ts"].agg(["count", "min", "max"]))


def run() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_log(Path(folder))
        rows = []
        for what, call in (("pandas, whole file (peer)", pandas_whole), ("adwarm, streamed", count_slots)):
            seconds = median_seconds(lambda call=call: call(path), repeats=3)
            tracemalloc.start()
            slots = call(path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            rows.append({
                "what": what,
                "slots": slots,
                "seconds": seconds,
                "events/s": round(EVENTS / seconds),
                "peak MB": peak / 1e6,
            })
        for row in rows:
            row["time / pandas"] = row["seconds"] / rows[0]["seconds"]
    save_results("reading", f"{EVENTS:,} events of Parquet into slots of 15 minutes", rows)


if __name__ == "__main__":
    run()
