"""Rows of strategies."""

from sqlalchemy import Engine

from adwarm.planning.strategies import DEFAULT_STRATEGIES, Strategy
from adwarm.store import read_transaction, write_transaction
from adwarm.store.strategies import list_strategies, save_strategy, seed_strategies


def test_rows_come_back_as_they_were_put(engine: Engine) -> None:
    """Every field survives, and the list is sorted by name."""
    strategies = [Strategy("b", ("today",), accounts=("act_1",)), Strategy("a", ("yesterday",), enabled=False)]
    with write_transaction(engine) as connection:
        for strategy in strategies:
            save_strategy(connection, strategy.to_row())
    with read_transaction(engine) as connection:
        assert [Strategy.from_row(row) for row in list_strategies(connection)] == strategies[::-1]
        assert [row["name"] for row in list_strategies(connection, enabled_only=True)] == ["b"]


def test_a_default_never_overwrites_a_users_row(engine: Engine) -> None:
    """Seeding twice, and after a change by the user, leaves the user's row alone."""
    rows = [strategy.to_row() for strategy in DEFAULT_STRATEGIES]
    with write_transaction(engine) as connection:
        seed_strategies(connection, rows)
        save_strategy(connection, {**rows[0], "enabled": False, "batch_size": 9})
        seed_strategies(connection, rows)
    with read_transaction(engine) as connection:
        (row,) = list_strategies(connection)
    assert (row["enabled"], row["batch_size"]) == (False, 9)
