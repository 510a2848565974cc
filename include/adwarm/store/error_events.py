"""The error history: one row per failed attempt, bounded in rows and age.

Counting a window is one indexed query, so that an alert threshold covers the failures of all workers.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, func, insert, select

from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import error_event

_PRUNE_EVERY = 100


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """One failed attempt. `message` contains no secret; `subject` is what was attempted, such as a report key."""

    at: datetime
    source: str
    kind: str
    message: str
    subject: str | None = None
    code: str | None = None
    connection: str | None = None
    account_id: str | None = None


class ErrorLog:
    """Errors in the table `error_event`, at most about `max_rows` of them and none older than `max_age`."""

    def __init__(self, engine: Engine, *, max_rows: int = 20_000, max_age: timedelta = timedelta(days=30)) -> None:
        self._engine = engine
        self._max_rows = max_rows
        self._max_age = max_age
        self._recorded = 0
        self._lock = threading.Lock()

    def record(self, event: ErrorEvent) -> None:
        """Insert the event. Values that are too long for their column are cut."""
        with write_transaction(self._engine) as connection:
            connection.execute(insert(error_event), [_row(event)])
            if self._prune_is_due():
                self._prune(connection, event.at)

    def count(self, source: str, since: datetime, without: Collection[str] = ()) -> int:
        """Return how many errors of `source` happened after `since`, except those of the kinds `without`."""
        table = error_event.c
        query = select(func.count()).where(table.source == source[:80], table.at > since)
        if without:
            query = query.where(table.kind.not_in(sorted(without)))
        with read_transaction(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def list_recent(self, limit: int = 100, source: str | None = None) -> Sequence[ErrorEvent]:
        """Return the newest errors first, of one source or of all."""
        query = select(error_event).order_by(error_event.c.id.desc()).limit(limit)
        if source is not None:
            query = query.where(error_event.c.source == source[:80])
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        return [ErrorEvent(row.at, row.source, row.kind, row.message, row.subject, row.code) for row in rows]

    def prune(self, now: datetime) -> int:
        """Delete rows that are too old or too many, and return how many."""
        with write_transaction(self._engine) as connection:
            return self._prune(connection, now)

    def _prune(self, connection: Connection, now: datetime) -> int:
        table = error_event.c
        newest_to_go = select(table.id).order_by(table.id.desc()).offset(self._max_rows).limit(1).scalar_subquery()
        old = connection.execute(delete(error_event).where(table.at < now - self._max_age)).rowcount
        excess = connection.execute(delete(error_event).where(table.id <= newest_to_go)).rowcount
        return int(old + excess)

    def _prune_is_due(self) -> bool:
        with self._lock:
            self._recorded += 1
            return self._recorded % _PRUNE_EVERY == 0


def _row(event: ErrorEvent) -> dict[str, object]:
    return {
        "at": event.at,
        "source": event.source[:80],
        "kind": event.kind[:40],
        "code": event.code[:40] if event.code else None,
        "subject": event.subject[:200] if event.subject else None,
        "message": event.message,
    }
