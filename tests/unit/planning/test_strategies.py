"""Strategies: their keys, and the stored plan within their budgets."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, Priority, ReportKey, Strategy, WarmReason, WarmResult, WarmStatus
from adwarm.planning.strategies import (
    DEFAULT_STRATEGIES,
    StrategyPlanSummary,
    decide_strategies,
    expand_keys,
    list_enabled_strategies,
    recommend_strategy,
)
from adwarm.prefetch import KeyRequest
from adwarm.store import warms
from adwarm.store.database import write_transaction
from adwarm.store.strategies import save_strategy
from tests.unit.conftest import NOW, PrefetchHarness

KNOWN = [Account("act_2"), Account("act_1"), Account("act_3", status="denied")]


def test_the_default_covers_the_usual_dashboard() -> None:
    """An empty installation keeps three ranges of every active account warm, at low priority."""
    (strategy,) = DEFAULT_STRATEGIES
    assert (strategy.urgency, strategy.batch_size, strategy.delay_seconds, strategy.max_calls_per_hour) == (
        Priority.LOW,
        5,
        5.0,
        100,
    )
    assert expand_keys(strategy, KNOWN) == [
        ReportKey(account, name) for account in ("act_1", "act_2") for name in ("yesterday", "last_7d", "last_30d")
    ]


def test_includes_and_excludes() -> None:
    """Named accounts are accepted in any spelling, stored or not; excluded and denied ones are left out."""
    strategy = Strategy("s", ("today", "today"), accounts=("9", "act_1", "act_3"), excluded_accounts=("1",))
    assert expand_keys(strategy, KNOWN) == [ReportKey("act_9", "today")]
    assert expand_keys(Strategy("s", ("today",), excluded_accounts=("act_1",)), KNOWN) == [ReportKey("act_2", "today")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"accounts": ("act_x",)}, "account id 'act_x' is not valid"),
        ({"excluded_accounts": ("act_1; drop",)}, "is not valid"),
        ({"accounts": ("act_1",), "excluded_accounts": ("act_1",)}, "names no account"),
        ({"accounts": ()}, "names no account"),
        ({"date_ranges": ("next_week",)}, "next_week"),
        ({"date_ranges": ()}, "names no date range"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"delay_seconds": -1.0}, "delay_seconds"),
        ({"priority": "urgent"}, "critical, high, normal, low"),
        ({"report": "No Such"}, "report"),
    ],
)
def test_invalid_values_are_refused(values: dict[str, Any], message: str) -> None:
    """Each invalid value is refused with the reason."""
    with pytest.raises(BadRequest, match=message):
        expand_keys(Strategy(**{"name": "s", "date_ranges": ("today",), **values}), KNOWN)


def test_medium_is_another_word_for_normal() -> None:
    """Both names of the priority are accepted."""
    assert Strategy("s", ("today",), priority="Medium").urgency is Priority.NORMAL


def test_recommendations_of_a_strategy() -> None:
    """Each key is due at once, with the strategy's priority and name."""
    result = recommend_strategy(Strategy("mornings", ("today",), priority="high"), KNOWN, NOW)
    assert [(item.key.account_id, item.warm_at, item.priority, item.reason) for item in result] == [
        (account, NOW, Priority.HIGH, WarmReason.STRATEGY) for account in ("act_1", "act_2")
    ]
    assert "mornings" in result[0].explanation["why"]


RUN = "adwarm_strategy_warming/r1"
PAIR = Strategy("pair", ("yesterday", "last_7d"), accounts=("act_1", "act_2"))


def _decide(
    bench: PrefetchHarness, *strategies: Strategy, dry_run: bool = False, by_hand: bool = False
) -> StrategyPlanSummary:
    return decide_strategies(
        bench.prefetch.context, strategies, bench.clock.now(), RUN, dry_run=dry_run, is_manual=by_hand
    )


def test_an_empty_installation_gets_its_defaults_once(bench: PrefetchHarness) -> None:
    """Defaults are stored when the table is empty; a strategy that was disabled stays disabled."""
    assert list_enabled_strategies(bench.engine) == list(DEFAULT_STRATEGIES)
    with write_transaction(bench.engine) as connection:
        save_strategy(connection, replace(DEFAULT_STRATEGIES[0], enabled=False))
    assert list_enabled_strategies(bench.engine) == []


def test_fresh_keys_are_left_out(bench: PrefetchHarness) -> None:
    """A fresh key is counted and not planned; a rerun stores the same plan once."""
    bench.prefetch.run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.LOW)
    first, second = _decide(bench, PAIR), _decide(bench, PAIR)
    assert first == second
    assert (first.planned, first.fresh, first.cut, first.batches) == (3, 1, 0, 1)
    rows = warms.list_by_run(bench.engine, RUN)
    assert {(row.key.account_id, row.key.date_range, row.reason) for row in rows} == {
        ("act_1", "last_7d", "strategy"),
        ("act_2", "last_7d", "strategy"),
        ("act_2", "yesterday", "strategy"),
    }
    assert first.to_dict()["examples"]


def test_two_strategies_plan_a_key_once(bench: PrefetchHarness) -> None:
    """A key of both belongs to the first, with its priority."""
    urgent = Strategy("urgent", ("yesterday",), priority="high", accounts=("act_1",))
    assert _decide(bench, urgent, PAIR).planned == 4
    rows = warms.list_by_run(bench.engine, RUN)
    assert {(row.key.account_id, row.key.date_range): row.priority for row in rows}[
        "act_1", "yesterday"
    ] is Priority.HIGH


def test_the_budget_of_the_hour_cuts_with_a_reason(bench: PrefetchHarness) -> None:
    """What strategies used this hour counts, but not for a manual strategy."""
    tight = Strategy("tight", ("yesterday", "last_7d"), accounts=("act_1", "act_2"), max_calls_per_hour=3)
    assert (_decide(bench, tight).planned, _decide(bench, tight).cut) == (3, 1)
    rows = warms.list_by_run(bench.engine, RUN)
    assert [row.explanation["cut"][:17] for row in rows if row.status == "cut"] == ["cut by the budget"]
    fetched = WarmResult(warm_id=rows[0].id, status=WarmStatus.FETCHED, fetched_at=NOW, requests=3)
    warms.finish(bench.engine, RUN, [fetched], 3, [])
    assert _decide(bench, tight).planned == 0
    assert _decide(bench, tight, by_hand=True).planned == 3
    bench.clock.sleep(timedelta(hours=1).total_seconds())
    assert _decide(bench, tight).planned == 3


def test_a_dry_run_is_a_shadow_plan(bench: PrefetchHarness) -> None:
    """The plan is stored, and no batch carries it out."""
    summary = _decide(bench, PAIR, dry_run=True)
    assert (summary.planned, summary.batches) == (4, 0)
    assert {(row.status, row.mode) for row in warms.list_by_run(bench.engine, RUN)} == {("shadow", "shadow")}


def test_a_bad_account_or_range_stores_nothing(bench: PrefetchHarness) -> None:
    """The message names the invalid value."""
    with pytest.raises(BadRequest, match="nonsense"):
        _decide(bench, Strategy("bad", ("nonsense",), accounts=("act_1",)))
    with pytest.raises(BadRequest, match="account id"):
        _decide(bench, Strategy("bad", ("today",), accounts=("../x",)))
    assert warms.list_by_run(bench.engine, RUN) == []
