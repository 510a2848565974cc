"""Prepares the data of `make up` at the first start: a log that ends now, its aggregates, and a forecast."""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from adwarm.access_log import log_span, read_events
from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import AdwarmError, NotFound
from adwarm.maintenance.steps import run_if_due
from adwarm.patterns.access_profiles import update_patterns
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from adwarm.settings import Settings, load_settings
from adwarm.store.snapshots import get_live_snapshot
from dev.environment import TOKEN, UP_HOME
from dev.page_rows import add_history
from dev.simulated_day import SCORED_ACCOUNTS, SETTINGS, SimulatedDay
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

WEEK = timedelta(days=7)
HOURS, UNREAD_HOURS = 10, 3
"""Hours of work before the first look: the first warms have ended then, so that it is known whether they were used."""


def main() -> int:
    """Prepare the data, and print what was done or the error in one line."""
    log = UP_HOME / "access_log.parquet"
    is_new = not log.exists()
    try:
        print(prepare(Runtime(), os.environ["ADWARM_UP_SOURCE_LOG"], log))
        if is_new:
            fill(log)
    except AdwarmError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def prepare(runtime: Runtime, source: str, target: Path) -> str:
    """Move the log at `source` to `target`, read it and train, each unless it is done, and return what was done.

    Later starts change nothing: the DAG adwarm_access_patterns reads what has become the past, and trains daily.
    """
    now = runtime.clock.now()
    if not target.exists():
        move_to_now(source, runtime.settings, now, target)
    try:
        live = get_live_snapshot(runtime.engine)
    except NotFound:
        ingest(runtime.context, now)
        figures = train_and_promote(runtime.context, now, now)
        update_patterns(runtime.context, now, now)
        return f"trained on {figures['opens']:,} opens of {figures['keys']:,} keys"
    return f"the data is there; the forecast was trained until {live.trained_until:%Y-%m-%d %H:%M} UTC"


def fill(log: Path) -> None:
    """Work and score as if the installation had run for some time, so that no page is empty at the first look."""
    with SimulatorServer(SimulatorConfig(token=TOKEN)) as platform:  # the one that the installation calls later

        def open_runtime(clock: Clock) -> Runtime:
            source = {"graph_url": platform.url, "access_token": TOKEN}
            return Runtime(load_settings(source=source, **SETTINGS), clock)

        now = SystemClock().now()
        day = SimulatedDay(open_runtime, platform, hours=HOURS, unread=UNREAD_HOURS)
        opens, start = day.read_log(str(log), now)
        accounts = list(dict.fromkeys(item.key.account_id for item in opens))
        day.score(accounts[:SCORED_ACCOUNTS])
        day.work(opens, start, now)
        runtime = open_runtime(SystemClock())
        add_history(runtime.context, now, accounts)
        run_if_due(runtime.maintenance_parts(), "read_creatives", run_now=True)
        runtime.engine.dispose()


def move_to_now(url: str, settings: Settings, now: datetime, target: Path) -> None:
    """Write the log at `url` to `target`, moved by whole weeks so that it ends within the week after `now`.

    Events keep their weekday and local time of day. Those after `now` are kept, as opens that are still to come.
    """
    _, last, _ = log_span(url, settings)
    weeks = -((last - now) // WEEK)
    frames = []
    for batch in read_events(url, settings):
        frame = batch.to_pandas()
        frame["ts"] = _add_local_weeks(frame["ts"], frame["time_zone"].astype(str), weeks)
        frames.append(frame)
    partial = target.with_name(f"{target.name}.partial")  # a start that is interrupted leaves no half log behind
    pd.concat(frames, ignore_index=True).sort_values("ts").to_parquet(partial, index=False)
    partial.replace(target)


def _add_local_weeks(timestamps: pd.Series, zones: pd.Series, weeks: int) -> pd.Series:
    """Add weeks to local wall-clock times, so that a change of summer time does not shift the hour."""
    parts = []
    for name, index in zones.groupby(zones).groups.items():
        zone_name = str(name) if name and str(name) not in {"nan", "None"} else "UTC"
        local = timestamps.loc[index].dt.tz_convert(zone_name).dt.tz_localize(None) + pd.Timedelta(weeks=weeks)
        parts.append(local.dt.tz_localize(zone_name, ambiguous=True, nonexistent="shift_forward").dt.tz_convert("UTC"))
    moved: pd.Series = pd.concat(parts)
    return moved.sort_index()


if __name__ == "__main__":
    sys.exit(main())
