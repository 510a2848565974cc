"""What strategies are good for: coverage, the next run, and when nobody uses one."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from adwarm.model import Account, PlannedWarm, Priority, ReportKey, Strategy, WarmReason, WarmStatus
from adwarm.planning import strategy_use
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES, record_rechecks
from adwarm.planning.strategy_use import MIN_WASTED, StrategyReport, check_unused, report_strategies
from adwarm.prefetch import KeyRequest
from adwarm.store import accounts, aggregates, warms, write_transaction
from adwarm.store.aggregates import HourAggregate
from adwarm.store.strategies import claim_slot, save_strategy
from adwarm.store.warms import table as warm
from tests.unit.conftest import NOW, PrefetchHarness

DAY = timedelta(days=1)
LONG_AGO = NOW - 90 * DAY


@pytest.fixture(autouse=True)
def strategies(harness: PrefetchHarness) -> None:
    """Two strategies that were created long ago; the second may retire itself. The log was read until now."""
    accounts.save(harness.engine, [Account("act_1"), Account("act_2")], NOW)
    with write_transaction(harness.engine) as connection:
        for name, retire in (("keeper", False), ("leaver", True)):
            save_strategy(connection, Strategy(name, ("yesterday",), retire_unused=retire), LONG_AGO)
        hour = NOW - timedelta(hours=1)
        aggregates.replace_hours(connection, hour, NOW, [HourAggregate(hour, "h", 5, 1)], NOW)
        aggregates.set_watermark(connection, NOW, NOW)


def _warms(harness: PrefetchHarness, name: str, days: Any, used: bool = False) -> None:
    plan = [
        PlannedWarm(
            key=ReportKey("act_1", "yesterday"),
            reason=WarmReason.STRATEGY,
            status=WarmStatus.FETCHED,
            decided_at=NOW - day * DAY,
            strategy=name,
        )
        for day in days
    ]
    run_id = f"d/{name}/{used}"
    warms.replace_plan(harness.engine, run_id, plan)
    with write_transaction(harness.engine) as connection:
        values = {"used": used, "fetched_at": NOW - DAY, "requests": 2}
        connection.execute(warm.update().where(warm.c.run_id == run_id).values(**values))


def _report(harness: PrefetchHarness, name: str, at: datetime = NOW) -> StrategyReport:
    return next(item for item in report_strategies(harness.prefetch.context, at) if item.stored.name == name)


def test_coverage_counts_fresh_keys(harness: PrefetchHarness) -> None:
    """Fresh keys of all keys, the age of the oldest, and the next run: now while it is due, then its next slot."""
    harness.prefetch.run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.LOW)
    at = NOW + timedelta(hours=1)
    report = _report(harness, "keeper", at)
    assert report.coverage is not None
    assert (report.coverage.keys, report.coverage.fresh, report.coverage.oldest_at) == (2, 1, NOW)
    assert (report.status, report.note, report.next_run) == ("enabled", None, at)
    with write_transaction(harness.engine) as connection:
        claim_slot(connection, "keeper", NOW, "d/1")
    assert _report(harness, "keeper", at).next_run == NOW + timedelta(hours=6)
    for minutes, expected in ((20, 20), (5, 10), (-5, 10)):
        record_rechecks(harness.engine, "d/1", {"keeper": NOW + timedelta(minutes=minutes)})
        later = NOW + timedelta(minutes=10)
        assert _report(harness, "keeper", later).next_run == NOW + timedelta(minutes=expected)
    with write_transaction(harness.engine) as connection:
        save_strategy(connection, Strategy("keeper", ("yesterday",), enabled=False), NOW)
    assert (_report(harness, "keeper").next_run, _report(harness, "keeper").status) == (None, "disabled")


def test_an_unused_strategy_says_so_and_retires_if_it_may(harness: PrefetchHarness) -> None:
    """Both say so; one is disabled with the reason; the check runs once a day; enabling starts the time anew."""
    for name in ("keeper", "leaver"):
        _warms(harness, name, [*range(1, 29), 31])
    unused = _report(harness, "keeper").unused
    assert unused is not None
    assert "28 warms (56 upstream calls) expired unopened" in unused
    lines = check_unused(harness.prefetch.context, NOW)
    assert ("retire_unused = true" in lines["keeper"], "disabled now" in lines["leaver"]) == (True, True)
    report = _report(harness, "leaver")
    assert (report.status, report.stored.state.retired_at, report.note) == ("retired", NOW, unused)
    assert check_unused(harness.prefetch.context, NOW + timedelta(hours=23)) == {}
    assert list(check_unused(harness.prefetch.context, NOW + DAY)) == ["keeper"]
    with write_transaction(harness.engine) as connection:
        save_strategy(connection, Strategy("leaver", ("yesterday",), retire_unused=True), NOW)
    assert (_report(harness, "leaver").status, _report(harness, "leaver").unused) == ("enabled", None)


def test_the_default_says_what_it_costs_and_retires_itself(harness: PrefetchHarness) -> None:
    """What runs without anybody's asking says so with its calls; with nothing opened for 30 days it is disabled."""
    name = DEFAULT_STRATEGIES[0].name
    _warms(harness, name, range(1, 4))
    with write_transaction(harness.engine) as connection:
        aggregates.replace_hours(connection, LONG_AGO, NOW, [], NOW)
    report = _report(harness, name, NOW)
    assert report.about == (
        "it runs, and warms only what somebody opened in the last 30 days, with 6 calls in that time; "
        "it retires itself once nobody uses it"
    )
    assert (_report(harness, "keeper").about, check_unused(harness.prefetch.context, NOW)) == (None, {})
    later = NOW + 31 * DAY
    with write_transaction(harness.engine) as connection:
        aggregates.set_watermark(connection, later, later)
    assert list(check_unused(harness.prefetch.context, later)) == [name]
    retired = _report(harness, name, later)
    assert (retired.status, retired.about) == ("retired", None)
    assert retired.note == "nobody opened any of its reports in the last 30 days"


@pytest.mark.parametrize("reason", ["one was used", "too few", "too new", "log not read", "no open in the log"])
def test_too_little_is_no_proof(harness: PrefetchHarness, reason: str) -> None:
    """A use, few warms, a strategy that is new, or a log that says nothing keep a strategy."""
    days = [*range(1, 29), *([] if reason == "too new" else [31])]
    _warms(harness, "leaver", [*range(2, MIN_WASTED), 31] if reason == "too few" else days)
    if reason == "one was used":
        _warms(harness, "leaver", [3], used=True)
    with write_transaction(harness.engine) as connection:
        if reason in {"log not read", "no open in the log"}:
            aggregates.replace_hours(connection, LONG_AGO, NOW + DAY, [], NOW)
        if reason == "log not read":
            old = NOW - 4 * DAY
            aggregates.replace_hours(connection, old, NOW, [HourAggregate(old, "h", 5, 1)], NOW)
            aggregates.set_watermark(connection, old, NOW)
    assert check_unused(harness.prefetch.context, NOW) == {}
    assert _report(harness, "leaver").status == "enabled"


def test_a_strategy_with_an_open_warm_that_was_opened_stays(
    harness: PrefetchHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An opened warm counts as used only when it ends; until then its strategy is neither unused nor retired."""
    _warms(harness, "leaver", [*range(1, 29), 31])
    assert _report(harness, "leaver").unused is not None
    monkeypatch.setattr(strategy_use, "find_used_strategies", lambda context, at: {"leaver"})
    assert check_unused(harness.prefetch.context, NOW) == {}
    assert (_report(harness, "leaver").status, _report(harness, "leaver").unused) == ("enabled", None)
