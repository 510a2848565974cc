"""The planner's question is answered by the fetch planner: what it says is what a fetch would send."""

from datetime import date, timedelta

from adwarm.fetch_plan.request_cost import Need, StoredDaysPricer, nothing_is_there
from adwarm.model import Account, Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.sources.protocol import Increment
from tests.unit.conftest import NOW, PrefetchHarness

KEYS = [ReportKey(account, name) for account in ("act_1", "act_2") for name in ("today", "yesterday", "last_7d")]
HOUR = timedelta(hours=1)


def _ask(bench: PrefetchHarness, keys: list[ReportKey], after: timedelta = timedelta(0)) -> list[Need]:
    needs = StoredDaysPricer(bench.engine, bench.settings)
    return needs(keys, [Account(key.account_id) for key in keys], [NOW + after] * len(keys))


def test_with_nothing_stored_everything_is_needed(bench: PrefetchHarness) -> None:
    """A single day takes its days; more days take a summary too. The planner's own default says the same."""
    found = _ask(bench, KEYS)
    assert found == [Need(True, False), Need(True, False), Need(True, True)] * 2
    assert found == nothing_is_there(KEYS, [Account(key.account_id) for key in KEYS], [NOW] * len(KEYS))
    assert _ask(bench, []) == []


def test_days_that_are_there_are_not_needed(bench: PrefetchHarness) -> None:
    """After a fetch of a week its days are there until their freshness ends; another account's are not."""
    bench.prefetch.run([KeyRequest(ReportKey("act_1", "last_7d"))], Priority.LOW)
    assert [need.days for need in _ask(bench, KEYS)] == [True, False, False, True, True, True]
    assert _ask(bench, KEYS[1:3], timedelta(hours=23))[0].days


def test_what_it_says_is_what_is_sent(bench: PrefetchHarness) -> None:
    """For keys in turn, the requests of each fetch are those that were foretold just before it."""
    for name in ("yesterday", "last_7d", "today", "2026-11-20..2026-11-23"):
        key = ReportKey("act_1", name)
        (need,) = _ask(bench, [key])
        asked = len(bench.source.submitted)
        bench.prefetch.run([KeyRequest(key)], Priority.LOW)
        sent = bench.source.submitted[asked:]
        days = any(unit.increment is Increment.DAY or len(window) == 1 for unit in sent for window in unit.windows)
        summary = any(unit.increment is Increment.RANGE and len(window) > 1 for unit in sent for window in unit.windows)
        assert (need.days, need.summary) == (days, summary)
        assert date(2026, 11, 24) < NOW.date()
