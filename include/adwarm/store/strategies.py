"""Stored strategies. Seeding the defaults never overwrites a user's row."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select

from adwarm.model import Strategy
from adwarm.store.database import insert_new, upsert
from adwarm.store.tables import strategy as table


def list_strategies(connection: Connection, *, enabled_only: bool = False) -> list[Strategy]:
    """Return the strategies, sorted by name.

    Raises:
        BadRequest: a row, which a user may have edited by hand, holds a value that is not valid.
    """
    query = select(table).order_by(table.c.name)
    if enabled_only:
        query = query.where(table.c.enabled)
    return [_strategy(row) for row in connection.execute(query)]


def save_strategy(connection: Connection, strategy: Strategy) -> None:
    """Insert the strategy, or replace the one of the same name."""
    upsert(connection, table, [_row(strategy)])


def seed_strategies(connection: Connection, strategies: Iterable[Strategy]) -> None:
    """Insert the strategies whose names are not stored yet."""
    insert_new(connection, table, [_row(strategy) for strategy in strategies])


def _strategy(row: Row[Any]) -> Strategy:
    values = dict(row._mapping)
    values["date_ranges"] = tuple(row.date_ranges or ())
    values["accounts"] = None if row.accounts is None else tuple(row.accounts)
    values["excluded_accounts"] = tuple(row.excluded_accounts or ())
    return Strategy(**values)


def _row(strategy: Strategy) -> dict[str, Any]:
    # JSON columns take lists.
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(strategy).items()}
