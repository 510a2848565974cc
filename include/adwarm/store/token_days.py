"""How many new report keys a token of the read API has requested, by UTC day."""

from datetime import date

from sqlalchemy import Connection, delete

from adwarm.store.serving_tables import token_day as table


def delete_before(connection: Connection, day: date) -> int:
    """Delete the counts of the days before `day`, and return how many."""
    return connection.execute(delete(table).where(table.c.day < day)).rowcount
