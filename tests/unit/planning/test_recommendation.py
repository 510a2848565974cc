"""Recommendations as values, and their batches."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.errors import Refused
from adwarm.model import Account, Mode, ReportKey, Strategy
from adwarm.planning.decide import decide
from adwarm.planning.further_warms import get_close_time
from adwarm.planning.recommendation import Recommendation, batch_by_account, require_warming, resolve_mode
from adwarm.planning.rule_sentences import leave_out
from adwarm.planning.strategies import decide_strategies
from adwarm.planning.strategy_schedule import StrategySelection, select_due
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, warms, write_transaction
from adwarm.store.strategies import save_strategy
from adwarm.store.switches import Switch, SwitchState, set_switch
from tests.unit.conftest import NOW

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


def _items(accounts: list[int]) -> list[Recommendation]:
    return [
        Recommendation(ReportKey(f"act_{account}", f"last_{n}d"), NINE, 1.0, NINE) for n, account in enumerate(accounts)
    ]


def test_a_rejection_keeps_the_explanation() -> None:
    """The reason against is added to the reason for; the original is unchanged."""
    item = Recommendation(ReportKey("act_1", "today"), NINE, 0.5, NINE, explanation={"why": "often"})
    down = leave_out(item, "stopped", why="no calls")
    assert (down.status, down.explanation) == (
        "cut",
        {"why": "often", "rule": "stopped", "cut": "not warmed: no calls"},
    )
    assert (item.status, item.explanation) == ("planned", {"why": "often"})


def test_order_is_benefit_then_time_then_key() -> None:
    """The best benefit per call first, then the earliest open, then the key."""
    key, other = ReportKey("act_1", "today"), ReportKey("act_2", "today")
    best = Recommendation(other, NINE + timedelta(hours=1), 0.9, NINE, benefit=0.9)
    soon = Recommendation(other, NINE, 0.5, NINE, benefit=0.5)
    first = Recommendation(key, NINE, 0.5, NINE, benefit=0.5)
    assert sorted([soon, first, best], key=lambda item: item.sort_key) == [best, first, soon]


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 50), st.integers(1, 16))
def test_batches_keep_accounts_together(accounts: list[int], size: int, limit: int) -> None:
    """No item is lost or duplicated, no account is in two batches, and there are at most `limit` of similar size."""
    items = _items(accounts)
    batches = batch_by_account(items, size, limit)
    assert Counter(item.key for batch in batches for item in batch) == Counter(item.key for item in items)
    accounts_of = [{item.key.account_id for item in batch} for batch in batches]
    assert sum(map(len, accounts_of)) == len(set(accounts))
    assert len(batches) <= limit
    assert all(batches)
    if batches:
        largest = max(Counter(accounts).values())
        assert max(map(len, batches)) <= len(items) / len(batches) + largest
    order = {id(item): index for index, item in enumerate(items)}
    assert all([order[id(item)] for item in batch] == sorted(order[id(item)] for item in batch) for batch in batches)


def _turn(engine: Engine, name: Switch, *, is_on: bool) -> None:
    set_switch(engine, SwitchState(name, is_on, NOW, "ops", "a test"))


def test_the_mode_of_a_run(engine: Engine, subtests: pytest.Subtests) -> None:
    """Live only when the parameters, the kind of run and the switch all allow it."""
    for requested, is_backfill, shadow, mode in [
        (Mode.LIVE, False, False, Mode.LIVE),
        (Mode.LIVE, False, True, Mode.SHADOW),
        (Mode.LIVE, True, False, Mode.SHADOW),
        (Mode.SHADOW, False, False, Mode.SHADOW),
    ]:
        with subtests.test(requested=requested):
            _turn(engine, Switch.SHADOW, is_on=shadow)
            assert resolve_mode(engine, requested, is_backfill=is_backfill) is mode


def test_a_plan_is_cut_while_warming_is_off(engine: Engine, objects: ObjectStore) -> None:
    """Every warm of a live plan says why it is not fetched; a shadow plan is saved as ever; later runs plan again."""
    context = Context(engine, objects, Settings())
    accounts.save(engine, [Account("act_1", "UTC", "UTC", "EUR")], NOW)
    at = get_close_time(Account("act_1"), NOW.date())
    _turn(engine, Switch.WARMING, is_on=False)
    summary = decide(context, at, "dag/1", Mode.LIVE)
    [row] = warms.list_by_run(engine, "dag/1")
    assert (summary.planned, summary.closing, summary.cut, summary.stopped_warms, summary.batches) == (0, 0, 0, 1, 0)
    assert "by ops: a test" in str(summary)
    assert (row.status, row.explanation["cut"]) == (
        "cut",
        "not warmed: warming is switched off since 2026-11-25 12:00 UTC by ops: a test",
    )
    assert decide(context, at, "dag/2", Mode.SHADOW).closing == 1
    _turn(engine, Switch.WARMING, is_on=True)
    assert decide(context, at, "dag/3", Mode.LIVE).batches == 1


def test_strategies_wait_while_warming_is_off(engine: Engine, objects: ObjectStore) -> None:
    """Their keys are cut, no task is carried out, and they are planned again by the first run after that."""
    context = Context(engine, objects, Settings())
    accounts.save(engine, [Account("act_1", "UTC", "UTC", "EUR")], NOW)
    strategy = Strategy("mornings", ("yesterday",), accounts=("act_1",))
    with write_transaction(engine) as connection:
        save_strategy(connection, strategy, NOW)
    selection = select_due(engine, "dag/1", NOW)
    _turn(engine, Switch.WARMING, is_on=False)
    stopped = decide_strategies(context, selection, NOW, "dag/1")
    assert (stopped.tasks, stopped.total("planned")) == ([], 0)
    assert {row.status for row in warms.list_by_run(engine, "dag/1")} == {"cut"}

    _turn(engine, Switch.WARMING, is_on=True)
    later = NOW + timedelta(minutes=15)
    again = select_due(engine, "dag/2", later)
    assert "mornings" in again.rechecks
    assert decide_strategies(context, again, later, "dag/2").total("planned") >= 1


def test_a_dry_run_of_a_strategy_is_planned_while_warming_is_off(engine: Engine, objects: ObjectStore) -> None:
    """It makes no call anyway."""
    context = Context(engine, objects, Settings())
    _turn(engine, Switch.WARMING, is_on=False)
    selection = StrategySelection([Strategy("mornings", ("yesterday",), accounts=("act_1",))])
    assert decide_strategies(context, selection, NOW, "dag/1", dry_run=True).total("planned") == 1


def test_a_run_that_has_to_complete_is_refused(engine: Engine) -> None:
    """With the reason and what to do, and a time to try again."""
    require_warming(engine)
    _turn(engine, Switch.WARMING, is_on=False)
    with pytest.raises(Refused, match=r"by ops: a test; `adwarm gate switch warming on`"):
        require_warming(engine)
