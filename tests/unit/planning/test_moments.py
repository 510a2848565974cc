"""Moments as people write them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest
from adwarm.planning.moments import read_moment

NEW_YORK = "America/New_York"
NOW = datetime(2026, 3, 4, 15, tzinfo=UTC)
"""10:00 in New York."""


def test_a_time_is_local_unless_it_names_an_offset(subtests: pytest.Subtests) -> None:
    """A time alone is the newest one that has passed, a day word moves it; ISO 8601 with an offset stays."""
    for text, expected in {
        "9:00": "2026-03-04T14:00",
        "9:00 AM": "2026-03-04T14:00",
        "12:30 am": "2026-03-04T05:30",
        "11:15": "2026-03-03T16:15",
        "Today 11:15": "2026-03-04T16:15",
        "yesterday 9:00": "2026-03-03T14:00",
        "tomorrow 9:00 pm": "2026-03-06T02:00",
        "2026-03-04 09:00": "2026-03-04T14:00",
        "2026-03-09": "2026-03-09T04:00",
        "2026-03-04T09:00+00:00": "2026-03-04T09:00",
    }.items():
        with subtests.test(text=text):
            assert f"{read_moment(text, NEW_YORK, NOW):%Y-%m-%dT%H:%M}" == expected
    for text in ("noon", "25:00", "9:61", "0:30 pm", "9", "", "2026-13-01"):
        with subtests.test(text=text), pytest.raises(BadRequest, match="America/New_York"):
            read_moment(text, NEW_YORK, NOW)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.times(), st.sampled_from([NEW_YORK, "Asia/Kolkata"])
)
def test_a_time_alone_has_passed_within_a_day(now: datetime, clock: datetime, zone: str) -> None:
    """It is not ahead, and less than a day and a change of the clock ago."""
    moment = read_moment(f"{clock:%H:%M}", zone, now.replace(tzinfo=UTC))
    assert timedelta(0) <= now.replace(tzinfo=UTC) - moment <= timedelta(hours=25)
