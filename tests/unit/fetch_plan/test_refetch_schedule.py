"""The schedule fetches each day again as often as it may change, and never a final one."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fetch_plan.refetch_schedule import RefetchSchedule, refetch_weekday
from adwarm.foundation.local_time import local_midnight
from adwarm.model import Account, FreshnessRules, Window

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TODAY = date(2026, 11, 25)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = st.sampled_from(["UTC", "America/New_York", "Pacific/Auckland", "Asia/Kolkata"])
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC))


def _schedule(weekday: int = 2) -> RefetchSchedule:
    return RefetchSchedule("UTC", weekday)


def test_each_age_has_its_interval(subtests: pytest.Subtests) -> None:
    """Today and yesterday by hours, the week by days, the month by weeks."""
    for age, hours_ago, due in [
        (0, 2, False),
        (0, 3, True),  # today: three hours
        (1, 5, False),
        (1, 6, True),  # yesterday: six
        (2, 11, False),
        (2, 13, True),
        (7, 11, False),
        (7, 13, True),  # once per day, from midnight on
        (8, 11, False),
        (8, 13, True),
        (28, 13, True),  # it is a Wednesday, the account's own weekday
    ]:
        with subtests.test(age=age):
            assert _schedule().is_due(TODAY - age * DAY, NOW - hours_ago * HOUR, NOW) is due


def test_settling_days_wait_for_the_accounts_weekday() -> None:
    """A day of two weeks ago, fetched after Tuesday began, is not fetched again until the next Tuesday, local time."""
    assert RefetchSchedule("UTC").weekday == 0
    assert [_schedule(0).is_due(TODAY - age * DAY, NOW - DAY, NOW) for age in (7, 8)] == [True, False]
    schedule = RefetchSchedule("America/New_York", 1)
    zone = ZoneInfo("America/New_York")
    read, day = datetime(2026, 11, 24, 0, 30, tzinfo=zone), date(2026, 11, 10)
    assert not schedule.is_due(day, read, datetime(2026, 11, 30, 23, 59, tzinfo=zone))
    assert schedule.is_due(day, read, datetime(2026, 12, 1, 0, 1, tzinfo=zone))
    assert schedule.is_due(day, read - HOUR, datetime(2026, 11, 30, 23, 59, tzinfo=zone))


def test_a_day_read_while_it_ran_is_due_when_it_has_ended() -> None:
    """Data of 23:30 is fresh for three hours, but not beyond midnight: the day was not complete."""
    late = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    assert not _schedule().is_due(date(2026, 11, 24), late, late + timedelta(minutes=29))
    assert _schedule().is_due(date(2026, 11, 24), late, late + timedelta(minutes=31))
    midnight = datetime(2026, 11, 25, tzinfo=UTC)
    assert not _schedule().is_due(date(2026, 11, 24), midnight, midnight + HOUR)
    assert _schedule().is_due(date(2026, 11, 24), midnight - timedelta(seconds=1), midnight)


@given(ZONES, st.integers(0, 6), st.integers(0, 60), MOMENTS, st.integers(0, 24 * 90))
def test_final_days_are_never_due(zone: str, weekday: int, age: int, fetched_at: datetime, later: int) -> None:
    """Data fetched when it was over 28 days old is never fetched again; older fetches become due in time."""
    schedule = RefetchSchedule(zone, weekday)
    day = schedule.today(fetched_at) - age * DAY
    if age > 28:
        assert not schedule.is_due(day, fetched_at, fetched_at + later * HOUR)
    else:
        assert schedule.is_due(day, fetched_at, fetched_at + 8 * DAY)


@given(st.integers(0, 6), st.integers(8, 28), MOMENTS)
def test_a_settling_day_is_fetched_once_a_week(weekday: int, age: int, start: datetime) -> None:
    """Checked every hour of a week, a settling day is due once, or twice when the week begins on its weekday."""
    schedule, fetched = RefetchSchedule("UTC", weekday), []
    day, last = start.date() - age * DAY, start
    for hour in range(7 * 24):
        now = start + hour * HOUR
        if schedule.is_due(day, last, now):
            fetched.append(now)
            last = now
    assert len(fetched) == 1 or (not fetched and start.weekday() == weekday)


@given(ZONES, MOMENTS, st.integers(1, 10))
def test_a_summary_is_due_once_per_day_of_the_account(zone: str, fetched_at: datetime, days: int) -> None:
    """It is kept until the account's midnight; from then on it is due until the window is final."""
    schedule = RefetchSchedule(zone)
    today = schedule.today(fetched_at)
    window = Window(today - 7 * DAY, today - DAY)
    assert not schedule.is_summary_due(
        window, fetched_at, local_midnight(today + DAY, schedule.data_zone) - timedelta(seconds=1)
    )
    assert schedule.is_summary_due(window, fetched_at, local_midnight(today + days * DAY, schedule.data_zone))
    old = Window(today - 40 * DAY, today - 29 * DAY)
    assert not schedule.is_summary_due(old, fetched_at, fetched_at + days * DAY)


def test_accounts_are_spread_over_the_week() -> None:
    """Weekdays depend only on the id and no day has much more than its share."""
    result = [refetch_weekday(f"act_{number}") for number in range(7_000)]
    assert result == [refetch_weekday(f"act_{number}") for number in range(7_000)]
    assert result[1:6] == [4, 3, 1, 5, 6]
    assert set(result) == set(range(7))
    assert all(850 < result.count(weekday) < 1_150 for weekday in range(7))
    rules = FreshnessRules(daily_days=3)
    assert RefetchSchedule.for_account(Account("act_1"), rules) == RefetchSchedule(
        "UTC", refetch_weekday("act_1"), rules
    )
