"""Tests of the simulated week, shortened: its invariants hold, and its page is self-contained."""

import re

import pytest

from .week import HOUR, WeekScenario, WeekSimulation
from .week_page import week_page


@pytest.mark.slow
def test_the_first_hours_of_the_week_and_their_page() -> None:
    """An outage, slow minutes, a backfill and deaths break no invariant; the page needs no network."""
    plan = WeekScenario(
        days=0.1, deaths=2, slow=(600, 2_400), outage=(HOUR, 1.5 * HOUR), backfill=(1.6 * HOUR, 2 * HOUR)
    )
    week = WeekSimulation(plan)
    week.run()
    summary = week.summary()
    page = week_page(summary, week.watch.steps, plan)

    assert (summary["over_limit"], summary["early"]) == (0, 0)
    assert week.watch.calls > 300
    assert {step.breaker for step in week.watch.steps} >= {"open", "closed"}
    assert all(words in page for words in ("outage", "half as fast", "backfill", f"{week.watch.calls:,} calls"))
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", page) == []


def test_equal_seeds_give_equal_weeks() -> None:
    """A seed replays exactly."""
    first, second = WeekSimulation(WeekScenario(days=0.05)), WeekSimulation(WeekScenario(days=0.05))
    first.run()
    second.run()

    assert first.watch.digest == second.watch.digest
    assert first.watch.calls > 0
