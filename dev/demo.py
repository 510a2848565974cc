"""`make demo`: runs the main job through the real DAGs on one day of a real access log.

It trains on the weeks before the day, then steps through the day hour by hour: plan, warm, and replay the log's opens
through the read path. At the end it reads reports of the day over HTTP, from the read API, and then the opens that this
one logs. The upstream is the simulator on a free loopback port.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.local_time import zone
from adwarm.foundation.simulation_note import SimulationNote, write_note
from adwarm.model import Actor
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.plan import START_LATENCY
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from dev.dag_runs import DagRuns, list_bundles
from dev.demo_day import (
    DemoReport,
    Readers,
    ReplayDay,
    choose_day,
    measure_times,
    release_memory,
    replay_without_warming,
)
from dev.demo_reading import ApiReaders, ApiReading, make_demo_token
from dev.environment import DEMO_HOME, ROOT, local_environment, log_url, write_shell_environment
from dev.simulator_process import SimulatorProcess

STEP = timedelta(hours=1)
STRATEGY_ACCOUNTS = 5
UNREACHABLE_URL = "http://127.0.0.1:9"
"""Placeholder until the simulator runs."""
SIMULATE_URL = "http://127.0.0.1:8900"
"""Where `adwarm simulate` listens unless told otherwise."""
SERVE_URL = "http://127.0.0.1:8950"
"""Where `adwarm serve` listens unless told otherwise."""
READ_COMMAND = 'curl -sf --retry 9 --retry-connrefused --oauth2-bearer "$DEMO_TOKEN" "$DEMO_REPORT"'
"""Reads one report of the demo; waits for the server to start."""


@dataclass
class Demo:
    """One run of the demo under `home`, which is emptied first."""

    home: Path
    console: Console
    started: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Run all steps, print the table, write `summary.json`, and return the exit code."""
        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / "airflow").mkdir(parents=True)
        self.console.print("[bold]adwarm demo[/bold]: the main job on a real access log, with a simulated ad platform")
        url = log_url()
        os.environ.update(local_environment(self.home, UNREACHABLE_URL, url))
        os.environ.setdefault("ADWARM_PLANNING__STEP_MINUTES", str(int(STEP.total_seconds() // 60)))
        os.environ.setdefault("ADWARM_FORECAST__LOG_EVERY_MINUTES", "15")
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = list_bundles(ROOT / "dags")
        for limit in ("CPU", "MEMORY"):  # equal runs give equal figures, however loaded the machine is
            os.environ.setdefault(f"ADWARM_BACKPRESSURE__{limit}_PERCENT", "100")
        self.console.print(f"reading {url}")
        day = choose_day(url, load_settings())
        simulator = SimulatorProcess(self.home, day.zone, day.start)
        os.environ.update(local_environment(self.home, simulator.url, url))
        return self._run_dags(day, simulator)

    def _run_dags(self, day: ReplayDay, simulator: SimulatorProcess) -> int:
        from adwarm_airflow.connections import connection_source_factory  # reads Airflow's environment on import

        settings = load_settings()
        clock = VirtualClock(day.start)
        closing = {"decision_time": day.end.isoformat()}
        chosen = sorted({item.key.account_id for item in day.opens})[:STRATEGY_ACCOUNTS]
        with self._progress() as progress:
            announce = _step_announcer(progress)
            dags = DagRuns(ROOT / "dags")
            readers = Readers(Runtime(settings, clock, connection_source_factory(settings, clock=clock)), clock)
            announce("training on the access log")
            learned = dags.run("adwarm_access_patterns", training_conf(day.start, settings.forecast.history_days))
            release_memory()
            with simulator:  # after the training, which takes most memory
                self._step_through_day(day, simulator, dags, readers, announce)
                announce("warming by strategy")
                simulator.set_now(day.end)
                dags.run("adwarm_strategy_warming", {**closing, "accounts": chosen, "delay_seconds": 0})
                announce("completing and scoring the day before")
                yesterday = (day.day - timedelta(days=1)).isoformat()
                dags.run("adwarm_daily_insights", {**closing, "day": yesterday, "accounts": chosen})
                report = DemoReport.gather(
                    readers, day, learned, simulator.calls(), replay_without_warming(day, readers.runtime)
                )
                announce("reading through the API")
                reading = self._read_through_api(day, simulator, readers)
                times = measure_times(time.monotonic() - self.started, simulator.get_memory()) | reading.times
        report.api = reading.figures
        report.show(self.console, times)
        report.write(self.home / "summary.json", times)
        text = "The demo: opens of a real log of flights, reports of a simulated ad platform."
        write_note(self.home, SimulationNote(text, day.end + timedelta(minutes=1)))
        self._show_next_steps(day, report.log["first_account"], make_demo_token(readers.runtime, Actor.HUMAN))
        return report.exit_code(self.console)

    def _read_through_api(self, day: ReplayDay, simulator: SimulatorProcess, readers: Readers) -> ApiReading:
        """Read over HTTP, then read the log again, and count the opens that are new: those of the API's own log."""
        runtime = readers.runtime
        api_readers = ApiReaders(runtime, readers.clock, day, simulator.set_now, self.home / "client")
        since, until = api_readers.hours
        before = ingest(runtime.context, until, window=(since, until)).opens
        reading = api_readers.read()
        after = ingest(runtime.context, until, window=(since, until)).opens
        return replace(reading, figures={**reading.figures, "opens_learned": after - before})

    def _show_next_steps(self, day: ReplayDay, account_id: str, token: str) -> None:
        """Write the environment for a shell, and print what to do in it.

        The demo's simulator ends with it, so the environment names the port that `adwarm simulate` listens on.
        """
        path, environment = self.home / "env", local_environment(self.home, SIMULATE_URL, log_url())
        variables = {
            "DEMO_TIME": (day.end + timedelta(hours=12)).isoformat(),
            "DEMO_TOKEN": token,
            "DEMO_REPORT": f"{SERVE_URL}/v1/insights/{account_id}/{day.day}..{day.day}?shape=csv",
        }
        write_shell_environment(path, environment, **variables)
        next_steps(self.console, path, account_id)

    def _step_through_day(
        self,
        day: ReplayDay,
        simulator: SimulatorProcess,
        dags: DagRuns,
        readers: Readers,
        announce: Callable[[str], None],
    ) -> None:
        """At each step read the log, plan and warm; replay the opens between two steps in their order.

        The warms of a decision take effect one lead time after it, so opens before that are replayed first.
        """
        runtime = readers.runtime
        remaining = list(day.opens)
        moment = day.start
        while moment < day.end:
            due = [item for item in remaining if item.at < moment + START_LATENCY]
            remaining = remaining[len(due) :]
            readers.read_all(due)
            announce(f"{moment.astimezone(zone(day.zone)):%H:%M} plan, warm, serve")
            simulator.set_now(moment)
            ingest(runtime.context, moment, window=(moment - STEP, moment))
            dags.run("adwarm_intelligent_warming", {"decision_time": moment.isoformat()})
            moment += STEP
        readers.read_all(remaining)
        ingest(runtime.context, day.end, window=(day.start, day.end))

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description:<44}"), BarColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self.console, transient=False)


def next_steps(console: Console, env: Path, account_id: str) -> None:
    """Print commands that work as they stand, after the first of them has set up the shell from the file `env`."""
    shown = env.relative_to(Path.cwd()) if env.is_relative_to(Path.cwd()) else env
    console.print("\n[bold]Next[/bold], in this shell; DEMO_TIME is noon of the day after the replayed one:")
    for command, meaning in (
        (f"source {shown}", "the demo's home and settings, and the commands"),
        ('adwarm plan --at "$DEMO_TIME"', "what the next decision would warm, and why"),
        ("adwarm patterns", "when reports are opened"),
        (f"adwarm fatigue {account_id}", "the creatives of an account, most spend times loss first"),
        ("adwarm status --all", "what is stored, and how good the forecast is"),
        ("adwarm serve &", "the read API, in the background; `kill %1` ends it"),
        (READ_COMMAND, "a report, as CSV"),
        ("make up", "the same in Airflow, on data that ends today"),
    ):
        console.print(f"  {command:<34} # {meaning}", markup=False, highlight=False, soft_wrap=True)


def training_conf(until: datetime, days: int) -> dict[str, Any]:
    """Return the conf that reads the `days` days of the log before `until` whole, and trains on them."""
    since = until - timedelta(days=days)
    return {"window_start": since.isoformat(), "window_end": until.isoformat(), "train_now": True}


def _step_announcer(progress: Progress) -> Callable[[str], None]:
    """Return a function that advances the progress bar and shows a text, as a line of its own outside a terminal."""
    bar = progress.add_task("starting Airflow", total=28)

    def announce(text: str) -> None:
        progress.update(bar, description=text, advance=1)
        if not progress.console.is_terminal:
            progress.console.print(f"  {text}")

    return announce


def main() -> int:
    """Run the demo; print an expected error as one line."""
    console = Console(width=None if sys.stdout.isatty() else 118)
    logging.getLogger().setLevel(logging.WARNING)
    try:
        return Demo(DEMO_HOME, console).run()
    except AdwarmError as error:
        console.print(f"[red]{error}[/red]")
        return 1


if __name__ == "__main__":
    sys.exit(main())
