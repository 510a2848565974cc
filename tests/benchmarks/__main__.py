"""Starts a benchmark by its name, `make bench NAME=storm`, or lists all of them."""

import subprocess
import sys
from typing import Final

BENCHMARKS: Final = {
    "adaptive": ("tests.benchmarks.adaptive", "Adaptive limits, fixed ones and pools on a platform that halves"),
    "admission": ("tests.benchmarks.admission", "Permits for four processes, beside peers"),
    "backfill": ("tests.benchmarks.backfill", "Backfill 90 days of 200 accounts, and kill it halfway"),
    "commands": ("tests.benchmarks.commands", "CPU of frequent commands, beside the import of alembic"),
    "compression": ("tests.benchmarks.compression", "Reports as rows and columns, and parsing them; ARGS=rows.parquet"),
    "fatigue-worlds": (
        "tests.benchmarks.fatigue_promise",
        "Fatigue on ads that do not change, real series, planted losses",
    ),
    "fatigue-cost": ("tests.benchmarks.fatigue_cost", "CPU and memory of scores and alarms, beside plain numpy"),
    "forecast": ("tests.benchmarks.forecast", "Replay the logs in ARGS=folder, or the example, against baselines"),
    "large-fleet": ("tests.simulation.large_fleet", "Simulate a day of 100 to 100,000 accounts"),
    "log-check": ("tests.benchmarks.log_check", "Check logs of 1 GB in every format, beside a plain loop"),
    "memory": ("tests.benchmarks.memory", "Peak memory of warming, planning and reading"),
    "objects": ("tests.benchmarks.object_store", "Read and write a bucket at 20 and 50 ms a request"),
    "pages": ("tests.benchmarks.pages", "Each tile of the page over 100,000 reports and 3 million warms"),
    "patterns": ("tests.benchmarks.patterns", "Ingest 10 and 50 million events beside DuckDB and Polars"),
    "planning": ("tests.benchmarks.planning_run", "Plan once over 100,000 keys, from the stored log to prices"),
    "quota": ("tests.benchmarks.quota_run", "Four processes against the platform's quota, also with kill -9"),
    "requests": ("tests.benchmarks.requests_per_key", "Count requests for a warmed key over a day"),
    "scale": ("tests.benchmarks.scale", "Warm 20,000 keys through a real Airflow; ARGS='--keys 2000'"),
    "serve": ("tests.benchmarks.serve", "Hits of the read API beside nginx, granian, FastAPI; ARGS='--minutes 5'"),
    "sizing": ("tests.benchmarks.sizing", "The unit costs of the sizing page, beside the recorded ones"),
    "storm": ("tests.benchmarks.meta_storm", "Fetch 200 accounts in a storm, beside Airflow's own hook"),
    "strategies": ("tests.benchmarks.strategies", "Rotate 1,200 reports through a budget, measure freshness"),
    "walks": ("tests.benchmarks.walks", "Modules and functions that a hit, a permit, a batch and a plan cross"),
    "warming": ("tests.benchmarks.warming_cost", "CPU of a warmed key beside a plain script without guarantees"),
}
"""The module of each benchmark, and what it does."""
ALWAYS: Final = {"scale": ("--s3",)}
"""Arguments of a benchmark besides its own."""


def main(words: list[str]) -> int:
    """List the benchmarks, or run one in a process of its own; return 2 for a name that is none."""
    if not words:
        for name, (_, what) in BENCHMARKS.items():
            print(f"{name:12} {what}")
        return 0
    name, *arguments = words
    if name not in BENCHMARKS:
        print(f"no such benchmark: {name}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", BENCHMARKS[name][0], *ALWAYS.get(name, ()), *arguments]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
