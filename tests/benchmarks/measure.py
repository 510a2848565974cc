"""How figures are taken and written down."""

import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parents[2] / ".adwarm" / "bench"


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
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(*(f"{value:,.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=118).print(table)


def save_results(name: str, title: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Print rows as a table and write them, and whatever more there is to say, to `.adwarm/bench/<name>.json`."""
    print_table(title, rows)
    FOLDER.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"name": name, "machine": machine, "rows": rows, **more}, indent=2), encoding="utf-8")
