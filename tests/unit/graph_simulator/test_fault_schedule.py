"""Faults strike by rate, by count and by time, and equal calls meet equal faults."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.fault_kinds import FaultKind, Route, routes_of
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.fault_schedule import FaultSchedule

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
names = st.sampled_from(["act_1", "act_2", "act_3"])


def schedule(seed: int = 7, **rule: object) -> FaultSchedule:
    """A schedule of one fault."""
    return FaultSchedule(
        parse_fault_profile({"seed": seed, "fault": [{"kind": "transient_2", **rule}]}, "profile"), NOW
    )


def hits(result: FaultSchedule, count: int, account: str = "act_1", route: Route = Route.INSIGHTS) -> list[bool]:
    """Which of a number of calls are hit."""
    return [bool(result.fire(account, route, NOW).rules) for _ in range(count)]


@given(st.lists(names, max_size=40), st.integers(0, 5))
def test_accounts_draw_independently(others: list[str], seed: int) -> None:
    """Which calls of an account are hit by rate does not depend on the calls of other accounts."""
    mixed = schedule(seed, rate=0.4)
    seen = [(name, hits(mixed, 1, name)[0]) for name in others]
    own = [hit for name, hit in seen if name == "act_1"]
    assert own == hits(schedule(seed, rate=0.4), len(own))


def test_the_rate_is_kept() -> None:
    """Of many calls, the configured share is hit."""
    assert 0.03 < sum(hits(schedule(rate=0.05), 4_000)) / 4_000 < 0.07
    assert not any(hits(schedule(rate=0), 100))


def test_by_count() -> None:
    """Some calls pass first, then every n-th is hit, until the fault ends."""
    assert hits(schedule(after_calls=2, calls=4, every=2), 8) == [False, False, False, True, False, True, False, False]


@pytest.mark.parametrize(("age", "hit"), [(0, False), (59, False), (60, True), (89, True), (90, False)])
def test_by_time(age: int, hit: bool) -> None:
    """A fault starts and ends by the platform's clock."""
    result = schedule(after_seconds=60, for_seconds=30).fire("act_1", Route.POLL, NOW + timedelta(seconds=age))
    assert bool(result.rules) == hit


def test_setting_the_clock_back_does_not_delay_faults() -> None:
    """After the clock was set back, faults continue from there."""
    result = schedule()
    result.not_after(NOW - timedelta(days=9))
    assert result.fire("act_1", Route.POLL, NOW - timedelta(days=9)).rules


def test_accounts_and_routes() -> None:
    """Only the configured accounts and routes are hit, and only routes that suit the kind."""
    one = schedule(accounts=["act_1"], routes=["poll"])
    assert hits(one, 1, route=Route.POLL) == [True]
    assert hits(one, 1) == hits(one, 1, "act_2", Route.POLL) == [False]
    assert hits(schedule(kind="report_stuck"), 1) == [False]
    assert routes_of(FaultKind.REPORT_STUCK) == {Route.SUBMIT}
    assert Route.BATCH in routes_of(FaultKind.RESET)
