"""Profiles show habits where there are any, and none in random traffic."""

import json
import random

import numpy as np
import pandas as pd
import pytest

from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.profile import build_profile, hour_of_week_counts


def _slots(moments: list[pd.Timestamp], zone: str = "UTC", date_range: str = "today") -> pd.DataFrame:
    index = pd.DatetimeIndex(moments)
    return pd.DataFrame({
        "account_id": "act_1",
        "date_range": date_range,
        "report": "default",
        "time_zone": zone,
        "slot": index.floor("15min"),
        "opens": 1,
        "first_ts": index,
        "last_ts": index,
    })


def _office(zone: str, weeks: int = 8) -> list[pd.Timestamp]:
    days = pd.date_range("2026-02-02", periods=7 * weeks, tz=zone)
    return [
        (day + pd.DateOffset(hours=hour)).tz_convert("UTC") for day in days if day.day_of_week < 5 for hour in (9, 14)
    ]


def test_habits_keep_their_hour_over_a_change_of_clocks() -> None:
    """Nine in the morning in New York is hour 9 before and after 8 March 2026."""
    found = build_profile(_slots(_office("America/New_York"), "America/New_York"))
    busy = [hour for hour, count in enumerate(found.hour_of_week) if count]
    assert busy == [day * 24 + hour for day in range(5) for hour in (9, 14)]
    assert found.peak_hours == busy
    assert found.weekday == [2, 2, 2, 2, 2, 0, 0]


@pytest.mark.parametrize(("zone", "hour"), [("Asia/Tokyo", 9), ("Asia/Kolkata", 5), ("UTC", 0)])
def test_the_hour_is_the_readers(zone: str, hour: int) -> None:
    """00:30 UTC on a Monday is 09:30 in Tokyo and 06:00 in Kolkata, on any server."""
    at = pd.DatetimeIndex([pd.Timestamp("2026-03-02 00:29", tz="UTC")])
    assert np.flatnonzero(hour_of_week_counts(at.to_series(), zone)).tolist() == [hour]


def test_even_traffic_has_neither_peaks_nor_quiet_hours() -> None:
    """Opens spread by chance over the week make no pattern."""
    chance = random.Random(7)
    start = pd.Timestamp("2026-01-05", tz="UTC")
    moments = sorted(start + pd.Timedelta(minutes=40 * n + chance.randrange(5)) for n in range(12 * 7 * 36))
    found = build_profile(_slots(moments))
    assert found.peak_hours == []
    assert found.quiet_hours == []


def test_one_open_is_no_peak() -> None:
    """A single open is not significant."""
    assert build_profile(_slots([pd.Timestamp("2026-03-02 14:00", tz="UTC")])).peak_hours == []


def test_hours_without_any_open_can_be_quiet() -> None:
    """Nights without any open are quiet hours, if the log is long enough."""
    days = pd.date_range("2026-01-05", periods=7 * 30, tz="UTC")
    moments = [day + pd.Timedelta(minutes=60 * hour) for day in days for hour in range(8, 20)]
    found = build_profile(_slots(moments))
    assert found.quiet_hours == [h for h in range(WEEK_HOURS) if not 8 <= h % 24 < 20]
    assert not set(found.quiet_hours) & set(found.peak_hours)


def test_rates_do_not_depend_on_where_the_log_ends() -> None:
    """One open each day at noon is one a day for each weekday, whether the log ends on a Tuesday or a Sunday."""
    moments = list(pd.date_range("2026-02-02 12:00", periods=9, tz="UTC"))
    found = build_profile(_slots(moments))
    assert found.weekday == [1.0] * 7
    assert {found.rate[day * 24 + 12] for day in range(7)} == {1.0}


def test_popular_ranges_have_shares_and_the_profile_is_json() -> None:
    """Ranges are in order of popularity, and the profile can be dumped as JSON."""
    moments = list(pd.date_range("2026-02-02 12:00", periods=4, tz="UTC"))
    slots = pd.concat([_slots(moments[:3]), _slots(moments[3:], date_range="last_7d")], ignore_index=True)
    found = build_profile(slots)
    assert found.popular_ranges == [("today", 3, 0.75), ("last_7d", 1, 0.25)]
    assert json.loads(json.dumps(found.to_dict()))["keys"] == 2


def test_a_profile_of_nothing_is_empty() -> None:
    """No opens give zeros and no division by zero."""
    found = build_profile(_slots([pd.Timestamp("2026-03-02", tz="UTC")]).iloc[:0])
    assert found.hour_of_week == [0] * WEEK_HOURS
    assert (found.first_opens, found.peak_hours, found.quiet_hours, found.popular_ranges) == (0, [], [], [])
