"""The cost of a key is what the fetch planner would send for it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from adwarm.fetch_plan.planner import plan_fetch
from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.fetch_plan.request_cost import RequestCost, get_request_cost
from adwarm.model import Window
from adwarm.store.partitions import PartitionState

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))
DAY = Window(WEEK.until, WEEK.until)
SCHEDULE = RefetchSchedule("UTC")


def _states(window: Window, fetched_at: datetime = NOW) -> dict[date, PartitionState]:
    return {day: PartitionState(day, "h", 1, "c", fetched_at, True, False, 1, "v26.0") for day in window.days()}


def test_with_nothing_stored_everything_is_fetched() -> None:
    """A single day costs its days; more days cost a summary too. The planner says the same."""
    for window in (DAY, WEEK):
        plan = plan_fetch([window], {}, SCHEDULE, NOW)
        expected = RequestCost(bool(plan.spans), bool(plan.summary_windows))
        assert get_request_cost(window, {}, SCHEDULE, NOW) == expected == RequestCost(True, window == WEEK)


def test_stored_days_cost_nothing_until_they_are_due(subtests: pytest.Subtests) -> None:
    """Fresh days need no request; once yesterday's freshness has ended they need one. The summary always counts."""
    for age, days in [(timedelta(0), False), (timedelta(hours=23), True)]:
        with subtests.test(age=age, days=days):
            assert get_request_cost(WEEK, _states(WEEK), SCHEDULE, NOW + age) == RequestCost(days, True)


def test_a_missing_day_costs_a_request() -> None:
    """One day that is not stored is enough."""
    states = _states(WEEK)
    del states[WEEK.since]
    assert get_request_cost(WEEK, states, SCHEDULE, NOW) == RequestCost(True, True)
