"""Access patterns in SQL: dense, replaced by account, without accounts that are gone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import StatementError

from adwarm.foundation.errors import StorageError
from adwarm.model import WEEKDAYS
from adwarm.store import access_patterns, read_transaction
from adwarm.store.access_patterns import PatternHour, ProfileSummary, access_pattern, replace_profiles
from adwarm.store.columns import to_row

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
SUMMARY = ProfileSummary(
    account_id="act_1",
    first_opens=30,
    keys=2,
    observed_from=AT - timedelta(weeks=8),
    observed_until=AT,
    observed_weeks=8.0,
    time_zones={"Europe/Berlin": 30},
    busy_hours="busy",
    peak_hours="peak",
    quiet_hours="quiet",
    evidence="",
    popular_ranges=[
        {"date_range": "last_7d", "opens": 20, "share": 0.6667},
        {"date_range": "today", "opens": 10, "share": 0.3333},
    ],
    computed_at=AT,
)


def _list_hours(account_id: str, at: datetime = AT, *, is_quiet: bool = True) -> list[dict[str, Any]]:
    return [
        to_row(
            PatternHour(
                account_id=account_id,
                weekday=day + 1,
                hour=hour,
                weekday_name=WEEKDAYS[day],
                opens=30 if (day, hour) == (0, 9) else 0,
                observed_hours=8.0,
                opens_per_hour=3.75 if (day, hour) == (0, 9) else 0.0,
                active_weeks=8 if (day, hour) == (0, 9) else 0,
                is_busy=(day, hour) == (0, 9),
                is_peak=(day, hour) == (0, 9),
                is_quiet=is_quiet and (day, hour) > (0, 9),
                time_zone="Europe/Berlin",
                observed_weeks=8.0,
                computed_at=at,
            )
        )
        for day in range(7)
        for hour in range(24)
    ]


def _save(engine: Engine, *ids: str) -> None:
    summaries = [replace(SUMMARY, account_id=name) for name in ids]
    replace_profiles(engine, summaries, [row for name in ids for row in _list_hours(name)])


def test_a_profile_comes_back_as_168_rows(engine: Engine) -> None:
    """Rows come back by weekday and hour, ranges by position, and summaries by account."""
    _save(engine, "act_1", "act_2")
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
    [first, second] = access_patterns.list_ranges(engine, "act_1")
    assert (first.date_range, first.position, second.date_range, second.position) == ("last_7d", 1, "today", 2)
    assert [row.account_id for row in access_patterns.list_summaries(engine)] == ["act_1", "act_2"]


def test_a_second_save_replaces_the_first(engine: Engine) -> None:
    """Nothing of the earlier profile stays: hours are updated, and ranges nobody opens any more vanish."""
    _save(engine, "act_1")
    at = AT + timedelta(days=1)
    ranges = [{"date_range": "today", "opens": 1, "share": 1.0}]
    later = replace(SUMMARY, first_opens=1, popular_ranges=ranges, computed_at=at)
    replace_profiles(engine, [later], _list_hours("act_1", at, is_quiet=False))
    assert len(access_patterns.list_hours(engine)) == 168
    assert not any(row.is_quiet for row in access_patterns.list_hours(engine))
    assert [row.date_range for row in access_patterns.list_ranges(engine)] == ["today"]
    assert {row.computed_at for row in access_patterns.list_hours(engine)} == {AT + timedelta(days=1)}


def test_an_account_changes_at_once(engine: Engine) -> None:
    """When a row cannot be stored, the account keeps all of its earlier rows."""
    _save(engine, "act_1")
    hours = _list_hours("act_1", is_quiet=False)
    hours[-1]["opens"] = object()
    with pytest.raises((StatementError, StorageError)):
        replace_profiles(engine, [replace(SUMMARY, first_opens=1, popular_ranges=[])], hours)
    assert sum(row.is_quiet for row in access_patterns.list_hours(engine)) == 158
    assert [row.opens for row in access_patterns.list_ranges(engine)] == [20, 10]
    assert access_patterns.list_summaries(engine)[0].first_opens == 30


def test_accounts_that_are_gone_vanish(engine: Engine) -> None:
    """Rows of accounts that are not named are deleted from all tables, many at a time."""
    _save(engine, *(f"act_{n}" for n in range(60)))
    assert access_patterns.delete_other_profiles(engine, {"act_7"}) == 59
    assert {row.account_id for row in access_patterns.list_hours(engine)} == {"act_7"}
    assert {row.account_id for row in access_patterns.list_ranges(engine)} == {"act_7"}
    with read_transaction(engine) as connection:
        assert access_patterns.find_summary(connection) is None


def test_a_bi_query_reads_the_peaks(engine: Engine) -> None:
    """Peaks by weekday are one plain query, which needs no function of one database."""
    _save(engine, "act_1")
    query = select(access_pattern.c.weekday_name, func.count()).where(access_pattern.c.is_peak)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.group_by(access_pattern.c.weekday_name)).all()
    assert [tuple(row) for row in rows] == [("Monday", 1)]
