"""Quiet hours of all accounts, in the zones of their readers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.maintenance.off_peak import is_off_peak
from adwarm.model import ALL_ACCOUNTS, AccessProfile
from adwarm.store.access_patterns import DescribedProfile, replace_profiles

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
PROFILE = AccessProfile(
    account_id=ALL_ACCOUNTS,
    first_opens=30,
    keys=2,
    since=MONDAY - timedelta(weeks=8),
    until=MONDAY,
    weeks=8.0,
    time_zones={"Asia/Tokyo": 30},
    hour_of_week=(0,) * 168,
    observed=(8.0,) * 168,
    rate=(0.0,) * 168,
    active_weeks=(0,) * 168,
    weekday=(0.0,) * 7,
    busy_hours=(9,),
    peak_hours=(9,),
    quiet_hours=(2, 3),
    popular_ranges=(),
    evidence="",
)


def _save(engine: Engine, profile: AccessProfile) -> None:
    replace_profiles(engine, [DescribedProfile(profile, "", "", "")], MONDAY)


def test_without_patterns_nothing_is_known(engine: Engine) -> None:
    """No profile, only an account's own, or one without a quiet hour: None."""
    assert is_off_peak(engine, MONDAY) is None
    _save(engine, replace(PROFILE, account_id="act_1"))
    assert is_off_peak(engine, MONDAY) is None
    _save(engine, replace(PROFILE, quiet_hours=()))
    assert is_off_peak(engine, MONDAY) is None


def test_hours_are_local_to_the_readers(engine: Engine) -> None:
    """Two o'clock on Monday in Tokyo is 17:00 on Sunday in UTC."""
    _save(engine, PROFILE)
    quiet = MONDAY - timedelta(hours=7)
    assert is_off_peak(engine, quiet) is True
    assert is_off_peak(engine, quiet + timedelta(hours=1, minutes=59)) is True
    assert is_off_peak(engine, quiet + timedelta(hours=2)) is False
    assert is_off_peak(engine, MONDAY + timedelta(hours=2)) is False


def test_the_zone_of_most_opens_decides(engine: Engine) -> None:
    """With readers in two zones, it is quiet when at least half of the opens come from where it is quiet."""
    quiet_in_tokyo = MONDAY - timedelta(hours=7)
    for zones, expected in (({"Asia/Tokyo": 10, "UTC": 10}, True), ({"Asia/Tokyo": 9, "UTC": 10}, False)):
        _save(engine, replace(PROFILE, time_zones=zones))
        assert is_off_peak(engine, quiet_in_tokyo) is expected
