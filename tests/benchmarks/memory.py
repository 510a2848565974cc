"""Peak memory of warming, planning and reading: each case a process of its own, the platform another.

Warming is measured beyond the first key, since a process with one warmed key holds imports and connections. Warming and
reading run twice: with the allocator settings of production, and without them, which is the baseline.
Planning is the run of `planning_run`, over fewer keys.

`python -m tests.benchmarks.memory [--keys 150] [--many 1500] [--plan-accounts 2000]`
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adwarm.cli.airflow import ALLOCATOR
from tests.benchmarks.measure import peak_mb, sized
from tests.benchmarks.targets import TargetResults

ROOT = Path(__file__).resolve().parents[2]
DATE_RANGE = "last_30d"
THREADS = 8
FIRST_ACCOUNT = 1_000
LIMITS = {12: 80.0, 50: 120.0}
"""Megabytes over the first key that warming may take, by ads of an account."""

FLAT_MB = 16.0
"""Megabytes by which ten times the keys may raise the peak."""

READS = sized(3_000, 30)
ALLOCATORS = sized((False, True), (True,))
"""Whether the allocator has the settings of production; without them is the baseline."""
SETTINGS = {
    "WORKERS": str(THREADS),
    "SOURCE__ACCESS_TOKEN": "simulated-token",
    "BACKPRESSURE__MAX_CONCURRENT": "100",
    "BACKPRESSURE__RATE_PER_SECOND": "1000",
    "BACKPRESSURE__BURST": "1000",
}


def warm(keys: int) -> dict[str, Any]:
    """Warm one key, then the others, and return the peak after each."""
    from adwarm.model import Priority, ReportKey
    from adwarm.prefetch import KeyRequest
    from adwarm.runtime import Runtime

    prefetch = Runtime().prefetch_engine()
    requests = [KeyRequest(ReportKey(f"act_{FIRST_ACCOUNT + number}", DATE_RANGE)) for number in range(keys)]
    _all_served(prefetch.run(requests[:1], Priority.HIGH))
    first, started = peak_mb(), time.perf_counter()
    _all_served(prefetch.run(requests[1:], Priority.HIGH))
    seconds, peak = time.perf_counter() - started, peak_mb()
    return {"first": first, "peak": peak, "seconds": seconds}


def _all_served(report: Any) -> None:
    if not all(outcome.status.is_served for outcome in report.outcomes):
        raise SystemExit(f"not every key was warmed: {report.errors(3)}")


def read(keys: int) -> dict[str, Any]:
    """Read one key, then every key in turn, and return the peak after each."""
    from adwarm.model import ReportKey
    from adwarm.runtime import Runtime

    reader = Runtime().reader
    names = [ReportKey(f"act_{FIRST_ACCOUNT + number}", DATE_RANGE) for number in range(keys)]
    reader.get_body(reader.read(names[0]))
    first, started = peak_mb(), time.perf_counter()
    for number in range(READS):
        reader.get_body(reader.read(names[number % keys]))
    return {"first": first, "peak": peak_mb(), "seconds": time.perf_counter() - started}


def plan(snapshot: str) -> dict[str, Any]:
    """Plan once, and return the peak before and after."""
    import adwarm.planning.decide  # noqa: F401 -- its imports are not the run's own memory
    from adwarm.forecast import snapshot as _  # noqa: F401
    from tests.benchmarks.planning_run import worker

    first = peak_mb()
    done = worker(snapshot)
    return {"first": first, "peak": done["peak_mb"], "seconds": done["seconds"]}


@contextmanager
def platform(ads: int) -> Iterator[str]:
    """Run the simulator in a process of its own while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "adwarm", "simulate", "--port", str(port), "--accounts", "0", "--ads", str(ads)]
    process = subprocess.Popen(command, env=_environment({}), stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        _until_it_listens(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the simulator did not start")


def _environment(values: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    paths = os.pathsep.join(str(ROOT / name) for name in ("include", "plugins", "."))
    return {**inherited, "PYTHONPATH": paths, **values}


def _case(what: str, arguments: Sequence[str], home: Path, url: str, *, lean: bool) -> dict[str, Any]:
    """Run one case in a process of its own, and return its row."""
    settings = {"HOME": str(home), "SOURCE__GRAPH_URL": url, **SETTINGS}
    env = _environment({f"ADWARM_{name}": value for name, value in settings.items()} | (ALLOCATOR if lean else {}))
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--case", *arguments]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    over = found["peak"] - found["first"]
    row = {"what": what, "allocator": "lean" if lean else "default", **found, "over the first": over}
    print(f"{what}, allocator {row['allocator']}: {over:,.0f} MB over the first, {found['seconds']:,.0f} s", flush=True)
    return row


def _warming(ads: int, keys: int, many: int) -> list[dict[str, Any]]:
    """Warm at one size of account, each time into an empty home; then read the entries."""
    rows = []
    with platform(ads) as url:
        for lean in ALLOCATORS:
            with TemporaryDirectory(prefix="adwarm-bench-") as home:
                what = f"warm {keys:,} keys of {ads} ads"
                rows.append(_case(what, ["warm", str(keys)], Path(home), url, lean=lean))
                what = f"read {keys:,} keys of {ads} ads"
                rows.append(_case(what, ["read", str(keys)], Path(home), url, lean=lean))
        if many:
            with TemporaryDirectory(prefix="adwarm-bench-") as home:
                what = f"warm {many:,} keys of {ads} ads"
                rows.append(_case(what, ["warm", str(many)], Path(home), url, lean=True))
    return rows


def _planning(accounts: int) -> list[dict[str, Any]]:
    """Plan with the seasonal baseline and with the adwarm model, over ten keys an account."""
    with TemporaryDirectory(prefix="adwarm-bench-") as home:
        prepare = "import json,sys;from tests.benchmarks.planning_run import prepare;from pathlib import Path;"
        prepare += "print(json.dumps(prepare(Path(sys.argv[1]), int(sys.argv[2]))['ids']))"
        prepared = subprocess.run(
            [sys.executable, "-c", prepare, home, str(accounts)],
            env=_environment({}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        snapshot = json.loads(prepared.stdout.splitlines()[-1])["adwarm"]
        what = f"plan {10 * accounts:,} keys"
        return [_case(what, ["plan", snapshot], Path(home), "http://127.0.0.1:9", lean=lean) for lean in ALLOCATORS]


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write to a file and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=sized(150, 3))
    parser.add_argument("--many", type=int, default=sized(1_500, 0), help="0 leaves the case out")
    parser.add_argument("--plan-accounts", type=int, default=sized(2_000, 0), help="0 leaves planning out")
    parser.add_argument("--ads", type=int, nargs="*", default=sized(list(LIMITS), [2]))
    chosen = parser.parse_args(arguments)
    verdicts = TargetResults("memory", f"Peak memory in MB: {THREADS} threads, {DATE_RANGE}, each case its own process")
    rows: list[dict[str, Any]] = []
    for ads in chosen.ads:
        many = chosen.many if ads == min(chosen.ads) else 0
        found = _warming(ads, chosen.keys, many)
        rows += found
        small = _lean(found, f"warm {chosen.keys:,}")
        if ads in LIMITS:
            what = f"MB over the first key, {chosen.keys:,} keys of {ads} ads"
            verdicts.check_at_most(what, small["over the first"], LIMITS[ads])
        if many:
            more = _lean(found, f"warm {many:,}")["over the first"] - small["over the first"]
            verdicts.check_at_most(f"MB that {many:,} keys take more than {chosen.keys:,}", more, FLAT_MB)
    rows += _planning(chosen.plan_accounts) if chosen.plan_accounts else []
    return verdicts.finish(rows)


def _lean(rows: Sequence[Mapping[str, Any]], what: str) -> Mapping[str, Any]:
    return next(row for row in rows if row["what"].startswith(f"{what} keys") and row["allocator"] == "lean")


CASES = {"warm": warm, "read": read}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        name, value = sys.argv[2:4]
        print(json.dumps(plan(value) if name == "plan" else CASES[name](int(value))))
    else:
        sys.exit(main(sys.argv[1:]))
