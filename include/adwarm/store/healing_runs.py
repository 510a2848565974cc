"""Healing actions: when each last ran, so that it runs once when many workers fail at the same time, and a history.

One conditional update by the database's clock acquires the right to run: of all callers within a cool-down, exactly one
succeeds.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.schema import Column, Index, Table
from sqlalchemy.types import Boolean, Float, Integer, String, Text

from adwarm.store.columns import ROW_ID, UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import database_time, insert_new, read_transaction, write_transaction

# One row per healing action and what it heals, for the cool-down.
healing_action = Table(
    "healing_action",
    metadata,
    key_column("name", String(240)),
    value_column("last_run", UtcDateTime()),
    value_column("runs", Integer, 1),
    value_column("succeeded", Boolean),
    Column("detail", Text),
)

# Grows with healing runs: at most one per action, scope and cool-down. Maintenance deletes old rows.
healing_run = Table(
    "healing_run",
    metadata,
    key_column("id", ROW_ID),
    value_column("at", UtcDateTime()),
    value_column("action", String(40)),
    value_column("scope", String(200)),
    value_column("source", String(80)),
    value_column("error_kind", String(40)),
    value_column("succeeded", Boolean),
    value_column("detail", Text),
    value_column("seconds", Float, 0.0),
    value_column("owner", String(80), ""),
    Index(None, "at"),
)


_NAME_LENGTH = 240
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_RUNNING = "running"


class HealingRun(NamedTuple):
    """One run of a healing action.

    Attributes:
        at: when it started, UTC.
        action: such as `token_refresh`.
        scope: what was healed, such as a connection or an object.
        source: the source whose error led to it.
        error_kind: class of that error.
        succeeded: whether another attempt may succeed now.
        detail: what it did, or why it failed, without secrets.
        seconds: how long it took.
        owner: the process that ran it.
    """

    at: datetime
    action: str
    scope: str
    source: str
    error_kind: str
    succeeded: bool = False
    detail: str = ""
    seconds: float = 0.0
    owner: str = ""


class HealingStore:
    """Cool-downs in the table `healing_action`, and the history of runs in `healing_run`."""

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
                .values(last_run=now, runs=table.runs + 1, succeeded=False, detail=_RUNNING)
            )
            return bool(claimed.rowcount)

    def finish(self, name: str, *, succeeded: bool, detail: str, run: HealingRun | None = None) -> None:
        """Record the result of the action, and `run` in the history. `detail` contains no secret."""
        with write_transaction(self._engine) as connection:
            connection.execute(
                update(healing_action)
                .where(healing_action.c.name == name[:_NAME_LENGTH])
                .values(succeeded=succeeded, detail=detail)
            )
            if run is not None:
                cut = run._replace(
                    action=run.action[:40],
                    scope=run.scope[:200],
                    source=run.source[:80],
                    error_kind=run.error_kind[:40],
                    owner=run.owner[:80],
                )
                connection.execute(insert(healing_run), [cut._asdict()])

    def is_running(self, name: str, seconds: float) -> bool:
        """Return whether the action was acquired less than `seconds` ago and has not finished."""
        table = healing_action.c
        query = select(table.last_run).where(table.name == name[:_NAME_LENGTH], table.detail == _RUNNING)
        with read_transaction(self._engine) as connection:
            started = connection.execute(query).scalar_one_or_none()
            now = self._now(connection)
        return started is not None and started > now - timedelta(seconds=seconds)

    def list_recent(self, limit: int, since: datetime | None = None) -> list[HealingRun]:
        """Return the newest runs first, of those since a time if one is given."""
        query = select(healing_run).order_by(healing_run.c.id.desc()).limit(limit)
        if since is not None:
            query = query.where(healing_run.c.at >= since)
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        return [HealingRun(**{name: getattr(row, name) for name in HealingRun._fields}) for row in rows]

    def _now(self, connection: Connection) -> datetime:
        return datetime.fromtimestamp(self._time(connection), UTC)


def _row(name: str) -> dict[str, object]:
    return {"name": name[:_NAME_LENGTH], "last_run": _NEVER, "runs": 0, "succeeded": False, "detail": None}
