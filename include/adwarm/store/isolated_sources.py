"""Which sources are isolated. In the database, because every Airflow task is another process."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, select

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
