"""When each healing action last ran, so that it runs once when many workers fail at the same time.

One conditional update by the database's clock acquires the right to run: of all callers within a cool-down, exactly one
succeeds.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, select, update

from adwarm.store.database import database_time, insert_new, read_transaction, write_transaction
from adwarm.store.tables import healing_action

_NAME_LENGTH = 240
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class HealingStore:
    """Cool-downs of healing actions in the table `healing_action`."""

    def __init__(self, engine: Engine, *, database_time: Callable[[Connection], float] = database_time) -> None:
        self._engine = engine
        self._time = database_time

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Acquire the right to run the action now; False when it last ran less than `cooldown_seconds` ago."""
        table = healing_action.c
        with write_transaction(self._engine) as connection:
            insert_new(connection, healing_action, [_row(name)])
            now = self._now(connection)
            claimed = connection.execute(
                update(healing_action)
                .where(table.name == name[:_NAME_LENGTH], table.last_run <= now - timedelta(seconds=cooldown_seconds))
                .values(last_run=now, runs=table.runs + 1, succeeded=False, detail="running")
            )
            return bool(claimed.rowcount)

    def finish(self, name: str, *, succeeded: bool, detail: str) -> None:
        """Record the result of the action. `detail` contains no secret."""
        with write_transaction(self._engine) as connection:
            connection.execute(
                update(healing_action)
                .where(healing_action.c.name == name[:_NAME_LENGTH])
                .values(succeeded=succeeded, detail=detail)
            )

    def succeeded_within(self, name: str, seconds: float) -> bool:
        """Return whether the action's last run started within `seconds` and succeeded."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(
                select(healing_action).where(healing_action.c.name == name[:_NAME_LENGTH])
            ).one_or_none()
            now = self._now(connection)
        return row is not None and bool(row.succeeded) and row.last_run > now - timedelta(seconds=seconds)

    def _now(self, connection: Connection) -> datetime:
        return datetime.fromtimestamp(self._time(connection), UTC)


def _row(name: str) -> dict[str, object]:
    return {"name": name[:_NAME_LENGTH], "last_run": _NEVER, "runs": 0, "succeeded": False, "detail": None}
