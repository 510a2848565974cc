"""Prepares the data of `make up` at the first start: a log that ends now, its aggregates, and a forecast."""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from adwarm.access_log import log_span, read_events
from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation.errors import AdwarmError, NotFound
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store.snapshots import get_live_snapshot
from dev.environment import UP_HOME

WEEK = timedelta(days=7)


def main() -> int:
    """Prepare the data, and print what was done or the error in one line."""
    try:
        print(prepare(Runtime(), os.environ["ADWARM_UP_SOURCE_LOG"], UP_HOME / "access_log.parquet"))
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
        return f"trained on {figures['opens']:,} opens of {figures['keys']:,} keys"
    return f"the data is there; the forecast was trained until {live.trained_until:%Y-%m-%d %H:%M} UTC"


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
