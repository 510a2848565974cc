"""Tests of the simulated day of a large fleet, made small: its invariants, and the days it starts with."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.planning.further_warms import get_close_time

from .large_accounts import make_accounts
from .large_fleet import HOUR, START, LargeFleet, LargeFleetScenario


def _run(**values: object) -> LargeFleet:
    fleet = LargeFleet(LargeFleetScenario.sized_for(150, hours=3.0, outage=(HOUR, 1.4 * HOUR), deaths=6, **values))
    fleet.run()
    return fleet


def test_an_outage_and_deaths_break_no_invariant() -> None:
    """No call is over a limit, parked or early; what the outage and the deaths delayed is done at the end."""
    fleet = _run(opens=12.0)
    summary = fleet.summary()

    assert fleet.platform.early == sum(fleet.platform.refused.values()) == 0
    assert (summary["calls"], summary["retries"]) > (300, 20)
    assert summary["left"] == 0
    assert 0.5 < summary["hit ratio"] < 1.0
    assert sum(hour.opens for hour in fleet.hours) > 100


@pytest.mark.slow
def test_equal_seeds_give_equal_days() -> None:
    """A seed replays exactly, and another gives another day."""
    first, second, other = _run(), _run(), _run(seed=12)

    assert first.summary() == second.summary()
    assert first.summary()["digest"] != other.summary()["digest"]


def test_the_days_in_store_are_those_of_a_fleet_that_has_run_for_weeks() -> None:
    """At the start no stored day is overdue, and closing a day takes one summary and the days that are due.

    Days older than a week are due on the account's own weekday only, from its midnight to its close.
    """
    accounts = make_accounts(60, 3.0, START, seed=5)
    now = datetime.fromtimestamp(START, UTC)
    older = 0
    for item in accounts:
        due = [day for day, state in item.stored.items() if item.schedule.is_due(day, state.fetched_at, now)]
        today = item.schedule.today(now)
        is_weekly = today.weekday() == item.schedule.weekday
        assert is_weekly or all((today - day).days <= 8 for day in due), (item.account, due)
        closed = get_close_time(item.account, today)
        calls = item.plan_close(today, closed)
        days = {day for call in calls for day in call.days}
        assert today in days
        older += any((today - day).days > 7 for day in days)
        assert sum(len(call.summaries) for call in calls) == 1
        for call in calls:
            item.store(call, closed)
        assert item.plan_close(today, closed + timedelta(minutes=20)) == []
    assert 0 < older < len(accounts) / 2
