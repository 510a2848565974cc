"""What the planner reads from the store about keys: the requests that a fetch would take."""

import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.fetch_plan import RequestCost
from adwarm.model import Account, Priority, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.store_view import NEVER, StoreView, useful_until
from adwarm.prefetch import KeyRequest
from adwarm.sources.protocol import Capabilities, FetchUnit, Increment, ResultPage
from adwarm.store import Context
from tests.support.user_log import UserLog
from tests.unit.conftest import NOW, PrefetchHarness, one_ad_page
from tests.unit.testing.memory_source import MemorySource, Upstream

KEYS = [ReportKey(account, name) for account in ("act_1", "act_2") for name in ("today", "yesterday", "last_7d")]


def _get_costs(harness: PrefetchHarness, keys: list[ReportKey], after: timedelta = timedelta(0)) -> list[RequestCost]:
    return StoreView(harness.prefetch.context, NOW).get_request_costs(keys, [NOW + after] * len(keys))


def test_with_nothing_stored_everything_is_needed(harness: PrefetchHarness) -> None:
    """A single day takes its days; more days take a summary too."""
    assert (
        _get_costs(harness, KEYS) == [RequestCost(True, False), RequestCost(True, False), RequestCost(True, True)] * 2
    )
    assert _get_costs(harness, []) == []


def test_stored_days_are_not_needed(harness: PrefetchHarness) -> None:
    """After a fetch of a week its days are stored until their freshness ends; another account's are not."""
    harness.prefetch.run([KeyRequest(ReportKey("act_1", "last_7d"))], Priority.LOW)
    assert [cost.days for cost in _get_costs(harness, KEYS)] == [True, False, False, True, True, True]
    assert _get_costs(harness, KEYS[1:3], timedelta(hours=23))[0].days


def test_the_cost_is_what_a_fetch_sends(harness: PrefetchHarness) -> None:
    """For keys in turn, each fetch sends exactly the requests that were predicted just before it."""
    for name in ("yesterday", "last_7d", "today", "2026-11-20..2026-11-23"):
        key = ReportKey("act_1", name)
        (cost,) = _get_costs(harness, [key])
        before = len(harness.source.submitted)
        harness.prefetch.run([KeyRequest(key)], Priority.LOW)
        sent = harness.source.submitted[before:]
        days = any(unit.increment is Increment.DAY or len(window) == 1 for unit in sent for window in unit.windows)
        summary = any(unit.increment is Increment.RANGE and len(window) > 1 for unit in sent for window in unit.windows)
        assert (cost.days, cost.summary) == (days, summary)
        assert date(2026, 11, 24) < NOW.date()


@pytest.fixture
def dashboards(harness: PrefetchHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The context of a user's source with a row on each page, no days to close, and a cache that readers fill."""

    class Source(MemorySource):
        capabilities = Capabilities(max_page_rows=1, closes_days=False, readers_fill=True)

    made: Any = SimpleNamespace(make=lambda _settings, _connection, _clock: Source(Upstream([])))
    monkeypatch.setitem(sys.modules, "my_dashboards", made)
    source = harness.settings.source.model_copy(update={"kind": "my_dashboards:make"})
    log = harness.settings.access_log.model_copy(update={"url": str(tmp_path / "log")})
    settings = harness.settings.model_copy(update={"source": source, "access_log": log})
    return replace(harness.prefetch.context, settings=settings)


def test_a_request_takes_a_call_for_each_page(harness: PrefetchHarness, dashboards: Context) -> None:
    """A day has as many pages as the day stored last has rows, where a page is one row; otherwise one."""

    def three_ads(unit: FetchUnit) -> ResultPage:
        [row] = one_ad_page(unit).rows
        return ResultPage([{**row, "ad_id": str(ad)} for ad in range(3)])

    harness.source.script["act_1"] = three_ads
    harness.prefetch.run([KeyRequest(KEYS[1])], Priority.LOW)
    [cost] = StoreView(dashboards, NOW).get_request_costs(KEYS[:1], [NOW])
    assert cost.calls == {("days", 0), ("days", 1), ("days", 2)}
    assert _get_costs(harness, KEYS[:1])[0].pages == 1


def test_what_readers_fill_is_fresh(harness: PrefetchHarness, dashboards: Context, tmp_path: Path) -> None:
    """The first open after an entry's end makes it fresh for its lifetime; one before it, or of others, does not."""
    harness.prefetch.run([KeyRequest(KEYS[0])], Priority.LOW)
    log, hour = UserLog(tmp_path / "log" / "a.jsonl"), timedelta(hours=1)
    for after, key in ((1, KEYS[0]), (4, KEYS[0]), (5, KEYS[0]), (6, KEYS[3])):
        log.append(NOW + after * hour, key)
    ingest(dashboards, NOW + 7 * hour)
    for after, end in ((2, 3), (8, 7)):
        at = NOW + after * hour
        assert StoreView(dashboards, at).get_fresh_until(KEYS[:1], [at]) == [NOW + end * hour]
    assert StoreView(harness.prefetch.context, at).get_fresh_until(KEYS[:1], [at]) == [NOW + 3 * hour]


def test_days_that_a_source_does_not_close(harness: PrefetchHarness, dashboards: Context) -> None:
    """Accounts of a source without days to close are left out; those of the platform are not."""
    harness.prefetch.run([KeyRequest(KEYS[0])], Priority.LOW)
    assert StoreView(dashboards, NOW).list_closing() == []
    assert [account.id for account in StoreView(harness.prefetch.context, NOW).list_closing()] == ["act_1"]


BERLIN = Account("act_1", "Europe/Berlin")
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 4, 23, tzinfo=UTC)


def test_stale_or_moved_whichever_is_first(subtests: pytest.Subtests) -> None:
    """The entry's freshness ends, or the account's midnight changes the days of the range."""
    for date_range, fetched, until in [
        ("today", NOON, NOON + timedelta(hours=3)),
        ("yesterday", NOON, NOON + timedelta(hours=6)),
        ("today", MIDNIGHT - timedelta(minutes=10), MIDNIGHT),
        ("last_7d", MIDNIGHT - timedelta(minutes=10), MIDNIGHT),
        ("last_7d", MIDNIGHT, MIDNIGHT + timedelta(hours=6)),
        ("last_week", NOON, NOON + timedelta(hours=24)),
        ("2026-03-01..2026-03-03", MIDNIGHT - timedelta(hours=1), MIDNIGHT),
        ("2026-03-01..2026-03-02", MIDNIGHT - timedelta(hours=1), MIDNIGHT + timedelta(hours=23)),
        ("2025-01-01..2025-01-31", NOON, NEVER),
        ("last_year", NOON, NEVER),
    ]:
        with subtests.test(date_range=date_range):
            assert useful_until(ReportKey("act_1", date_range), BERLIN, fetched) == until


def test_a_month_ends_in_the_accounts_zone() -> None:
    """`last_month` changes at the first midnight of the month in Berlin, not in Greenwich."""
    fetched = datetime(2026, 5, 30, 12, tzinfo=UTC)
    assert useful_until(ReportKey("act_1", "last_month"), BERLIN, fetched) == datetime(2026, 5, 31, 22, tzinfo=UTC)
