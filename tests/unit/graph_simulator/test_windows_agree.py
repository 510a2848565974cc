"""adwarm and the simulator resolve every date preset to the same days, each with its own code.

Both are compared at moments around local midnight: on days when clocks change, at ends of weeks, months, quarters and
years, on leap days, and in zones whose offset is not a whole hour or whose calendar skipped a day.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from adwarm.model.keys import resolve_window
from adwarm_client.date_ranges import MAX_DAYS, PRESETS
from graph_simulator.date_ranges import PRESETS as PLATFORM_PRESETS
from graph_simulator.date_ranges import RETENTION_MONTHS, DateRange, local_time, months_before, preset_range

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Lisbon",
    "Africa/Casablanca",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",  # -3:30
    "America/Havana",  # clocks change at midnight
    "America/Santiago",  # southern summer time; clocks change at midnight
    "America/Sao_Paulo",
    "Asia/Kolkata",  # +5:30
    "Asia/Kathmandu",  # +5:45
    "Asia/Tehran",  # clocks changed at midnight until 2022
    "Asia/Tokyo",
    "Australia/Sydney",
    "Australia/Lord_Howe",  # summer time of half an hour
    "Pacific/Chatham",  # +12:45, and southern summer time
    "Pacific/Apia",  # had no 2011-12-30
    "Pacific/Kiritimati",  # +14
)
BACK_TO_RETENTION = {"maximum", "data_maximum"}
FIXED_DAYS = (
    date(2011, 12, 29),  # Samoa's last day before the date line moved
    date(2011, 12, 30),  # the day that Samoa skipped
    date(2011, 12, 31),
    date(2024, 2, 28),
    date(2024, 2, 29),
    date(2024, 3, 1),
    date(2025, 2, 28),
    date(2025, 3, 31),  # the month before is shorter
    date(2026, 9, 30),
    date(2026, 10, 1),
    date(2026, 11, 23),  # a Monday
    date(2026, 11, 29),  # a Sunday
    date(2026, 12, 31),
    date(2027, 1, 1),
    date(2027, 3, 28),
)
STEPS = (
    timedelta(hours=-2),
    timedelta(minutes=-61),
    timedelta(microseconds=-1),
    timedelta(),
    timedelta(seconds=1),
    timedelta(minutes=31),
    timedelta(hours=2),
)


def days_of_clock_changes(zone_name: str) -> set[date]:
    """The local days on which a zone's offset changed from 2020 to 2026."""
    zone = ZoneInfo(zone_name)
    noons = [datetime(2020, 1, 1, 12, tzinfo=UTC) + timedelta(days=number) for number in range(7 * 365)]
    offsets = [noon.astimezone(zone).utcoffset() for noon in noons]
    changed = [noon for noon, before, after in zip(noons[1:], offsets, offsets[1:], strict=False) if before != after]
    return {noon.astimezone(zone).date() for noon in changed}


def moments(zone_name: str) -> Iterator[datetime]:
    """Moments around the start and the end of each day that is easily resolved wrongly."""
    zone = ZoneInfo(zone_name)
    for day in sorted({*FIXED_DAYS, *days_of_clock_changes(zone_name)}):
        for midnight in (day, day + timedelta(days=1)):
            for fold in (0, 1):
                start = datetime(midnight.year, midnight.month, midnight.day, tzinfo=zone, fold=fold)
                yield from (start.astimezone(UTC) + step for step in STEPS)


def platform_range(preset: str, zone_name: str, moment: datetime) -> DateRange:
    """What the simulated platform means by a preset at a moment."""
    return preset_range(preset, local_time(moment, zone_name).date())


def test_there_are_twenty_presets_and_zones() -> None:
    """The platform documents twenty presets; adwarm knows each of them, and two short names of its own."""
    assert len(PLATFORM_PRESETS) == len(ZONES) == 20
    assert set(PRESETS) - set(PLATFORM_PRESETS) == {"this_week", "last_week"}
    assert set(PLATFORM_PRESETS) <= set(PRESETS)


@pytest.mark.parametrize("zone_name", ZONES)
def test_both_resolve_the_same_days(zone_name: str) -> None:
    """Each preset has the same first and last day in both, whatever the moment."""
    compared = 0
    for moment in moments(zone_name):
        for preset in PLATFORM_PRESETS:
            theirs, ours = platform_range(preset, zone_name, moment), resolve_window(preset, zone_name, moment)
            assert ours.until == theirs.until, (preset, moment)
            if preset not in BACK_TO_RETENTION:
                assert ours.since == theirs.since, (preset, moment)
            compared += 1
    assert compared >= len(PLATFORM_PRESETS) * len(FIXED_DAYS) * len(STEPS) * 4


def test_adwarm_never_reads_past_the_retention() -> None:
    """`maximum` is 37 months on the platform. adwarm reads MAX_DAYS of them: the most that fit whatever the month.

    The platform refuses a call that starts earlier than 37 months ago, so a window may be shorter but never longer.
    """
    today = date(2020, 1, 1)
    spare = set()
    while today < date(2028, 3, 1):
        theirs, ours = preset_range("maximum", today), resolve_window("maximum", "UTC", _noon(today))
        assert theirs.since == months_before(today, RETENTION_MONTHS)
        assert (ours.until, len(ours)) == (today, MAX_DAYS)
        spare.add((ours.since - theirs.since).days)
        today += timedelta(days=1)
    assert min(spare) >= 0
    assert max(spare) <= 7


def test_presets_by_hand(subtests: pytest.Subtests) -> None:
    """On a Wednesday in Berlin, each preset is what a calendar on paper says."""
    for preset, since, until in [
        ("today", "2026-11-25", "2026-11-25"),
        ("yesterday", "2026-11-24", "2026-11-24"),
        ("last_3d", "2026-11-22", "2026-11-24"),
        ("last_7d", "2026-11-18", "2026-11-24"),
        ("last_14d", "2026-11-11", "2026-11-24"),
        ("last_28d", "2026-10-28", "2026-11-24"),
        ("last_30d", "2026-10-26", "2026-11-24"),
        ("last_90d", "2026-08-27", "2026-11-24"),
        ("this_week_mon_today", "2026-11-23", "2026-11-25"),
        ("this_week_sun_today", "2026-11-22", "2026-11-25"),
        ("last_week_mon_sun", "2026-11-16", "2026-11-22"),
        ("last_week_sun_sat", "2026-11-15", "2026-11-21"),
        ("this_month", "2026-11-01", "2026-11-25"),
        ("last_month", "2026-10-01", "2026-10-31"),
        ("this_quarter", "2026-10-01", "2026-11-25"),
        ("last_quarter", "2026-07-01", "2026-09-30"),
        ("this_year", "2026-01-01", "2026-11-25"),
        ("last_year", "2025-01-01", "2025-12-31"),
        ("maximum", "2023-10-25", "2026-11-25"),
        ("data_maximum", "2023-10-25", "2026-11-25"),
    ]:
        with subtests.test(preset=preset, since=since, until=until):
            moment = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)  # half past midnight on the 25th in Berlin
            assert str(platform_range(preset, "Europe/Berlin", moment)) == f"{since}..{until}"


def test_weeks_start_on_their_own_day(subtests: pytest.Subtests) -> None:
    """On each day of a week, this week starts on its first weekday and last week is the seven days before."""
    for weekday in range(7):
        with subtests.test(weekday=weekday):
            today = date(2026, 11, 23) + timedelta(days=weekday)
            for start, this, last in (
                (0, "this_week_mon_today", "last_week_mon_sun"),
                (6, "this_week_sun_today", "last_week_sun_sat"),
            ):
                current, previous = preset_range(this, today), preset_range(last, today)
                assert current.since.weekday() == previous.since.weekday() == start
                assert 0 <= (today - current.since).days < 7
                assert previous == DateRange(current.since - timedelta(days=7), current.since - timedelta(days=1))


def test_samoa_had_no_30_december_2011() -> None:
    """The day after 29 December was the 31st; yesterday is then the 30th, a day without any delivery."""
    before, after = datetime(2011, 12, 30, 9, 59, tzinfo=UTC), datetime(2011, 12, 30, 10, 1, tzinfo=UTC)
    assert local_time(before, "Pacific/Apia").date() == date(2011, 12, 29)
    assert local_time(after, "Pacific/Apia").date() == date(2011, 12, 31)
    assert str(platform_range("yesterday", "Pacific/Apia", after)) == "2011-12-30..2011-12-30"


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
