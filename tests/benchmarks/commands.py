"""CPU seconds of frequent commands, beside the import of alembic alone: `python -m tests.benchmarks.commands`.

Each runs in a process of its own, one after the other in each round. The report that is read is stored, and the log is
small, so that most of the time is start-up. The limits are those of 2026-11: 0.15, 0.5 and 0.6 s beside 0.25 s.
"""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.log_check import write_log
from tests.benchmarks.measure import sized
from tests.benchmarks.targets import TargetResults

PEER = "import alembic"
ROUNDS, LOG_BYTES = sized(11, 1), 200_000
ADWARM = (sys.executable, "-m", "adwarm")
LIMITS = {"adwarm --help": 0.6, "adwarm get": 2.0, "adwarm status": 2.4}
"""CPU seconds that a command may take for each of the import's."""


def cpu_seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """Run a command, and return the CPU seconds that its process and the processes below it have taken."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path, url: str) -> dict[str, list[float]]:
    """Store one report of the platform at `url`, and return the CPU seconds of each round by what ran."""
    log = folder / "log.jsonl"
    write_log(log, LOG_BYTES)
    commands: dict[str, Sequence[str]] = {
        PEER: (sys.executable, "-c", PEER),
        "adwarm --help": (*ADWARM, "--help"),
        "adwarm get": (*ADWARM, "get", "act_1", "last_7d", "--json"),
        "adwarm status": (*ADWARM, "status", "--json"),
        "adwarm log check": (*ADWARM, "log", "check", str(log), "--json"),
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"ADWARM_HOME": str(folder / "home"), "ADWARM_SOURCE__GRAPH_URL": url}
    environment |= {"ADWARM_SOURCE__ACCESS_TOKEN": "simulated-token"}
    cpu_seconds((*ADWARM, "warm", "act_1", "--range", "last_7d"), environment)
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            spent[name].append(cpu_seconds(command, environment))
    return spent


def main() -> int:
    """Measure the commands, and compare their medians with the targets."""
    with TemporaryDirectory(prefix="adwarm-bench-") as folder, SimulatorServer(SimulatorConfig(("act_1",))) as server:
        spent = measure(Path(folder), server.url)
    targets, rows = TargetResults("commands", "CPU seconds of commands, beside alembic's import"), []
    for name, seconds in spent.items():
        ratio = statistics.median(mine / peer for mine, peer in zip(seconds, spent[PEER], strict=True))
        rows.append({"what": name, "CPU seconds": statistics.median(seconds), "to import": ratio})
        if name in LIMITS:
            targets.check_at_most(name, ratio, LIMITS[name])
    return targets.finish(rows, rounds=ROUNDS)


if __name__ == "__main__":
    sys.exit(main())
