"""Stored strategies come back as values, and defaults never replace a user's."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update

from adwarm.model import Strategy, StrategyState
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES
from adwarm.store import read_transaction, write_transaction
from adwarm.store.strategies import (
    claim_recheck,
    claim_slot,
    find_strategy,
    list_strategies,
    record_check,
    record_problem,
    remove_strategy,
    request_recheck,
    save_strategy,
    seed_strategies,
    table,
)
from tests.unit.conftest import NOW

LATER = NOW + timedelta(hours=1)


def _stored(engine: Engine) -> dict[str, Any]:
    with read_transaction(engine) as connection:
        return {stored.name: stored for stored in list_strategies(connection)}


def _save(engine: Engine, *strategies: Strategy) -> None:
    with write_transaction(engine) as connection:
        for strategy in strategies:
            save_strategy(connection, strategy, NOW)


def test_strategies_survive_the_table(engine: Engine) -> None:
    """Every field comes back, and the list is sorted by name."""
    schedule: dict[str, Any] = {
        "cron": "0 7 * * mon-fri",
        "time_zone": "Europe/Berlin",
        "retire_unused": True,
        "open_hours": 2,
    }
    strategies = [
        Strategy("b", ("today",), accounts=("act_1",), excluded_accounts=("act_2",), **schedule),
        Strategy("a", ("yesterday",), enabled=False),
    ]
    _save(engine, *strategies)
    assert [(name, item.strategy, item.enabled) for name, item in _stored(engine).items()] == [
        ("a", strategies[1], False),
        ("b", strategies[0], True),
    ]


def test_a_default_never_overwrites_a_users_row(engine: Engine) -> None:
    """Seeding twice, and after a change by the user, leaves the user's row alone; a removed default stays removed."""
    changed = replace(DEFAULT_STRATEGIES[0], enabled=False, batch_size=9)
    with write_transaction(engine) as connection:
        seed_strategies(connection, DEFAULT_STRATEGIES, NOW)
        save_strategy(connection, changed, NOW)
        seed_strategies(connection, DEFAULT_STRATEGIES, NOW)
        assert [stored.strategy for stored in list_strategies(connection)] == [changed]
        assert remove_strategy(connection, changed.name, LATER)
        assert not remove_strategy(connection, changed.name, LATER)
        seed_strategies(connection, DEFAULT_STRATEGIES, LATER)
        assert list_strategies(connection) == []
        save_strategy(connection, changed, LATER)
        assert find_strategy(connection, changed.name) is not None


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"cron": "every day"}, "five fields"),
        ({"time_zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"date_ranges": "yesterday"}, "date_ranges is not a list of texts"),
        ({"accounts": [1]}, "accounts is not a list of texts"),
    ],
)
def test_an_invalid_row_says_why_and_hides_no_other(engine: Engine, values: dict[str, Any], problem: str) -> None:
    """A row that somebody edited by hand is listed with its problem; the others are listed as ever."""
    _save(engine, Strategy("bad", ("today",)), Strategy("good", ("today",)))
    with write_transaction(engine) as connection:
        connection.execute(update(table).where(table.c.name == "bad").values(**values))
    stored = _stored(engine)
    assert (stored["bad"].strategy, stored["good"].problem) == (None, None)
    assert problem in stored["bad"].problem


def test_a_slot_belongs_to_one_run(engine: Engine) -> None:
    """A second run cannot claim a slot or an earlier one; the same run can, for its retry; a later slot is free."""
    _save(engine, Strategy("s", ("today",)))
    with write_transaction(engine) as connection:
        claims = [
            claim_slot(connection, "s", slot, run)
            for slot, run in ((NOW, "r1"), (NOW, "r2"), (NOW - timedelta(hours=1), "r2"), (NOW, "r1"), (LATER, "r2"))
        ]
    assert claims == [True, False, False, True, True]
    assert _stored(engine)["s"].state.planned_slot == LATER


def test_a_recheck_belongs_to_one_run(engine: Engine) -> None:
    """Only the latest run may request one, the earliest request counts, and one run gets it, again for its retry."""
    _save(engine, Strategy("s", ("today",)))
    with write_transaction(engine) as connection:
        claim_slot(connection, "s", NOW, "r1")
        requests = [request_recheck(connection, "s", run, at) for run, at in (("r0", NOW), ("r1", LATER), ("r1", NOW))]
        assert requests == [False, True, True]
        assert not request_recheck(connection, "s", "r1", LATER)
        assert not claim_recheck(connection, "s", NOW - timedelta(minutes=1), "r2")
        assert [claim_recheck(connection, "s", NOW, run) for run in ("r2", "r3", "r2")] == [True, False, True]
        assert not request_recheck(connection, "s", "r1", LATER)
        assert request_recheck(connection, "s", "r2", LATER)
    state = _stored(engine)["s"].state
    assert (state.planned_run, state.recheck_run, state.recheck_at) == ("r1", "r2", LATER)
    with write_transaction(engine) as connection:
        assert claim_slot(connection, "s", LATER, "r4")
    assert _stored(engine)["s"].state == StrategyState(planned_slot=LATER, planned_run="r4", enabled_at=NOW)


def test_a_change_of_the_definition_keeps_the_state(engine: Engine) -> None:
    """The planned slot survives a change; a problem is cleared by it, and makes the strategy due at once."""
    _save(engine, Strategy("s", ("today",)))
    with write_transaction(engine) as connection:
        claim_slot(connection, "s", NOW, "r1")
        save_strategy(connection, Strategy("s", ("yesterday",)), LATER)
    assert _stored(engine)["s"].state == StrategyState(planned_slot=NOW, planned_run="r1", enabled_at=NOW)
    with write_transaction(engine) as connection:
        record_problem(connection, "s", "its report is not configured")
        assert find_strategy(connection, "s").problem == "its report is not configured"  # type: ignore[union-attr]
        save_strategy(connection, Strategy("s", ("today",)), LATER)
    assert _stored(engine)["s"].state == StrategyState(enabled_at=NOW)


def test_a_retired_strategy_can_be_enabled_again(engine: Engine) -> None:
    """Retiring disables it with the reason; enabling it starts its time anew."""
    _save(engine, Strategy("s", ("today",)))
    with write_transaction(engine) as connection:
        record_check(connection, "s", NOW, "nobody opened it")
    stored = _stored(engine)["s"]
    assert (stored.enabled, stored.state.retired_at, stored.state.retired_why) == (False, NOW, "nobody opened it")
    with write_transaction(engine) as connection:
        save_strategy(connection, Strategy("s", ("today",)), LATER)
    stored = _stored(engine)["s"]
    assert (stored.enabled, stored.state.retired_at, stored.state.enabled_at) == (True, None, LATER)
