"""Every fault at once: 200 accounts x 30 days, fetched by adwarm and by Airflow's own Facebook hook.

The platform's clock runs `--scale` times as fast as the machine's; all waits are shorter by that factor.
One account is denied, one has an ad that fails every request about it, and the token of a tenth of the accounts dies
midway. The fetched rows are compared with the true ones.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import orjson

from adwarm import fetch_plan
from adwarm.backpressure import SqlAdmission
from adwarm.model import Account, Priority, ReportKey, Window, resolve_window
from adwarm.prefetch import KeyOutcome, KeyRequest, KeyStatus, PrefetchEngine
from adwarm.runtime import Runtime
from adwarm.sources.protocol import Increment
from adwarm.store import accounts
from graph_simulator.config import FIRST_ACCOUNT, SimulatorConfig
from graph_simulator.fault_profile import FaultProfile, parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.benchmarks.meta import RowDifference, by_key, expected_rows, stored_rows, temporary_runtime
from tests.benchmarks.targets import TargetResults

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 11, 25, 1, tzinfo=UTC)
DENIED, POISONED = 1, 2
"""Which of the accounts are."""
TRIES = 6
"""How often an account is tried again after a transient failure; Airflow would retry its task."""
HOOKS = (("hook, one call for all", 0), ("hook, an account at a time, 3 tries", 3))[: sized(2, 1)]
MORTAL_CONNECTION = "mortal"
"""The connection of the accounts whose token dies: what a dead token ends is the rest of its connection."""
_DEAD = "access token"

Row = dict[str, Any]


@dataclass(frozen=True)
class StormScenario:
    """How many accounts there are, and how fast their platform's clock runs."""

    number: int = 200
    ads: int = 8
    scale: float = 120.0

    @property
    def names(self) -> list[str]:
        """Return the account ids."""
        return [f"act_{FIRST_ACCOUNT + index}" for index in range(self.number)]

    @property
    def mortal(self) -> list[str]:
        """Return the accounts whose token dies midway."""
        return self.names[-max(1, self.number // 10) :]

    @property
    def days(self) -> Window:
        """Return the thirty days."""
        return resolve_window("last_30d", "UTC", START)

    def config(self) -> SimulatorConfig:
        """Return the platform's configuration."""
        return SimulatorConfig(
            accounts=self.number, ads=self.ads, seed=7, now=START, time_scale=self.scale, fault_profile=self.storm()
        )

    def storm(self) -> FaultProfile:
        """Return a fault profile with every fault."""
        rates = {
            "transient_2": 0.03,
            "transient_1": 0.02,
            "load_shedding": 0.01,
            "html_500": 0.01,
            "error_in_200": 0.01,
            "truncated": 0.01,
            "cut_body": 0.003,
            "reset": 0.003,
            "flaky_100": 0.003,
            "empty_pages": 0.1,
            "report_stuck": 0.03,
            "report_stuck_full": 0.02,
            "report_skipped": 0.03,
            "report_failed": 0.03,
            "null_entry": 0.03,
        }
        faults: list[dict[str, Any]] = [{"kind": kind, "rate": rate} for kind, rate in rates.items()]
        faults.append({"kind": "denied", "accounts": [self.names[DENIED]]})
        faults.append({"kind": "token_dead", "accounts": self.mortal, "after_calls": 4 * len(self.mortal)})
        return parse_fault_profile(
            {
                "quota": {"tier": "development_access", "base_calls": 40, "calls_per_ad": 0, "cpu_seconds": 1.5},
                "reports": {"visible_after_seconds": 1, "full_seconds": 3},
                "poison": [{"account": self.names[POISONED], "slot": 1}],
                "fault": faults,
            },
            "storm",
        )


@dataclass(frozen=True)
class PlatformClock:
    """Reads the platform's time, and waits on the machine's clock: as much shorter as the platform's is faster."""

    server: SimulatorServer
    scale: float

    def now(self) -> datetime:
        """Return the platform's time."""
        return self.server.state.clock.now()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` of the platform's time pass."""
        time.sleep(max(0.0, seconds) / self.scale)


@dataclass
class Result:
    """What one client brought home.

    Attributes:
        reasons: why an account was not read, by account.
        partial: objects that are missing, by account, where the client says which.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    calls: int = 0
    early: int = 0
    in_flight: int = 0


def fetch_with_adwarm(scene: StormScenario, server: SimulatorServer) -> Result:
    """Fetch with adwarm until every account is read or has a reason."""
    clock, result = PlatformClock(server, scene.scale), Result()
    source = {"graph_url": server.url, "access_token": "simulated-token"}
    with (
        mock.patch.object(fetch_plan, "REPORT_DAYS", 20),  # both ways of reading are in the storm
        temporary_runtime(
            server.url, clock, workers=8, source=source, connections={MORTAL_CONNECTION: source}
        ) as runtime,
    ):
        named = [
            Account(n, "UTC", "UTC", "USD", MORTAL_CONNECTION if n in scene.mortal else "default") for n in scene.names
        ]
        accounts.save(runtime.engine, named, clock.now())
        prefetch = _engine(runtime, clock)
        started = time.monotonic()
        ended = _until_done(prefetch, scene, clock)
        result.seconds = time.monotonic() - started
        for name, outcome in ended.items():
            if outcome.status.is_served:
                result.rows[name] = stored_rows(runtime, name, scene.days)
            if outcome.reason:
                (result.gaps if outcome.status.is_served else result.reasons)[name] = outcome.reason
    return _counted(result, server)


def _engine(runtime: Runtime, clock: PlatformClock) -> PrefetchEngine:
    """Return an engine whose budget has the platform's clock."""
    pressure = runtime.settings.backpressure
    runtime.__dict__["admission"] = SqlAdmission(
        runtime.engine,
        pressure,
        owner=runtime.owner,
        rng=random.Random(7),
        database_time=lambda connection: clock.now().timestamp(),
    )
    return runtime.prefetch_engine()


def _until_done(prefetch: PrefetchEngine, scene: StormScenario, clock: PlatformClock) -> dict[str, KeyOutcome]:
    """Run the batch again for parked and transiently failed keys, and return each account's last outcome."""
    ended: dict[str, KeyOutcome] = {}
    tries = dict.fromkeys(scene.names, 0)
    left = list(scene.names)
    while left:
        report = prefetch.run(
            [KeyRequest(ReportKey(name, "last_30d")) for name in left], Priority.LOW, wait_seconds=600
        )
        ended.update({outcome.request.key.account_id: outcome for outcome in report.outcomes})
        print(f"platform {clock.now():%H:%M}: {report.summary()}", file=sys.stderr)
        for name in left:
            tries[name] += ended[name].status is not KeyStatus.PARKED
        left = [name for name in left if _comes_back(ended[name]) and tries[name] < TRIES]
        waits = [ended[name].retry_after or 1.0 for name in left]
        if waits:
            clock.sleep(min(waits))
    return ended


def _comes_back(outcome: KeyOutcome) -> bool:
    return outcome.status is KeyStatus.PARKED or (
        outcome.status in {KeyStatus.FAILED, KeyStatus.STALE} and _DEAD not in str(outcome.reason)
    )


def fetch_with_hook(scene: StormScenario, server: SimulatorServer, cap: float, *, tries: int) -> Result:
    """Fetch with Airflow's hook in a process of its own, ended after `cap` seconds.

    Args:
        tries: 0 gives it all accounts in one call, as its list of accounts is meant; else one call for each, and
            so many tries of it.
    """
    with tempfile.TemporaryDirectory(prefix="adwarm-hook-") as folder:
        actual = Path(folder) / "rows.jsonl"
        question = {
            "url": server.url,
            "accounts": scene.names,
            "since": str(scene.days.since),
            "until": str(scene.days.until),
            "sleep": 5 / scene.scale,
            "tries": tries,
            "found": str(actual),
        }
        started, result = time.monotonic(), Result()
        running = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.facebook_hook", json.dumps(question)],
            cwd=ROOT,
            env=_hook_environment(folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, errors = running.communicate(timeout=cap)
        except subprocess.TimeoutExpired:
            running.kill()
            errors = b"unfinished"
            running.communicate()
        result.seconds = time.monotonic() - started
        for line in actual.read_bytes().splitlines() if actual.exists() else []:
            said = orjson.loads(line)
            if "rows" in said:
                result.rows[said["account"]] = said["rows"]
            else:
                result.reasons[said["account"]] = said["error"]
        missing = "unfinished" if errors == b"unfinished" else "the call for all accounts failed"
        result.reasons |= {n: missing for n in scene.names if n not in result.rows and n not in result.reasons}
    return _counted(result, server)


def _hook_environment(folder: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "ADWARM_"))}
    return {
        **clean,
        "AIRFLOW_HOME": folder,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "include")]),
        "NO_PROXY": "127.0.0.1",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }


def _counted(result: Result, server: SimulatorServer) -> Result:
    calls, _ = server.state.calls.entries()
    result.calls = server.calls()["total"]
    result.early = sum(call.early for call in calls if call.route != "batch")
    result.in_flight = max((call.in_flight for call in calls if call.account), default=0)
    return result


def evaluate(scene: StormScenario, server: SimulatorServer, result: Result) -> tuple[Row, RowDifference]:
    """Return the figures of a result, and how the rows of the accounts it read differ from the truth.

    An object that the client itself names as missing is no difference; it counts as lost all the same.
    """
    truth = {name: expected_rows(server, name, [scene.days], Increment.DAY) for name in scene.names}
    whole, right, difference = 0, 0, RowDifference()
    for name, true in truth.items():
        rows = result.rows.get(name)
        if rows is None:
            continue
        have, want = by_key(rows), by_key(true)
        right += sum(have.get(key) == row for key, row in want.items())
        named = result.gaps.get(name, "")
        whole += have == want
        difference.add(rows, [row for row in true if str(row["ad_id"]) not in named])
    total = sum(map(len, truth.values()))
    figures = {
        "rows lost": total - right,
        "of": total,
        "accounts whole": whole,
        "duplicates": difference.duplicates,
        "calls": result.calls,
        "calls while parked": result.early,
        "seconds": result.seconds,
    }
    return figures, difference


def count_silent_losses(scene: StormScenario, result: Result, whole: int) -> int:
    """Return how many accounts are incomplete without a stated reason."""
    named = set(result.reasons) | set(result.gaps)
    return scene.number - whole - len(named)


def main(arguments: Sequence[str]) -> int:
    """Fetch with each client, print and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=sized(200, 5))
    parser.add_argument("--ads", type=int, default=sized(8, 2))
    parser.add_argument("--scale", type=float, default=120.0)
    parser.add_argument("--cap", type=float, default=600.0, help="Seconds a client may take.")
    chosen = parser.parse_args(arguments)
    scene = StormScenario(chosen.accounts, chosen.ads, chosen.scale)
    rows = []
    with SimulatorServer(scene.config()) as server:
        ours = fetch_with_adwarm(scene, server)
        figures, difference = evaluate(scene, server, ours)
        rows.append({"what": "adwarm", **figures})
        for what, tries in HOOKS:
            server.reset()
            rows.append({
                "what": what,
                **evaluate(scene, server, fetch_with_hook(scene, server, chosen.cap, tries=tries))[0],
            })
    for name, reason in sorted({**ours.gaps, **ours.reasons}.items()):
        print(f"{name}: {reason[:160]}")
    return _verdicts(scene, ours, figures, difference).finish(rows)


def _verdicts(scene: StormScenario, ours: Result, figures: Row, difference: RowDifference) -> TargetResults:
    verdicts = TargetResults("storm", f"{scene.number} accounts x 30 days, every fault on, clock x{scene.scale:g}")
    unread = set(ours.reasons) - set(scene.mortal) - {scene.names[DENIED]}
    verdicts.check_equal("rows missing from accounts that can be read", difference.missing, 0)
    verdicts.check_equal("rows that differ from the truth", difference.wrong + difference.extra, 0)
    verdicts.check_equal("rows twice", difference.duplicates, 0)
    verdicts.check_equal("calls to a parked account", ours.early, 0)
    verdicts.check_equal("readable accounts that were not read", len(unread), 0)
    verdicts.check_equal(
        "accounts that are not whole, without a reason", count_silent_losses(scene, ours, figures["accounts whole"]), 0
    )
    return verdicts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
