"""Runs the targets on a tiny input, two at once, and checks what they write: `make test-smoke`.

The exit code is 1 when a target fails, or writes no result of the right shape. Seconds are those of the clock and the
processor; servers that leave their process group, such as PostgreSQL, are not in the latter.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.benchmarks.measure import print_table
from tests.smoke.result_shape import find_faults
from tests.smoke.targets import ROOT, SMOKE, SmokeTarget

AT_ONCE: Final = 2
TINY: Final = ROOT / ".adwarm" / "tiny"
LAST_LINES: Final = 60


@dataclass(frozen=True)
class SmokeRun:
    """What a target did: its seconds, the end of its output, and what is wrong."""

    target: SmokeTarget
    seconds: float
    cpu_seconds: float
    output: str
    faults: list[str] = field(default_factory=list)


def run_target(target: SmokeTarget) -> SmokeRun:
    """Run a target as `make` does, and check the results that it has written."""
    command = ["make", "--no-print-directory", target.name, "BENCH_SIZE=tiny", "WORKERS=0", *target.variables]
    environment = {**os.environ, "PYTEST_ADDOPTS": target.pytest}
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines()
    faults = [] if process.returncode == 0 else [f"exit code {process.returncode}"]
    faults += [fault for name in target.results for fault in find_faults(TINY / "bench" / f"{name}.json")]
    cpu = usage.ru_utime + usage.ru_stime
    run = SmokeRun(target, time.monotonic() - started, cpu, "\n".join(lines[-LAST_LINES:]), faults)
    print(f"{target.label}: {'; '.join(faults) or 'ok'}", flush=True)
    return run


def main(names: Sequence[str]) -> int:
    """Run the targets, all by default, print a table, and return 0 if every one works."""
    targets = {target.label: target for target in SMOKE}
    if unknown := set(names) - set(targets):
        print(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(targets)}", file=sys.stderr)
        return 2
    shutil.rmtree(TINY, ignore_errors=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(pool.map(run_target, [targets[name] for name in names or targets]))
    for run in runs:
        if run.faults:
            print(f"--- {run.target.label}\n{run.output}\n")
    rows = [
        {
            "what": run.target.label,
            "seconds": run.seconds,
            "CPU seconds": run.cpu_seconds,
            "result": "; ".join(run.faults) or "ok",
        }
        for run in runs
    ]
    total = {"what": "all", "seconds": sum(run.seconds for run in runs)}
    rows.append({**total, "CPU seconds": sum(run.cpu_seconds for run in runs), "result": f"{AT_ONCE} at once"})
    print_table("On a tiny input", rows)
    return int(any(run.faults for run in runs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
