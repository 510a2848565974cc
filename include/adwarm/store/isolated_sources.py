"""Which sources are isolated. In the database, because every Airflow task is another process."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, delete, select

from adwarm.store.database import read_transaction, upsert, write_transaction
from adwarm.store.tables import isolation

_NAME_LENGTH = 200


class SqlIsolationStore:
    """Isolation states in the table `isolation`.

    Concurrent writers may lose a count, which is acceptable because the state is a rate.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def load(self, source: str) -> Mapping[str, Any] | None:
        """Return the saved state of the source, or None."""
        query = select(isolation.c.data).where(isolation.c.scope == source[:_NAME_LENGTH])
        with read_transaction(self._engine) as connection:
            state: Mapping[str, Any] | None = connection.execute(query).scalar_one_or_none()
        return state

    def save(self, source: str, state: str, changed_at: float, data: Mapping[str, Any]) -> None:
        """Save the source's state; `changed_at` in seconds since the epoch. A name too long for its column is cut."""
        row = {"scope": source[:_NAME_LENGTH], "state": state, "changed_at": changed_at, "data": dict(data)}
        with write_transaction(self._engine) as connection:
            upsert(connection, isolation, [row])


def list_closed(engine: Engine) -> list[tuple[str, Mapping[str, Any]]]:
    """Return scope and stored state of everything that is not isolated."""
    query = select(isolation.c.scope, isolation.c.data).where(isolation.c.state == "closed")
    with read_transaction(engine) as connection:
        return [(row.scope, row.data) for row in connection.execute(query)]


def delete_closed(engine: Engine, scopes: Sequence[str]) -> int:
    """Delete the rows of scopes that are still not isolated, and return how many."""
    with write_transaction(engine) as connection:
        return sum(
            connection.execute(
                delete(isolation).where(isolation.c.scope == scope, isolation.c.state == "closed")
            ).rowcount
            for scope in scopes
        )
