"""Local time of whole arrays: one search in a zone's clock changes instead of a conversion for each moment."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from adwarm.foundation.arrow_arrays import Ints, Micros
from adwarm.foundation.local_time import WEEK_HOURS, zone

HOUR_MICROS = 3_600_000_000
DAY_MICROS = 24 * HOUR_MICROS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY_SECONDS = 86_400
_EPOCH_HOUR = 3 * 24  # 1970 began on a Thursday


def to_local_micros(moments: Micros, zone_name: str) -> Micros:
    """Return what clocks in the zone show at each of `moments`, as microseconds since 1970 on these clocks.

    Exact to the second for every clock change, except where a zone changes its clocks twice on one UTC day and ends it
    with the offset it began with; no zone has done so since 1970.

    Raises:
        BadRequest: there is no such zone.
    """
    if not len(moments):
        return moments
    first, last = int(moments.min()) // DAY_MICROS, int(moments.max()) // DAY_MICROS
    changes, offsets = _clock_changes(zone_name, first, last)
    return moments + offsets[np.searchsorted(changes, moments, "right")]


def hours_of_week(local_hours: Ints) -> Ints:
    """Return the hour of the week, 0 to 167 from Monday 00:00, of whole hours since 1970 on a local clock."""
    return (local_hours + _EPOCH_HOUR) % WEEK_HOURS


@lru_cache(maxsize=4096)
def _clock_changes(zone_name: str, first_day: int, last_day: int) -> tuple[Ints, Ints]:
    """Return the moments at which the zone's offset changes between two UTC days, and the offsets around them."""
    here = zone(zone_name)
    start = first_day * _DAY_SECONDS
    changes, offsets = [], [_offset(here, start)]
    for day in range(first_day, last_day + 1):
        end = (day + 1) * _DAY_SECONDS
        if (offset := _offset(here, end)) != offsets[-1]:
            changes.append(_change_within(here, end - _DAY_SECONDS, end))
            offsets.append(offset)
    return np.array(changes, np.int64) * 1_000_000, np.array(offsets, np.int64) * 1_000_000


def _change_within(here: ZoneInfo, low: int, high: int) -> int:
    """Return the second, after `low` and not after `high`, from which the offset is that of `high`."""
    after = _offset(here, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(here, middle) == after else (middle, high)
    return high


def _offset(here: ZoneInfo, second: int) -> int:
    """Return the seconds by which the zone's clocks are ahead of UTC."""
    return ((_EPOCH + timedelta(seconds=second)).astimezone(here).utcoffset() or timedelta()) // _SECOND
