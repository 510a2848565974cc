"""Local time of arrays agrees with zoneinfo, also at the second at which clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = [
    "UTC",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Antarctica/Casey",
]


def _local_hours(moments: list[datetime], zone: str) -> list[int]:
    micros = np.array([(moment - EPOCH) // timedelta(microseconds=1) for moment in moments], np.int64)
    return hours_of_week(to_local_micros(micros, zone) // HOUR_MICROS).tolist()


def test_every_hour_of_two_years() -> None:
    """Every hour of 2025 and 2026, at its quarters in turn, has the hour of the week that zoneinfo says."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(hours=n, minutes=n % 4 * 15) for n in range(730 * 24)]
    for zone in ZONES:
        local = [moment.astimezone(ZoneInfo(zone)) for moment in moments]
        assert _local_hours(moments, zone) == [moment.weekday() * 24 + moment.hour for moment in local], zone


@given(
    st.sampled_from(ZONES), st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=9)
)
def test_any_moments_show_the_local_clock(zone: str, naive: list[datetime]) -> None:
    """Clocks of any years, in any order, agree to the microsecond."""
    moments = [moment.replace(tzinfo=UTC) for moment in naive]
    micros = np.array([(moment - EPOCH) // timedelta(microseconds=1) for moment in moments], np.int64)
    clocks = [EPOCH.replace(tzinfo=None) + timedelta(microseconds=us) for us in to_local_micros(micros, zone).tolist()]
    assert clocks == [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for moment in moments]


def test_the_change_takes_effect_at_its_second() -> None:
    """Clocks in Berlin go from 01:59:59 to 03:00:00."""
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert [hour % 24 for hour in _local_hours([change - timedelta(seconds=1), change], "Europe/Berlin")] == [1, 3]


def test_no_moments_and_unknown_zones() -> None:
    """An empty array stays empty; a zone that does not exist is an error."""
    assert len(to_local_micros(np.empty(0, np.int64), "UTC")) == 0
    with pytest.raises(BadRequest, match="Mars/Olympus"):
        to_local_micros(np.zeros(1, np.int64), "Mars/Olympus")
