"""Access patterns in SQL: dense, replaced by account, without accounts that are gone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import StatementError

from adwarm.model import AccessProfile, PopularRange
from adwarm.store import access_patterns, read_transaction
from adwarm.store.access_patterns import DescribedProfile, access_pattern, replace_profiles

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
PROFILE = AccessProfile(
    account_id="act_1",
    first_opens=30,
    keys=2,
    since=AT - timedelta(weeks=8),
    until=AT,
    weeks=8.0,
    time_zones={"Europe/Berlin": 30},
    hour_of_week=(*(0,) * 9, 30, *(0,) * 158),
    observed=(8.0,) * 168,
    rate=(*(0.0,) * 9, 3.75, *(0.0,) * 158),
    active_weeks=(*(0,) * 9, 8, *(0,) * 158),
    weekday=(3.75, 0, 0, 0, 0, 0, 0),
    busy_hours=(9,),
    peak_hours=(9,),
    quiet_hours=tuple(range(10, 168)),
    popular_ranges=(PopularRange("last_7d", 20, 0.6667), PopularRange("today", 10, 0.3333)),
    evidence="",
)


def _save(engine: Engine, *profiles: AccessProfile, at: datetime = AT) -> int:
    return replace_profiles(engine, (DescribedProfile(item, "busy", "peak", "quiet") for item in profiles), at)


def test_a_profile_comes_back_as_168_rows(engine: Engine) -> None:
    """Every hour has a row, also those without an open; weekdays are ISO and the flags are the profile's."""
    assert _save(engine, PROFILE, replace(PROFILE, account_id="act_2", time_zones={"UTC": 20, "Asia/Tokyo": 10})) == 2
    rows = access_patterns.list_hours(engine, "act_1")
    assert [(row.weekday, row.hour) for row in rows] == [(day, hour) for day in range(1, 8) for hour in range(24)]
    [peak] = [row for row in rows if row.is_peak]
    assert (peak.weekday_name, peak.hour, peak.opens, peak.opens_per_hour, peak.active_weeks) == (
        "Monday",
        9,
        30,
        3.75,
        8,
    )
    assert (peak.is_busy, peak.is_quiet, peak.time_zone, peak.observed_weeks) == (True, False, "Europe/Berlin", 8.0)
    assert sum(row.is_quiet for row in rows) == 158
    assert {row.time_zone for row in access_patterns.list_hours(engine, "act_2")} == {"several"}
    [first, second] = access_patterns.list_ranges(engine, "act_1")
    assert (first.date_range, first.position, second.date_range, second.position) == ("last_7d", 1, "today", 2)
    assert [row.account_id for row in access_patterns.list_summaries(engine)] == ["act_1", "act_2"]


def test_a_second_save_replaces_the_first(engine: Engine) -> None:
    """Nothing of the earlier profile stays: hours are updated, and ranges nobody opens any more vanish."""
    _save(engine, PROFILE)
    later = replace(PROFILE, first_opens=1, quiet_hours=(), popular_ranges=(PopularRange("today", 1, 1.0),))
    _save(engine, later, at=AT + timedelta(days=1))
    assert len(access_patterns.list_hours(engine)) == 168
    assert not any(row.is_quiet for row in access_patterns.list_hours(engine))
    assert [row.date_range for row in access_patterns.list_ranges(engine)] == ["today"]
    assert {row.computed_at for row in access_patterns.list_hours(engine)} == {AT + timedelta(days=1)}


def test_an_account_changes_at_once(engine: Engine) -> None:
    """When a row cannot be stored, the account keeps all of its earlier rows."""
    _save(engine, PROFILE)
    ranges = (PopularRange("today", 1, 1.0), PopularRange("last_7d", object(), 0.0))  # type: ignore[arg-type]
    with pytest.raises(StatementError):
        _save(engine, replace(PROFILE, first_opens=1, quiet_hours=(), popular_ranges=ranges))
    assert sum(row.is_quiet for row in access_patterns.list_hours(engine)) == 158
    assert [row.opens for row in access_patterns.list_ranges(engine)] == [20, 10]
    assert access_patterns.list_summaries(engine)[0].first_opens == 30


def test_accounts_that_are_gone_vanish(engine: Engine) -> None:
    """Rows of accounts that are not named are deleted from all tables, many at a time."""
    _save(engine, *(replace(PROFILE, account_id=f"act_{n}") for n in range(60)))
    assert access_patterns.delete_other_profiles(engine, {"act_7"}) == 59
    assert {row.account_id for row in access_patterns.list_hours(engine)} == {"act_7"}
    assert {row.account_id for row in access_patterns.list_ranges(engine)} == {"act_7"}
    with read_transaction(engine) as connection:
        assert access_patterns.find_summary(connection) is None


def test_a_bi_query_reads_the_peaks(engine: Engine) -> None:
    """Peaks by weekday are one plain query, which needs no function of one database."""
    _save(engine, PROFILE)
    query = select(access_pattern.c.weekday_name, func.count()).where(access_pattern.c.is_peak)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.group_by(access_pattern.c.weekday_name)).all()
    assert [tuple(row) for row in rows] == [("Monday", 1)]
