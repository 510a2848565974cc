"""What tokens of the read API have caused, by UTC day: new report keys, and fetches of reports that are stored."""

from datetime import date
from typing import Literal

from sqlalchemy import Connection, select, update

from adwarm.store.database import insert_new
from adwarm.store.serving_tables import token_day as table

Counter = Literal["new_keys", "refetches"]


def add(connection: Connection, name: tuple[str, date, Counter], count: int, limit: int) -> bool:
    """Add to the count of a token, unless that would exceed its limit.

    Args:
        connection: a write transaction; the count is rolled back with it.
        name: public id of the token, the UTC day, and what is counted.
        count: how many.
        limit: the most of the day.

    Returns:
        Whether they were counted.
    """
    token_id, day, counter = name
    insert_new(connection, table, [{"token_id": token_id, "day": day}])
    column = table.c[counter]
    same = (table.c.token_id == token_id, table.c.day == day, column + count <= limit)
    return bool(connection.execute(update(table).where(*same).values({column: column + count})).rowcount)


def get_count(connection: Connection, token_id: str, day: date, counter: Counter) -> int:
    """Return one count of a token on a UTC day."""
    query = select(table.c[counter]).where(table.c.token_id == token_id, table.c.day == day)
    return int(connection.execute(query).scalar_one_or_none() or 0)
