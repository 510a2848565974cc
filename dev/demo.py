"""The demo: the main job, end to end, through the real DAGs, on one day of a real access log.

It learns from the weeks before the day, then lives through the day hour by hour: decides, warms, and lets the log's own
opens read the result. The upstream is the built-in simulator on a free loopback port.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dev.environment import ROOT, TOKEN, local_environment, log_url

STEP = timedelta(hours=1)
STRATEGY_ACCOUNTS = 5


@dataclass
class Demo:
    """One run of the demo."""

    home: Path
    console: Console
    started: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Run everything, print the table, and return the exit code."""
        from adwarm.settings import load_settings

        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / "airflow").mkdir(parents=True)
        self.console.print("[bold]adwarm demo[/bold]: the main job on a real access log, with a simulated ad platform")
        url = log_url()
        os.environ.update(local_environment(self.home, "http://127.0.0.1:9", url))
        os.environ.setdefault("ADWARM_PLANNING__STEP_MINUTES", str(int(STEP.total_seconds() // 60)))
        os.environ.setdefault("ADWARM_FORECAST__LOG_EVERY_MINUTES", "15")
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        settings = load_settings()

        from dev.history import choose_day
        from graph_simulator.config import SimulatorConfig
        from graph_simulator.server import SimulatorServer

        self.console.print(f"reading {url}")
        day = choose_day(url, settings)
        with SimulatorServer(SimulatorConfig(zone=day.zone, now=day.start, token=TOKEN)) as simulator:
            os.environ.update(local_environment(self.home, simulator.url, url))
            return self._live_through(day, simulator)

    def _live_through(self, day: Any, simulator: Any) -> int:
        from adwarm.foundation.clock import VirtualClock
        from adwarm.runtime import Runtime
        from adwarm.settings import load_settings
        from adwarm_airflow.connections import connection_source_factory
        from dev.dag_runs import DagRuns
        from dev.replay import Readers, without_warming
        from dev.report import DemoReport

        settings = load_settings()
        clock = VirtualClock(day.start)
        with self._progress() as progress:
            steps = progress.add_task("starting Airflow", total=28)
            dags = DagRuns(ROOT / "dags")
            runtime = Runtime(settings, clock, connection_source_factory(settings, clock=clock))
            readers = Readers(runtime, clock)
            say = _teller(progress, steps)
            say("learning from the access log")
            learned = dags.run("adwarm_access_patterns", learning_window(day.start, settings.forecast.history_days))
            self._live(day, simulator, dags, readers, say)
            say("keeping chosen reports ready (strategy)")
            closing = {"decision_time": day.end.isoformat()}
            chosen = sorted({item.key.account_id for item in day.opens})[:STRATEGY_ACCOUNTS]
            simulator.set_now(day.end, frozen=True)
            dags.run("adwarm_strategy_warming", {**closing, "accounts": chosen, "delay_seconds": 0})
            say("completing and scoring the day before")
            yesterday = (day.day - timedelta(days=1)).isoformat()
            dags.run("adwarm_daily_insights", {**closing, "day": yesterday, "accounts": chosen})
            say("accounting for the day")
            dags.run(
                "adwarm_access_patterns", {"window_start": day.start.isoformat(), "window_end": day.end.isoformat()}
            )
            dags.run("adwarm_intelligent_warming", {**closing, "mode": "shadow"})
        report = DemoReport.gather(
            runtime, day, learned, simulator.calls(), readers.tally, without_warming(day.opens, day.zone, runtime)
        )
        report.show(self.console, time.monotonic() - self.started)
        report.write(self.home / "summary.json", time.monotonic() - self.started)
        return report.exit_code(self.console)

    def _live(self, day: Any, simulator: Any, dags: Any, readers: Any, say: Callable[[str], None]) -> None:
        """Read the log, decide and warm at each step, and let the opens between two steps happen in their order.

        A warm is there one start latency after its decision, so opens sooner than that still come before it.
        """
        from adwarm.patterns.ingest.run import ingest

        runtime = readers.runtime
        latency = timedelta(seconds=runtime.settings.planning.lead_seconds)
        waiting = list(day.opens)
        moment = day.start
        while moment < day.end:
            due = [item for item in waiting if item.at < moment + latency]
            waiting = waiting[len(due) :]
            readers.open_all(due)
            say(f"{moment.astimezone(_zone(day.zone)):%H:%M} decide, warm, serve")
            simulator.set_now(moment, frozen=True)
            ingest(runtime.context, moment, window=(moment - STEP, moment))
            dags.run("adwarm_intelligent_warming", {"decision_time": moment.isoformat()})
            moment += STEP
        readers.open_all(waiting)

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description:<44}"), BarColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self.console, transient=False)


def learning_window(until: datetime, days: int) -> dict[str, Any]:
    """Return the conf that reads the log's last `days` days before `until` whole, and trains on them."""
    since = until - timedelta(days=days)
    return {"window_start": since.isoformat(), "window_end": until.isoformat(), "train_now": True}


def _teller(progress: Progress, task: Any) -> Callable[[str], None]:
    def say(text: str) -> None:
        progress.update(task, description=text, advance=1)
        if not progress.console.is_terminal:
            progress.console.print(f"  {text}")

    return say


def _zone(name: str) -> Any:
    from adwarm.foundation.local_time import zone

    return zone(name)


def main() -> int:
    """Run the demo; an error is one line that says what to do."""
    from adwarm.foundation.errors import AdwarmError

    console = Console(width=None if sys.stdout.isatty() else 118)
    logging.getLogger().setLevel(logging.WARNING)
    try:
        return Demo(ROOT / ".adwarm" / "demo", console).run()
    except AdwarmError as error:
        console.print(f"[red]{error}[/red]")
        return 1


if __name__ == "__main__":
    sys.exit(main())
