"""Stored strategies come back as values, and defaults never replace a user's."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine, update

from adwarm.foundation.errors import BadRequest
from adwarm.model import Strategy
from adwarm.planning.strategies import DEFAULT_STRATEGIES
from adwarm.store import read_transaction, write_transaction
from adwarm.store.strategies import list_strategies, save_strategy, seed_strategies
from adwarm.store.tables import strategy as table


def test_strategies_survive_the_table(engine: Engine) -> None:
    """Every field comes back, and the list is sorted by name."""
    strategies = [
        Strategy("b", ("today",), accounts=("act_1",), excluded_accounts=("act_2",)),
        Strategy("a", ("yesterday",), enabled=False),
    ]
    with write_transaction(engine) as connection:
        for strategy in strategies:
            save_strategy(connection, strategy)
    with read_transaction(engine) as connection:
        assert list_strategies(connection) == strategies[::-1]
        assert [strategy.name for strategy in list_strategies(connection, enabled_only=True)] == ["b"]


def test_a_default_never_overwrites_a_users_row(engine: Engine) -> None:
    """Seeding twice, and after a change by the user, leaves the user's row alone."""
    changed = replace(DEFAULT_STRATEGIES[0], enabled=False, batch_size=9)
    with write_transaction(engine) as connection:
        seed_strategies(connection, DEFAULT_STRATEGIES)
        save_strategy(connection, changed)
        seed_strategies(connection, DEFAULT_STRATEGIES)
    with read_transaction(engine) as connection:
        assert list_strategies(connection) == [changed]


def test_an_invalid_row_is_an_error(engine: Engine) -> None:
    """A row that somebody edited by hand fails with the name of the strategy."""
    with write_transaction(engine) as connection:
        seed_strategies(connection, DEFAULT_STRATEGIES)
        connection.execute(update(table).values(batch_size=0))
    with read_transaction(engine) as connection, pytest.raises(BadRequest, match=r"default_dashboards.*batch_size"):
        list_strategies(connection)
