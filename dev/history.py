"""What the demo needs to know of a log before it starts: its span, its zone, and a day worth replaying."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd

from adwarm.access_log import log_span, read_events
from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Actor, ReportKey
from adwarm.patterns.opens import FIRST_OPEN_QUIET, opens_from_frame
from adwarm.settings import Settings

LOOK_BACK = timedelta(days=28)


@dataclass(frozen=True)
class Open:
    """One open of the replayed day; `first` when the key was quiet for 30 minutes before."""

    at: datetime
    key: ReportKey
    first: bool


@dataclass(frozen=True)
class ReplayDay:
    """A day of the log, from local midnight to local midnight, with its opens in order."""

    day: date
    zone: str
    start: datetime
    end: datetime
    opens: list[Open]


def choose_day(url: str, settings: Settings) -> ReplayDay:
    """Return the last whole day of the log that is at least as busy as the middle day of its last four weeks.

    Raises:
        BadRequest: the log has no whole day with an open.
    """
    _, last, _ = log_span(url, settings)
    frame = _events(url, settings, last - LOOK_BACK, last + timedelta(seconds=1))
    zone_name = str(frame["time_zone"].mode().iat[0]) if len(frame) else ""
    zone_name = zone_name or settings.default_zone
    days = frame["ts"].dt.tz_convert(zone_name).dt.date
    counts = days[days < local_day(last, zone_name)].value_counts()
    if counts.empty:
        raise BadRequest("the access log holds no whole day of opens; give it a few weeks")
    day = max(counts[counts >= counts.median()].index)
    start, end = (local_midnight(each, zone_name) for each in (day, day + timedelta(days=1)))
    return ReplayDay(day, zone_name, start, end, _opens(frame, start, end))


def _events(url: str, settings: Settings, since: datetime, until: datetime) -> pd.DataFrame:
    frames = [batch.to_pandas() for batch in read_events(url, settings, since=since, until=until)]
    if not frames:
        raise BadRequest("the access log holds no open in its last four weeks; give it a longer one")
    frame = pd.concat(frames, ignore_index=True)
    names = ["account_id", "date_range", "report", "time_zone", "actor"]
    frame[names] = frame[names].astype(str)
    persons = frame["actor"].isin([actor.value for actor in Actor if actor.is_human] + ["", "nan", "None"])
    return frame[persons].sort_values(["ts", "account_id", "date_range"], ignore_index=True)


def _opens(frame: pd.DataFrame, start: datetime, end: datetime) -> list[Open]:
    is_near = (frame["ts"] >= pd.Timestamp(start - FIRST_OPEN_QUIET)) & (frame["ts"] < pd.Timestamp(end))
    opens = opens_from_frame(frame[is_near]).since(to_micros(start))
    rows = zip(opens.ts.tolist(), opens.key.tolist(), opens.first.tolist(), strict=True)
    return [Open(from_micros(ts), opens.report_key(key), is_first) for ts, key, is_first in rows]
