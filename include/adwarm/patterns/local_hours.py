"""Which hour of the week clocks in a zone show, by tables of quarters of an hour, so that no event is converted alone.

True for every zone that changes its clocks on a quarter of an hour. Since 1990 all have, but for one minute a change in
eastern Canada up to 2011, in Gaza and Hebron in 2010 and 2011, and at the Antarctic station Casey from 2020 to 2022.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adwarm.foundation.arrow_arrays import Ints, Ints16

WEEK_HOURS = 168
DAY_QUARTERS = 96
QUARTER_MICROS = 900_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)
_MONDAY = 3 * DAY_QUARTERS  # the epoch was a Thursday


class HourOfWeekLookup:
    """Keeps, by zone and UTC day, the hour of the week of each quarter; hours run from 0, Monday 00:00, to 167."""

    def __init__(self) -> None:
        self._days: dict[tuple[str, int], Ints16] = {}

    def day(self, zone_name: str, day: int) -> Ints16:
        """Return the hour of the week of the 96 quarters of a UTC day, counted since the epoch."""
        found = self._days.get((zone_name, day))
        if found is None:
            quarters = day * DAY_QUARTERS + np.arange(DAY_QUARTERS)
            local = quarters + _offsets(ZoneInfo(zone_name), day) + _MONDAY
            found = self._days[zone_name, day] = (local // 4 % WEEK_HOURS).astype(np.int16)
        return found

    def table(self, zone_names: list[str], first_day: int, last_day: int) -> Ints16:
        """Return the hour of the week by zone and quarter, for the days from the first to the last."""
        days = range(first_day, last_day + 1)
        return np.stack([np.concatenate([self.day(name, day) for day in days]) for name in zone_names])


def _offsets(zone: ZoneInfo, day: int) -> Ints:
    """Return the offset from UTC in quarters at each quarter of the day; one number where the clocks do not change."""
    start = _EPOCH + timedelta(days=day)
    if _offset(zone, start) == _offset(zone, start + timedelta(days=1)):
        return np.array([_offset(zone, start)], np.int64)
    return np.array([_offset(zone, start + n * _QUARTER) for n in range(DAY_QUARTERS)], np.int64)


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    return (moment.astimezone(zone).utcoffset() or timedelta()) // _QUARTER
