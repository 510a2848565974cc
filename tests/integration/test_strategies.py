"""Small versions of the benchmark of strategies: a budget that reaches every report, and two that share a day."""

from tests.benchmarks.strategies import measure_day, measure_rotation


def test_a_small_budget_reaches_every_report() -> None:
    """24 reports get their turn within 6 runs of 4 calls, and no run makes more calls than its budget."""
    figures = measure_rotation(accounts=8, budget=4, runs=6)

    assert (figures["reports"], figures["warmed at least once"]) == (24, 24)
    assert figures["most calls of a run"] <= 4


def test_two_strategies_keep_to_their_own() -> None:
    """In one day each has its own schedule, hourly budget, batch size, delay and number of parallel batches."""
    dashboards, newsroom = measure_day(accounts=6)

    for conduct in (dashboards, newsroom):
        assert conduct.most_calls_in_an_hour <= conduct.strategy.max_calls_per_hour
        assert conduct.largest_batch <= conduct.strategy.batch_size
        assert conduct.most_lanes == conduct.strategy.max_parallel_batches
        assert conduct.delays == {conduct.strategy.delay_seconds}
    assert dashboards.hours == {6, 12, 18}
    assert newsroom.hours <= set(range(9, 18))
    assert (dashboards.runs, newsroom.runs >= 4) == (4, True)
    assert dashboards.reports >= 24  # 8 reports; one that is fresh still at a due time is left to the next one
