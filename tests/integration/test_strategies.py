"""Small versions of the benchmark of strategies: fresh reports, small budgets, and two strategies in one day."""

from typing import Any

import pytest

from tests.benchmarks.strategies import Conduct, measure_day, measure_freshness, measure_rotation


def test_a_small_budget_reaches_every_report() -> None:
    """12 reports get their turn within 6 runs of 2 calls, and no run makes more calls than its budget."""
    figures = measure_rotation(accounts=4, budget=2, runs=6)

    assert (figures["reports"], figures["warmed at least once"]) == (12, 12)
    assert figures["most calls of a run"] <= 2


def _check_freshness(at_due_times: dict[str, Any], while_open: dict[str, Any]) -> None:
    assert at_due_times["fresh"] < 0.6
    # A report that expires waits up to 15 minutes for the next run: a 24th of the six hours until it expires again.
    assert while_open["worst"] >= 0.95
    assert while_open["calls"] <= 2.1 * at_due_times["calls"]


@pytest.mark.slow
def test_the_default_strategy_keeps_its_reports_fresh() -> None:
    """Fresh about half of the time when only due times count, nearly always when they stay open."""
    _check_freshness(measure_freshness(accounts=1, days=1, open_hours=0), measure_freshness(accounts=1, days=1))


@pytest.mark.slow
def test_the_default_strategy_keeps_its_reports_fresh_for_days() -> None:
    """The same over two days, where the accounts' midnight is between two due times."""
    zone = "Asia/Kolkata"
    _check_freshness(measure_freshness(zone, open_hours=0), measure_freshness(zone))


def _check_conduct(dashboards: Conduct, newsroom: Conduct) -> None:
    for conduct in (dashboards, newsroom):
        assert conduct.most_calls_in_an_hour <= conduct.strategy.max_calls_per_hour
        assert conduct.largest_batch <= conduct.strategy.batch_size
        assert conduct.most_tasks == conduct.strategy.max_parallel_batches
        assert conduct.delays == {conduct.strategy.delay_seconds}
    assert newsroom.hours <= set(range(9, 18))


@pytest.mark.slow
def test_two_strategies_keep_to_their_own_all_day() -> None:
    """Each has its own schedule, hourly budget, batch size, delay and number of parallel batches, all day.

    Each report is warmed once for each due time.
    """
    dashboards, newsroom = measure_day(accounts=6)

    _check_conduct(dashboards, newsroom)
    assert dashboards.hours <= {0, 6, 12, 18}
    assert dashboards.reports == 4 * 8
    assert newsroom.runs >= 4
