"""How figures are taken and written down."""

import importlib.util
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.table import Table

_SIZE: Final = os.environ.get("BENCH_SIZE", "full")
if _SIZE not in ("full", "tiny"):
    raise SystemExit(f"BENCH_SIZE is {_SIZE}; it can be full, which is the default, or tiny")
IS_TINY: Final = _SIZE == "tiny"
"""Whether this run only shows that the benchmark works: `make bench NAME=requests BENCH_SIZE=tiny`."""
RESULTS: Final = Path(__file__).resolve().parents[2] / ".adwarm" / ("tiny" if IS_TINY else "")
"""Where results are written; those of tiny runs stay apart from real figures."""
FOLDER: Final = RESULTS / "bench"
T = TypeVar("T")


def sized(full: T, tiny: T) -> T:
    """Return the size of a run: `full`, or `tiny` when that is asked for."""
    return tiny if IS_TINY else full


def train_fast_if_tiny() -> None:
    """Let the adwarm model of a tiny run have few trees: their number takes most of the time, however short the log."""
    if IS_TINY:
        from adwarm.forecast.models import classifiers

        classifiers._ITERATIONS = 3


def find_missing(*modules: str) -> str | None:
    """Return which of some modules is not installed, as a cell of a table; None when all are."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def exit_code(is_met: bool) -> int:
    """Return 0 when the limits are met; those of a tiny run say nothing, so that they are not judged."""
    return 0 if is_met or IS_TINY else 1


def median_seconds(call: Callable[[], Any], repeats: int = 7) -> float:
    """Return the median wall time of `call`, after one run to warm up."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def peak_mb() -> float:
    """Return this process's own peak; that of `getrusage`, taken where nothing else is, begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if column in {"what", "fault"} else "right")
    for row in rows:
        cells = ("-" if value is None else value for value in row.values())
        table.add_row(*(f"{cell:,.3f}" if isinstance(cell, float) else str(cell) for cell in cells))
    Console(width=118).print(table)


def save_results(name: str, title: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Print rows as a table, and write them and whatever more there is to say to `bench/<name>.json` of `RESULTS`."""
    print_table(title, rows)
    FOLDER.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"name": name, "machine": machine, "rows": rows, **more}, indent=2), encoding="utf-8")
