"""Three ways to the same slots, each run in a process of its own: `python -m tests.benchmarks.contenders NAME FOLDER`.

The folder holds `log.parquet`. adwarm takes the path of the DAG `adwarm_access_patterns`: `ingest` checks the events,
counts them, stores the slots as objects and publishes their hours in SQLite. The peers write one Parquet file with the
same rows, in the order in which adwarm stores them; without the order DuckDB takes about 0.7 times as long. Prints the
seconds after the imports and the peak of memory.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

KEYS = ("account_id", "date_range", "time_zone")
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def adwarm() -> Callable[[Path], None]:
    """The product's ingest into an empty store."""
    from adwarm.patterns.ingest.run import ingest
    from adwarm.settings import Settings
    from adwarm.store import Context, ObjectStore, open_engine, upgrade

    def run(folder: Path) -> None:
        engine = open_engine(f"sqlite:///{folder}/adwarm.db")
        upgrade(engine)
        settings = Settings(access_log={"url": str(folder / "log.parquet")})
        ingest(Context(engine, ObjectStore(str(folder / "data")), settings), NOW)

    return run


def duckdb() -> Callable[[Path], None]:
    """A group-by and a sort."""
    import duckdb as engine

    def run(folder: Path) -> None:
        keys = ", ".join(KEYS)
        engine.connect().execute(f"""
            copy (
                select {keys}, epoch_ms(ts) // 900000 as slot, count(*)::uinteger as opens,
                    min(ts) as first_ts, max(ts) as last_ts
                from '{folder / "log.parquet"}' group by all order by slot, {keys}
            ) to '{folder / "duckdb.parquet"}' (format parquet, compression zstd)
        """)

    return run


def polars() -> Callable[[Path], None]:
    """The same lazily, by the streaming engine."""
    import polars as engine

    def run(folder: Path) -> None:
        ts = engine.col("ts")
        (
            engine
            .scan_parquet(folder / "log.parquet")
            .with_columns(slot=ts.dt.epoch("ms") // 900_000)
            .group_by(*KEYS, "slot")
            .agg(opens=engine.len(), first_ts=ts.min(), last_ts=ts.max())
            .sort("slot", *KEYS)
            .sink_parquet(folder / "polars.parquet", compression="zstd")
        )

    return run


CONTENDERS = {"adwarm": adwarm, "duckdb": duckdb, "polars": polars}


def peak_mb() -> float:
    """Return the peak of this process's own memory."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would report the peak of the process that started this one
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6


def main(name: str, folder: str) -> None:
    """Run one contender."""
    run = CONTENDERS[name]()
    started, cpu = time.perf_counter(), time.process_time()
    run(Path(folder))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rss_mb": peak_mb()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
