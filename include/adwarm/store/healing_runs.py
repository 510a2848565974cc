"""Healing actions: when each last ran, so that it runs once when many workers fail at the same time, and a history.

Closing the gate of its cool-down acquires the right to run: of all callers within a cool-down, exactly one succeeds.
Times are the database's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.schema import Index

from adwarm.foundation.gate import Gate, OpenedBy, Rule
from adwarm.store.columns import from_row, shorten, table_of, to_row
from adwarm.store.database import database_time, read_statement, read_transaction, write_transaction
from adwarm.store.gates import MAX_SCOPE_LENGTH, SqlGates


@dataclass(frozen=True, slots=True)
class HealingRun:
    """One run of a healing action."""

    at: Annotated[datetime, "When it started."]
    action: Annotated[str, 40, "`token_refresh`, `session_restart`, `partition_refetch`, `cache_clear` or `custom`."]
    scope: Annotated[str, 200, "What was healed, such as a connection or an object."]
    source: Annotated[str, 80, "Source whose error led to it."]
    error_kind: Annotated[str, 40, "Class of that error."]
    succeeded: Annotated[bool, "Whether another attempt may succeed now."] = False
    detail: Annotated[str, "What it did, or why it failed, without secrets."] = ""
    seconds: Annotated[float, "How long it took."] = 0.0
    owner: Annotated[str, 80, "Process that ran it."] = ""


healing_run = table_of(
    HealingRun,
    "healing_run",
    Index(None, "at"),
    key=("id",),
    grows="healing runs: at most one per action, scope and cool-down",
    bound="deleted after `ADWARM_RETENTION__HISTORY_DAYS`",
)


class HealingStore:
    """Cool-downs in gates of the rule `cooldown`, and the history of runs in `healing_run`."""

    def __init__(self, engine: Engine, *, database_time: Callable[[Connection], float] = database_time) -> None:
        self._engine = engine
        self._gates = SqlGates(engine)
        self._time = database_time

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Acquire the right to run the action now; False when it last ran less than `cooldown_seconds` ago."""
        now, claims = self._now(), list[bool]()

        def claim(gate: Gate) -> Gate:
            claims.append(gate.remaining_seconds(now) <= 0)
            if not claims[-1]:
                return gate
            until, data = now + cooldown_seconds, {"is_running": True}
            closed = Gate(gate.scope, gate.rule, since=now, closed_until=until, opened_by=OpenedBy.TIME)
            return replace(closed, why=f"{name} runs", kept_until=until, data=data)

        self._gates.change(_scope(name), Rule.COOLDOWN, claim)
        return claims[-1]

    def finish(self, name: str, *, succeeded: bool, detail: str, run: HealingRun | None = None) -> None:
        """Record the result of the action, and `run` in the history. `detail` contains no secret."""
        ended = {"is_running": False, "succeeded": succeeded}
        self._gates.change(_scope(name), Rule.COOLDOWN, lambda gate: replace(gate, why=detail, data=ended))
        if run is not None:
            with write_transaction(self._engine) as connection:
                connection.execute(insert(healing_run), [shorten(to_row(run), healing_run)])

    def is_running(self, name: str, seconds: float) -> bool:
        """Return whether the action was acquired less than `seconds` ago and has not finished."""
        gate = self._gates.find(_scope(name), Rule.COOLDOWN)
        return gate is not None and bool(gate.data.get("is_running")) and gate.since > self._now() - seconds

    def list_recent(self, limit: int, since: datetime | None = None) -> list[HealingRun]:
        """Return the newest runs first, of those since a time if one is given."""
        query = select(healing_run).order_by(healing_run.c.id.desc()).limit(limit)
        if since is not None:
            query = query.where(healing_run.c.at >= since)
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        return [from_row(HealingRun, row) for row in rows]

    def _now(self) -> float:
        with read_statement(self._engine) as connection:
            return self._time(connection)


def _scope(name: str) -> str:
    return f"healing:{name}"[:MAX_SCOPE_LENGTH]
