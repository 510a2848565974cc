"""How many new report keys a token of the read API has requested, by UTC day."""

from datetime import date

from sqlalchemy import Connection, select, update

from adwarm.store.database import insert_new
from adwarm.store.serving_tables import token_day as table


def add_new_key(connection: Connection, token_id: str, day: date, limit: int) -> bool:
    """Count one more new key of a token, unless that would exceed its limit.

    Args:
        connection: a write transaction; the count is rolled back with it.
        token_id: public id of the token.
        day: the UTC day.
        limit: the most new keys of the day.

    Returns:
        Whether it was counted.
    """
    insert_new(connection, table, [{"token_id": token_id, "day": day, "new_keys": 0}])
    same = (table.c.token_id == token_id, table.c.day == day, table.c.new_keys < limit)
    changed = connection.execute(update(table).where(*same).values(new_keys=table.c.new_keys + 1))
    return bool(changed.rowcount)


def get_new_keys(connection: Connection, token_id: str, day: date) -> int:
    """Return how many new keys a token has requested on a UTC day."""
    query = select(table.c.new_keys).where(table.c.token_id == token_id, table.c.day == day)
    return int(connection.execute(query).scalar_one_or_none() or 0)
