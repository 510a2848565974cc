"""Three ways to the same table, each run in a process of its own: `python -m tests.benchmarks.contenders NAME FOLDER`.

The folder holds `log.parquet` and `local.parquet`, a row for each zone and quarter of an hour with the hour of the week
there; the table goes to `NAME.parquet`. Both peers read the local hours from that file, because a join is faster for
them than their own conversion of zones: DuckDB's `timezone()` takes 1.3 times, Polars' `convert_time_zone` 1.6 times as
long. adwarm works its local hours out itself, within the time. Prints seconds after the imports and the peak of memory.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def adwarm() -> Callable[[Path], None]:
    """The table of the package, by its front door: the checking reader, then the counting."""
    from adwarm.patterns.hour_of_week import count_log, write_table
    from adwarm.settings import Settings

    def run(folder: Path) -> None:
        write_table(count_log(str(folder / "log.parquet"), Settings()), folder / "adwarm.parquet")

    return run


def duckdb() -> Callable[[Path], None]:
    """A join and a group-by, written out by the engine itself, in any order."""
    import duckdb as engine

    def run(folder: Path) -> None:
        connection = engine.connect()
        connection.execute("set preserve_insertion_order = false")
        connection.execute(f"create temp table local as select * from '{folder / 'local.parquet'}'")
        connection.execute(f"""
            copy (
                select account_id, date_range, hour_of_week, count(*)::bigint as opens
                from '{folder / "log.parquet"}' as log join local
                on local.time_zone = log.time_zone and local.quarter = epoch_ms(log.ts) // 900000
                group by all
            ) to '{folder / "duckdb.parquet"}' (format parquet, compression zstd)
        """)

    return run


def polars() -> Callable[[Path], None]:
    """The same lazily, by the streaming engine."""
    import polars as engine

    def run(folder: Path) -> None:
        local = engine.scan_parquet(folder / "local.parquet")
        quarter = engine.col("ts").dt.epoch("ms") // 900_000
        (
            engine
            .scan_parquet(folder / "log.parquet")
            .with_columns(quarter=quarter)
            .join(local, on=["time_zone", "quarter"])
            .group_by("account_id", "date_range", "hour_of_week")
            .agg(opens=engine.len().cast(engine.Int64))
            .sink_parquet(folder / "polars.parquet", compression="zstd")
        )

    return run


CONTENDERS = {"adwarm": adwarm, "duckdb": duckdb, "polars": polars}


def peak_mb() -> float:
    """Return the peak of this process's own memory."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, it knows nothing of the process that started this one
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6


def main(name: str, folder: str) -> None:
    """Run one contender."""
    run = CONTENDERS[name]()
    started = time.perf_counter()
    run(Path(folder))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "rss_mb": peak_mb()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
