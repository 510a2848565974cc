"""Moments as hours of the reader's week, and back. Right across clock changes and in half-hour zones."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone

HOURS = 168
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LocalSlot:
    """A part of one local hour.

    Attributes:
        start: UTC.
        end: UTC, not part of it.
        hour_of_week: 0 is Monday 00:00 to 01:00 in the zone.
        begins_at: the share of the hour, 0 to 1, that has passed at `start`.
    """

    start: datetime
    end: datetime
    hour_of_week: int
    begins_at: float

    @property
    def share(self) -> float:
        """The share of a whole hour it covers."""
        return min(1.0, (self.end - self.start) / _HOUR)


def zone_or_default(name: object, default: str) -> str:
    """Return `name` when it is an IANA zone, else `default`."""
    try:
        return name if isinstance(name, str) and name and zone(name) else default
    except BadRequest:
        return default


def local_slots(zone_name: str, start: datetime, end: datetime) -> list[LocalSlot]:
    """Return the local hours of the zone that lie in `[start, end)`, the first and last clipped to it."""
    here = zone(zone_name)
    moment, end = utc(start), utc(end)
    slots = []
    while moment < end:
        local = moment.astimezone(here)
        passed = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        until = min(end, moment + _HOUR - passed)
        slots.append(LocalSlot(moment, until, local.weekday() * 24 + local.hour, passed / _HOUR))
        moment = until
    return slots


def hour_of_week_at(zone_name: str, moment: datetime) -> float:
    """Return how many hours of the local week have passed at `moment`, with fractions."""
    local = utc(moment).astimezone(zone(zone_name))
    return local.weekday() * 24 + local.hour + local.minute / 60 + local.second / 3600


def localize(moments: pd.Series, zones: pd.Series) -> pd.DataFrame:
    """Return `hour_of_week`, `minute` (with fractions) and `occurrence` of each UTC moment in its own zone.

    Two moments have the same `occurrence` when they fall into the same hour of the same local day.
    """
    size = len(moments)
    hour_of_week: npt.NDArray[np.int16] = np.zeros(size, np.int16)
    minute: npt.NDArray[np.float32] = np.zeros(size, np.float32)
    occurrence: npt.NDArray[np.int64] = np.zeros(size, np.int64)
    names = zones.to_numpy(dtype=object)
    for name in sorted(set(names)):
        chosen = np.flatnonzero(names == name)
        wall = pd.DatetimeIndex(moments.iloc[chosen]).tz_convert(zone(name)).tz_localize(None)
        seconds = wall.to_numpy("datetime64[ms]").astype(np.int64) / 1000.0
        occurrence[chosen] = np.floor_divide(seconds, 3600).astype(np.int64)
        minute[chosen] = (seconds - occurrence[chosen] * 3600.0) / 60.0
        # The epoch was a Thursday, 72 hours into its week.
        hour_of_week[chosen] = (occurrence[chosen] + 72) % HOURS
    return pd.DataFrame({"hour_of_week": hour_of_week, "minute": minute, "occurrence": occurrence})
