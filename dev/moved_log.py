"""Moves a log in time by whole weeks, so that an old example reads as if it had been written until today."""

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from adwarm.access_log import log_span, read_events
from adwarm.settings import Settings

WEEK = timedelta(days=7)


def move_to_now(url: str, settings: Settings, now: datetime, target: Path) -> Path:
    """Write the log of `url` to `target`, moved by whole weeks so that its end lies within the next week.

    Events keep their weekday and local time of day; those that would lie in the future are kept, as the opens to come.
    """
    _, last, _ = log_span(url, settings)
    weeks = -((last - now) // WEEK)
    frames = []
    for batch in read_events(url, settings):
        frame = batch.to_pandas()
        frame["ts"] = _moved(frame["ts"], frame["time_zone"].astype(str), weeks)
        frames.append(frame)
    pd.concat(frames, ignore_index=True).sort_values("ts").to_parquet(target, index=False)
    return target


def _moved(moments: pd.Series, zones: pd.Series, weeks: int) -> pd.Series:
    """Add weeks to local wall-clock times, so that a change of summer time does not shift the hour."""
    parts = []
    for name, index in zones.groupby(zones).groups.items():
        zone_name = str(name) if name and str(name) not in {"nan", "None"} else "UTC"
        local = moments.loc[index].dt.tz_convert(zone_name).dt.tz_localize(None) + pd.Timedelta(weeks=weeks)
        parts.append(local.dt.tz_localize(zone_name, ambiguous=True, nonexistent="shift_forward").dt.tz_convert("UTC"))
    return pd.concat(parts).sort_index()
