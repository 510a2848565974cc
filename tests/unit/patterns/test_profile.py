"""Profiles show habits where there are any, and none in random traffic."""

import random
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from adwarm.foundation.errors import NotFound
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.profile import build_profiles
from tests.unit.patterns.conftest import count_opens, get_profile, profile_moments

MONDAY = datetime(2026, 2, 2, tzinfo=UTC)


def _office(zone: str, weeks: int = 8) -> pd.DatetimeIndex:
    days = pd.date_range("2026-02-02", periods=7 * weeks, tz=zone)
    return pd.DatetimeIndex([
        (day + pd.DateOffset(hours=hour)).tz_convert("UTC") for day in days if day.day_of_week < 5 for hour in (9, 14)
    ])


def test_habits_keep_their_hour_over_a_change_of_clocks() -> None:
    """Nine in the morning in New York is hour 9 before and after 8 March 2026."""
    profile = profile_moments(_office("America/New_York"), "America/New_York")
    hours = [hour for hour, count in enumerate(profile.hour_of_week) if count]
    assert hours == [day * 24 + hour for day in range(5) for hour in (9, 14)]
    assert list(profile.peak_hours) == list(profile.busy_hours) == hours
    assert set(profile.quiet_hours) == set(range(WEEK_HOURS)) - set(hours)
    assert profile.weekday == (2, 2, 2, 2, 2, 0, 0)
    assert {profile.active_weeks[hour] for hour in hours} == {8}


def test_the_hour_is_the_readers(subtests: pytest.Subtests) -> None:
    """00:29 UTC on a Monday is 09:29 in Tokyo and 05:59 in Kolkata, on any server."""
    for zone, hour in [("Asia/Tokyo", 9), ("Asia/Kolkata", 5), ("UTC", 0)]:
        with subtests.test(zone=zone, hour=hour):
            profile = profile_moments(pd.DatetimeIndex(["2026-03-02T00:29:00Z"]), zone)
            assert [at for at, count in enumerate(profile.hour_of_week) if count] == [hour]
            assert profile.time_zones == {zone: 1}


def test_even_traffic_has_neither_busy_nor_quiet_hours() -> None:
    """Opens spread by chance over the week make no pattern, and the profile says so."""
    chance = random.Random(7)
    start = pd.Timestamp("2026-01-05", tz="UTC")
    moments = sorted(start + pd.Timedelta(minutes=40 * n + chance.randrange(5)) for n in range(12 * 7 * 36))
    profile = profile_moments(pd.DatetimeIndex(moments))
    assert (profile.busy_hours, profile.peak_hours, profile.quiet_hours) == ((), (), ())
    assert profile.evidence == "opens are spread over the week: no hour differs significantly from the others"


def test_one_open_is_no_peak() -> None:
    """A single open proves nothing, and the profile says what is missing."""
    profile = profile_moments(pd.DatetimeIndex(["2026-03-02T14:00:00Z"]))
    assert (profile.first_opens, profile.peak_hours, profile.quiet_hours) == (1, (), ())
    assert profile.evidence.startswith("observed for 0.1 weeks; ")
    late = profile_moments(pd.DatetimeIndex(["2026-03-02T14:00:00Z"]), until=datetime(2026, 5, 4, tzinfo=UTC))
    assert late.evidence == "too few first opens: 1 in 9.0 weeks"


def test_a_peak_needs_three_weeks() -> None:
    """However many opens fall into one hour of two weeks, it is no habit yet; three weeks are one."""
    days = pd.date_range("2026-02-02 09:00", periods=9, freq="7D", tz="UTC")
    two, three = (
        profile_moments(
            pd.DatetimeIndex([*days[:weeks], *(days[0] + pd.Timedelta(hours=31 * n) for n in range(40))]).sort_values(),
            until=days[8].to_pydatetime(),
        )
        for weeks in (2, 8)
    )
    assert 9 not in two.busy_hours
    assert 9 in three.busy_hours


def test_only_the_three_busiest_hours_of_a_weekday_are_peaks() -> None:
    """Of nine busy hours the three with the highest rates are peaks; of equal ones the earlier."""
    events = [
        (day * 86_400 + hour * 3_600, "act_1", name, "UTC", "human")
        for day in range(280)
        for hour in range(9, 18)
        for name in (("today", "last_7d") if hour in {11, 14, 15, 16} else ("today",))
    ]
    profile = get_profile(build_profiles(count_opens(MONDAY, events), MONDAY + timedelta(days=280)), "act_1")
    for day in range(7):
        assert [hour % 24 for hour in profile.peak_hours if hour // 24 == day] == [11, 14, 15]
        assert [hour % 24 for hour in profile.busy_hours if hour // 24 == day] == list(range(9, 18))


def test_hours_without_any_open_are_quiet(subtests: pytest.Subtests) -> None:
    """Nights without any open are quiet hours."""
    for weeks in [4, 30]:
        with subtests.test(weeks=weeks):
            days = pd.date_range("2026-01-05", periods=7 * weeks, tz="UTC")
            moments = [day + pd.Timedelta(hours=hour) for day in days for hour in range(8, 20)]
            profile = profile_moments(pd.DatetimeIndex(moments))
            assert list(profile.quiet_hours) == [h for h in range(WEEK_HOURS) if not 8 <= h % 24 < 20]
            assert not set(profile.quiet_hours) & set(profile.busy_hours)


def test_rates_do_not_depend_on_where_the_log_ends() -> None:
    """One open each day at noon is one a day for each weekday, whether the log ends on a Tuesday or a Sunday."""
    profile = profile_moments(pd.date_range("2026-02-02 12:00", periods=9, tz="UTC"))
    assert profile.weekday == (1.0,) * 7
    assert {profile.rate[day * 24 + 12] for day in range(7)} == {1.0}
    assert profile.observed[12] == 2  # two Mondays up to noon, one Wednesday
    assert profile.observed[2 * 24 + 12] == 1


def test_the_profile_of_all_adds_up_and_each_account_has_its_own() -> None:
    """Row 0 is of all accounts; ranges and zones are counted for each, the most popular first."""
    events = [
        (3600 * 9, "act_2", "today", "Europe/Berlin", "human"),
        (3600 * 33, "act_2", "today", "Europe/Berlin", "human"),
        (3600 * 9, "act_1", "last_7d", "Asia/Tokyo", "human"),
        (3600 * 9 + 60, "act_1", "last_7d", "Asia/Tokyo", "human"),  # no first open
        (3600 * 10, "act_1", "today", "UTC", "human"),
        (3600 * 10, "act_1", "today", "UTC", "api"),
    ]
    profiles = build_profiles(count_opens(MONDAY, events), MONDAY + timedelta(days=21))
    assert list(profiles.accounts.index) == ["all", "act_1", "act_2"]
    everyone, first, second = (get_profile(profiles, name) for name in profiles.accounts.index)
    assert [row.first_opens for row in (everyone, first, second)] == [4, 2, 2]
    assert [row.keys for row in (everyone, first, second)] == [3, 2, 1]
    assert list(everyone.time_zones.items()) == [("Europe/Berlin", 2), ("Asia/Tokyo", 1), ("UTC", 1)]
    assert [tuple(item.values()) for item in everyone.popular_ranges] == [("today", 3, 0.75), ("last_7d", 1, 0.25)]
    assert [tuple(item.values()) for item in second.popular_ranges] == [("today", 2, 1.0)]
    assert {at: n for at, n in enumerate(first.hour_of_week) if n} == {18: 1, 10: 1}  # each on its reader's clock
    with pytest.raises(NotFound, match=r"act_9 was not opened by a human in the 21 observed days; 2 accounts were"):
        profiles.require("act_9")


def test_an_account_is_observed_from_its_first_open() -> None:
    """An account that is opened for the first time in the sixth of eight weeks has been observed for three."""
    events = [(at, account, "today", "UTC", "human") for account, at in (("act_1", 0), ("act_2", 5 * 7 * 86_400))]
    profiles = build_profiles(count_opens(MONDAY, events), MONDAY + timedelta(weeks=8))
    first, second = (get_profile(profiles, name) for name in ("act_1", "act_2"))
    assert (first.weeks, second.weeks) == (8, 3)
    assert second.since == MONDAY + timedelta(weeks=5)


def test_the_profile_of_nothing_is_empty() -> None:
    """No opens give zeros and no division by zero."""
    profiles = build_profiles(count_opens(MONDAY, []), MONDAY)
    assert list(profiles.accounts.index) == ["all"]
    profile = get_profile(profiles, "all")
    assert profile.hour_of_week == (0,) * WEEK_HOURS
    assert (profile.first_opens, profile.peak_hours, profile.quiet_hours, profile.popular_ranges) == (0, (), (), ())
    assert profile.evidence == "nobody opened a report"
