"""Rows of standing orders. A user's row is never overwritten by a default."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from adwarm.store.database import insert_new, upsert
from adwarm.store.tables import strategy


def list_strategies(connection: Connection, *, enabled_only: bool = False) -> list[dict[str, Any]]:
    """Return the rows, by name."""
    query = select(strategy).order_by(strategy.c.name)
    if enabled_only:
        query = query.where(strategy.c.enabled)
    return [dict(row) for row in connection.execute(query).mappings()]


def save_strategy(connection: Connection, row: dict[str, Any]) -> None:
    """Insert the row, or replace the one of that name."""
    upsert(connection, strategy, [row])


def seed_strategies(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Insert the rows whose name is not there yet."""
    insert_new(connection, strategy, list(rows))
