"""Local hours are right across clock changes and in zones with odd offsets."""

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.local_time import WEEK_HOURS, hours_into_week, local_midnight, local_slots, zone_or_default

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"]


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31)),
    st.integers(1, 72 * 60),
)
def test_slots_tile_the_asked_time(zone: str, start: datetime, minutes: int) -> None:
    """Slots follow one another without gap or overlap, none is longer than an hour, all lie in the asked time."""
    start = start.replace(tzinfo=UTC)
    end = start + timedelta(minutes=minutes)
    slots = local_slots(zone, start, end)
    assert (slots[0].start, slots[-1].end) == (start, end)
    assert all(one.end == two.start for one, two in itertools.pairwise(slots))
    assert all(timedelta(0) < slot.end - slot.start <= timedelta(hours=1) for slot in slots)
    assert all(0 <= slot.hour_of_week < WEEK_HOURS and 0 <= slot.begins_at < 1 for slot in slots)


def test_half_hour_zones_have_their_own_hours() -> None:
    """In Kolkata 09:00 begins at 03:30 UTC; the first slot is the rest of the hour before it."""
    slots = local_slots(
        "Asia/Kolkata", datetime(2026, 3, 2, 3, 15, tzinfo=UTC), datetime(2026, 3, 2, 4, 30, tzinfo=UTC)
    )
    assert [(slot.hour_of_week, slot.share) for slot in slots] == [(8, 0.25), (9, 1.0)]
    assert slots[1].start == datetime(2026, 3, 2, 3, 30, tzinfo=UTC)


def test_the_skipped_hour_of_spring_does_not_exist() -> None:
    """On the night the clocks go forward in Berlin, 02:00 is missing."""
    slots = local_slots("Europe/Berlin", datetime(2026, 3, 29, 0, tzinfo=UTC), datetime(2026, 3, 29, 3, tzinfo=UTC))
    assert [slot.hour_of_week % 24 for slot in slots] == [1, 3, 4]


def test_the_doubled_hour_of_autumn_comes_twice() -> None:
    """On the night the clocks go back in Berlin, 02:00 comes twice."""
    slots = local_slots("Europe/Berlin", datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC))
    assert [slot.hour_of_week % 24 for slot in slots] == [1, 2, 2, 3]


@given(st.sampled_from(ZONES), st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31)))
def test_hours_into_the_week_agree_with_the_slot_of_the_moment(zone: str, moment: datetime) -> None:
    """The fractional hour of the week lies in the slot at that moment."""
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    slot = local_slots(zone, moment, moment + timedelta(seconds=1))[0]
    assert hours_into_week(zone, moment) == pytest.approx(slot.hour_of_week + slot.begins_at)


def test_local_midnight_follows_clock_changes() -> None:
    """A day that begins in winter time and one that begins in summer time have their own offsets."""
    assert local_midnight(date(2026, 3, 29), "Europe/Berlin") == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert local_midnight(date(2026, 3, 30), "Europe/Berlin") == datetime(2026, 3, 29, 22, tzinfo=UTC)


def test_an_unknown_zone_takes_the_default(subtests: pytest.Subtests) -> None:
    """Whatever is no zone becomes the default one; a zone stays."""
    for name in [None, "", "Mars/Olympus", 7, float("nan")]:
        with subtests.test(name=name):
            assert zone_or_default(name, "Asia/Tokyo") == "Asia/Tokyo"
            assert zone_or_default("Europe/Rome", "Asia/Tokyo") == "Europe/Rome"
