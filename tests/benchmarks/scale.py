"""Warms 20,000 keys of 2,000 accounts through a real Airflow, and says what Airflow, memory and SQL cost.

API server, scheduler with LocalExecutor, DAG processor and triggerer run over PostgreSQL; the simulated platform runs
on the same machine, with a clock that stands still. The DAG `adwarm_strategy_warming` is triggered with a strategy of
ten date ranges of every account, by 16 mapped tasks of which four work at the same time.

| figure             | what it is                                                                                      |
|--------------------|-------------------------------------------------------------------------------------------------|
| wall time          | from the creation of the run to its end, as Airflow has stored them                             |
| Airflow's share    | part of the wall time in which no task of the run is inside the `execute` of its operator       |
| no batch works     | part of the wall time in which no batch is; planning, scoring and closing count here too        |
| over the core      | wall time over that of the same plan, batches and scores by as many processes without Airflow   |
| statements per key | SQL statements that the server has logged for adwarm's database, without those of transactions  |
| memory             | peak of each process as its kernel keeps it; growth: last quarter of the batches / first one  |

With `--s3` the run is repeated with the objects in a bucket of moto's server, and has to store equal content.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.measure import IS_TINY, print_table, sized
from tests.benchmarks.scale_airflow import AirflowRun, count_processors, run_airflow
from tests.benchmarks.scale_content import StoredContent
from tests.benchmarks.scale_core import CoreTarget, CoreTimes, measure_core
from tests.benchmarks.scale_s3 import object_storage
from tests.benchmarks.scale_stack import Platform, ScaleSize, postgres_server, simulated_platform
from tests.benchmarks.targets import TargetResults

MAX_SHARE = 0.05
MAX_STATEMENTS = 10.0
MAX_GROWTH = 1.10
_SHOWN_STATEMENTS = 25


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="adwarm-scale-") as name:
        yield Path(name)


def _measure(platform: Platform, size: ScaleSize, folder: Path, **settings: str) -> AirflowRun:
    folder.mkdir()
    with postgres_server(folder / "postgres") as server:
        return run_airflow(folder / "home", server, platform, size, settings)


def _measure_core(platform: Platform, size: ScaleSize, folder: Path) -> tuple[CoreTimes, StoredContent]:
    folder.mkdir()
    with postgres_server(folder / "postgres") as server:
        platform.reset()
        return measure_core(CoreTarget(folder / "home", server.url, None, platform.url), size)


def _build_row(what: str, run: AirflowRun, core: CoreTimes, keys: int) -> dict[str, Any]:
    times = run.times
    return {
        "what": what,
        "wall s": times.wall_seconds,
        "keys/s": keys / times.wall_seconds,
        "Airflow %": 100 * times.airflow_seconds / times.wall_seconds,
        "no batch %": 100 * times.idle_seconds / times.wall_seconds,
        "over core": times.wall_seconds / core.wall,
        "calls": run.calls,
        "stmts/key": run.statements.total / keys,
        "trips/key": run.statements.round_trips / keys,
        "batch MB": run.memory.highest,
    }


def _build_core_row(core: CoreTimes, processes: int, keys: int) -> dict[str, Any]:
    what = f"the core, {processes} processes"
    row = {"what": what, "wall s": core.wall, "keys/s": keys / core.wall, "Airflow %": 0.0}
    rest = ("no batch %", "over core", "calls", "stmts/key", "trips/key", "batch MB")
    values = (100 * (1 - core.fetch / core.wall), 1.0, "", "", "", "")
    return {**row, **dict(zip(rest, values, strict=True))}


def _check(results: TargetResults, name: str, run: AirflowRun, keys: int) -> None:
    times = run.times
    results.check_equal(f"{name}: keys stored", run.content.entries, keys)
    results.check_at_most(
        f"{name}: Airflow's share of the wall time", times.airflow_seconds / times.wall_seconds, MAX_SHARE
    )
    results.check_at_most(f"{name}: SQL statements per key", run.statements.total / keys, MAX_STATEMENTS)
    results.check_at_most(f"{name}: memory, last batches over first", run.memory.growth, MAX_GROWTH)


def _print_details(name: str, run: AirflowRun, keys: int) -> None:
    print_table(f"{name}: processes", run.sum_by_group())
    spans = [
        {"what": "seconds from a batch's process to its work, median", "seconds": median(run.times.start_seconds)},
        {
            "what": "seconds of a batch's work, median",
            "seconds": median(sum(b - a for a, b in task.work) for task in run.times.batches),
        },
    ]
    spans += [
        {"what": f"seconds of {task.task_id}", "seconds": sum(b - a for a, b in task.work)}
        for task in run.times.tasks
        if task.map_index < 0
    ]
    spans += [{"what": f"Airflow: {what}", "seconds": seconds} for what, seconds in run.times.find_gaps()]
    print_table(f"{name}: tasks", spans)
    counts = [
        {"what": sql[:80], "per key": count / keys}
        for sql, count in run.statements.statements.most_common(_SHOWN_STATEMENTS)
    ]
    print_table(f"{name}: statements", counts)


def _describe(run: AirflowRun) -> dict[str, Any]:
    return {
        "processes": run.sum_by_group(),
        "batch_peaks_mb": run.memory.peaks,
        "batch_slope_mb": run.memory.slope_mb,
        "statements": dict(run.statements.statements.most_common(60)),
        "content": asdict(run.content),
        "tasks": [asdict(task) for task in run.times.tasks],
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, print and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--keys", type=int, default=sized(20_000, 20), help="ten for each account")
    parser.add_argument("--ads", type=int, default=5, help="ads of a typical account")
    parser.add_argument("--tasks", type=int, default=sized(16, 2), help="mapped tasks")
    parser.add_argument("--slots", type=int, default=sized(4, 1), help="tasks that run at the same time")
    parser.add_argument("--s3", action="store_true", help="repeat the run with object storage")
    chosen = parser.parse_args(arguments)
    size = ScaleSize(chosen.keys, chosen.ads, chosen.tasks, chosen.slots)
    title = f"{size.keys:,} keys of {size.accounts:,} accounts, {size.tasks} tasks, {count_processors()} processors"
    results = TargetResults("scale", title)
    with _temporary_folder() as folder, simulated_platform(size) as platform:
        core, core_content = _measure_core(platform, size, folder / "core")
        runs = {"Airflow": _measure(platform, size, folder / "local")}
        if chosen.s3 and not IS_TINY:
            with object_storage() as settings:
                runs["Airflow, s3"] = _measure(platform, size, folder / "s3", **settings)
    rows = [_build_core_row(core, size.slots, size.keys)]
    rows += [_build_row(name, run, core, size.keys) for name, run in runs.items()]
    for name, run in runs.items():
        _print_details(name, run, size.keys)
        _check(results, name, run, size.keys)
        results.check_equal(f"{name}: content equals that of the core", run.content.digests, core_content.digests)
    return results.finish(rows, runs={name: _describe(run) for name, run in runs.items()}, core=asdict(core))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
