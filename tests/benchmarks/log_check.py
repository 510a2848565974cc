"""`adwarm log check` on a log of 1 GB in each format, beside a plain loop over the same file in the same run.

The loop is what somebody would write to look at a log: Python's csv, json and re, or Arrow's reader, counting opens by
account. Each runs in a process of its own, which reports its own peak memory. The logs are seeded and in order, and are
written before the time starts. `SIZE_MB` in the environment makes them smaller.
"""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.measure import peak_mb, save_results, sized

FORMATS = ("log.csv", "log.jsonl", "access.log", "log.parquet", "log.csv.gz")
ACCOUNTS, DAYS, CHUNK = 2_000, 120, 200_000
RANGES = ("today", "yesterday", "last_7d", "last_30d")
ZONES = ("America/New_York", "Europe/Berlin", "Asia/Kolkata")
START = datetime(2026, 3, 2, tzinfo=UTC)
_LINE_BYTES = {"log.csv": 62, "log.jsonl": 118, "access.log": 187, "log.parquet": 23, "log.csv.gz": 62}
_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36", "curl/8.5.0")
_COMBINED = re.compile(rb'\[[^\]]+\] "GET /accounts/(\d+)/')


def write_log(path: Path, size: int) -> None:
    """Write a log of about `size` bytes of content."""
    events = size // _LINE_BYTES[path.name]
    if path.suffix == ".parquet":
        _write_parquet(path, events)
        return
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb") as file:
        if ".csv" in path.name:
            file.write(b"ts,account_id,date_range,time_zone,session\n")
        for lines in _lines(path, events):
            file.write(lines)


def _columns(events: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield seconds since the start, account and a small number for each event, in order of time."""
    rng = np.random.default_rng(11)
    span = DAYS * 86_400
    for first in range(0, events, CHUNK):
        count = min(CHUNK, events - first)
        moments = np.sort(rng.integers(span * first // events, span * (first + count) // events + 1, count))
        yield moments, rng.zipf(1.3, count) % ACCOUNTS, rng.integers(0, 1 << 20, count)


def _lines(path: Path, events: int) -> Iterator[bytes]:
    for moments, accounts, numbers in _columns(events):
        rows = zip(moments.tolist(), accounts.tolist(), numbers.tolist(), strict=True)
        yield "".join(_line(path.name, START + timedelta(seconds=s), a, n) for s, a, n in rows).encode()


def _line(name: str, moment: datetime, account: int, number: int) -> str:
    date_range, zone = RANGES[number % 4], ZONES[account % 3]
    if ".csv" in name:
        return f"{moment:%Y-%m-%dT%H:%M:%SZ},act_{account},{date_range},{zone},{number}\n"
    if name == "log.jsonl":
        return (
            f'{{"ts": "{moment:%Y-%m-%dT%H:%M:%SZ}", "account_id": "act_{account}", "date_range": "{date_range}", '
            f'"time_zone": "{zone}", "hit": true}}\n'
        )
    return (
        f'10.0.0.1 - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "GET /accounts/{account}/insights/{date_range} HTTP/1.1" '
        f'200 {number} "-" "{_AGENTS[number % 16 == 0]}" 0.125\n'
    )


def _write_parquet(path: Path, events: int) -> None:
    schema = pa.schema({
        "ts": pa.timestamp("ms", "UTC"),
        "account_id": pa.string(),
        "date_range": pa.string(),
        "session": pa.int64(),
        "latency_ms": pa.float64(),
    })
    names, ranges = pa.array([f"act_{number}" for number in range(ACCOUNTS)]), pa.array(RANGES)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for moments, accounts, numbers in _columns(events):
            columns = [
                pa.array(moments * 1000 + int(START.timestamp()) * 1000).cast(schema.field("ts").type),
                names.take(pa.array(accounts)),
                ranges.take(pa.array(numbers % 4)),
                pa.array(numbers * 982_451_653),
                pa.array(numbers * 0.001),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=CHUNK)


def _loop_csv(path: Path) -> Counter[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return Counter(row["account_id"] for row in csv.DictReader(file))


def _loop_json(path: Path) -> Counter[str]:
    with path.open(encoding="utf-8") as file:
        return Counter(json.loads(line)["account_id"] for line in file)


def _loop_combined(path: Path) -> Counter[str]:
    with path.open("rb") as file:
        return Counter(match[1].decode() for line in file if (match := _COMBINED.search(line)))


def _loop_parquet(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for batch in pq.ParquetFile(path).iter_batches(columns=["ts", "account_id", "date_range"]):
        for item in batch.column("account_id").value_counts():
            counts[item["values"].as_py()] += item["counts"].as_py()
    return counts


LOOPS: dict[str, Callable[[Path], Counter[str]]] = {
    "log.csv": _loop_csv,
    "log.csv.gz": _loop_csv,
    "log.jsonl": _loop_json,
    "access.log": _loop_combined,
    "log.parquet": _loop_parquet,
}


def run_check(path: Path) -> int:
    """Check the log as the command does; return the accepted events."""
    from adwarm.log_check.check import check_log
    from adwarm.settings import Settings

    return check_log(str(path), Settings(), lambda progress: None).events


def _measure(kind: str, path: Path) -> dict[str, float]:
    """Run the check or the loop in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.log_check", kind, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _report(kind: str, path: Path) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    events = run_check(path) if kind == "check" else LOOPS[path.name](path).total()
    figures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    sys.stdout.write(json.dumps({"events": events, **figures, "peak_mb": peak_mb()}))


def measure_format(folder: Path, name: str, size: int) -> dict[str, str | int | float]:
    """Write a log of about `size` bytes of content, run the loop and the check on it, and return the figures."""
    path = folder / name
    write_log(path, size)
    loop, check = _measure("loop", path), _measure("check", path)
    stored = path.stat().st_size / 1e6
    path.unlink()
    row: dict[str, str | int | float] = {
        "what": name,
        "MB": stored,
        "events": int(check["events"]),
        "seconds": check["seconds"],
        "MB/s": stored / check["seconds"],
        "CPU seconds": check["cpu"],
        "to loop": check["seconds"] / loop["seconds"],
        "CPU to loop": check["cpu"] / loop["cpu"],
        "peak MB": check["peak_mb"],
        "peak MB of the loop": loop["peak_mb"],
    }
    sys.stderr.write(f"{json.dumps(row)}\n")
    if check["events"] != loop["events"]:
        raise SystemExit(f"{name}: the check read {check['events']} events, the loop {loop['events']}")
    return row


def main() -> None:
    """Measure each format, and save the figures."""
    size = int(os.environ.get("SIZE_MB", sized("1000", "1"))) * 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure_format(Path(folder), name, size) for name in FORMATS]
    save_results("log_check", "adwarm log check, beside a plain loop", rows, size_mb=size // 1_000_000)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _report(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
