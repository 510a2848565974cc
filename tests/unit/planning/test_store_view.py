"""What the planner reads from the store about keys: the requests that a fetch would take."""

from datetime import date, timedelta

from adwarm.fetch_plan.request_cost import RequestCost
from adwarm.model import Priority, ReportKey
from adwarm.planning.store_view import StoreView
from adwarm.prefetch import KeyRequest
from adwarm.sources.protocol import Increment
from tests.unit.conftest import NOW, PrefetchHarness

KEYS = [ReportKey(account, name) for account in ("act_1", "act_2") for name in ("today", "yesterday", "last_7d")]


def _get_costs(bench: PrefetchHarness, keys: list[ReportKey], after: timedelta = timedelta(0)) -> list[RequestCost]:
    return StoreView(bench.prefetch.context, NOW).get_request_costs(keys, [NOW + after] * len(keys))


def test_with_nothing_stored_everything_is_needed(bench: PrefetchHarness) -> None:
    """A single day takes its days; more days take a summary too."""
    assert _get_costs(bench, KEYS) == [RequestCost(True, False), RequestCost(True, False), RequestCost(True, True)] * 2
    assert _get_costs(bench, []) == []


def test_stored_days_are_not_needed(bench: PrefetchHarness) -> None:
    """After a fetch of a week its days are stored until their freshness ends; another account's are not."""
    bench.prefetch.run([KeyRequest(ReportKey("act_1", "last_7d"))], Priority.LOW)
    assert [cost.days for cost in _get_costs(bench, KEYS)] == [True, False, False, True, True, True]
    assert _get_costs(bench, KEYS[1:3], timedelta(hours=23))[0].days


def test_the_cost_is_what_a_fetch_sends(bench: PrefetchHarness) -> None:
    """For keys in turn, each fetch sends exactly the requests that were predicted just before it."""
    for name in ("yesterday", "last_7d", "today", "2026-11-20..2026-11-23"):
        key = ReportKey("act_1", name)
        (cost,) = _get_costs(bench, [key])
        before = len(bench.source.submitted)
        bench.prefetch.run([KeyRequest(key)], Priority.LOW)
        sent = bench.source.submitted[before:]
        days = any(unit.increment is Increment.DAY or len(window) == 1 for unit in sent for window in unit.windows)
        summary = any(unit.increment is Increment.RANGE and len(window) > 1 for unit in sent for window in unit.windows)
        assert (cost.days, cost.summary) == (days, summary)
        assert date(2026, 11, 24) < NOW.date()
