"""Sums over a rolling hour."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.call_cost import HOUR, NOTHING, CallCost, RollingWindow, cost_of_cells, is_under

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
spending = st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 90)), max_size=40)


def spend(steps: list[tuple[int, int]]) -> tuple[RollingWindow, list[tuple[datetime, CallCost]], datetime]:
    """A window after some costs, those costs, and the moment of the last one."""
    window, log, now = RollingWindow(), [], NOW
    for gap, amount in steps:
        now += timedelta(seconds=gap)
        window.total(now)
        window.add(now, CallCost(1, amount, 2 * amount))
        log.append((now, CallCost(1, amount, 2 * amount)))
    return window, log, now


@given(spending, st.integers(0, 5_000))
def test_sums_are_those_of_the_last_hour(steps: list[tuple[int, int]], later: int) -> None:
    """The running sum equals the sum of the costs of the last hour."""
    window, log, now = spend(steps)
    now += timedelta(seconds=later)
    assert window.total(now) == sum((cost for at, cost in log if now - HOUR < at), NOTHING)


@given(spending)
def test_below_is_the_first_moment_under_the_limit(steps: list[tuple[int, int]]) -> None:
    """At the returned moment all sums are under their limits, and just before it one of them is not."""
    window, log, now = spend(steps)
    limits = CallCost(5, 300, 500)
    moment = window.below(now, limits)
    at = [sum((cost for t, cost in log if m - HOUR < t), NOTHING) for m in (moment, moment - timedelta(microseconds=1))]
    assert is_under(at[0], limits)
    assert moment == now or not is_under(at[1], limits)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_cells_never_cost_less(one: int, other: int) -> None:
    """Cost grows with rows and fields."""
    less, more = cost_of_cells(min(one, other)), cost_of_cells(max(one, other))
    assert less.cpu_ms <= more.cpu_ms
    assert less.wall_ms <= more.wall_ms
    assert less.calls == more.calls == 1
