"""Healing actions: when each last ran, so that it runs once when many workers fail at the same time, and a history.

Closing the gate of its cool-down acquires the right to run: of all callers within a cool-down, exactly one succeeds.
Times are the database's.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.schema import Index, Table
from sqlalchemy.types import Boolean, Float, String, Text

from adwarm.foundation.gate import Gate, Lift, Rule
from adwarm.store.columns import ROW_ID, UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import database_time, read_statement, read_transaction, write_transaction
from adwarm.store.gates import MAX_SCOPE_LENGTH, SqlGates

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


class HealingRun(NamedTuple):
    """One run of a healing action.

    Attributes:
        action: such as `token_refresh`.
        scope: what was healed, such as a connection or an object.
        source: the source whose error led to it.
        error_kind: class of that error.
        succeeded: whether another attempt may succeed now.
        detail: what it did, or why it failed, without secrets.
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
            closed = Gate(gate.scope, gate.rule, since=now, closed_until=until, lifted_by=Lift.TIME)
            return replace(closed, why=f"{name} runs", kept_until=until, data=data)

        self._gates.change(_scope(name), Rule.COOLDOWN, claim)
        return claims[-1]

    def finish(self, name: str, *, succeeded: bool, detail: str, run: HealingRun | None = None) -> None:
        """Record the result of the action, and `run` in the history. `detail` contains no secret."""
        ended = {"is_running": False, "succeeded": succeeded}
        self._gates.change(_scope(name), Rule.COOLDOWN, lambda gate: replace(gate, why=detail, data=ended))
        if run is not None:
            cut = run._replace(
                action=run.action[:40],
                scope=run.scope[:200],
                source=run.source[:80],
                error_kind=run.error_kind[:40],
                owner=run.owner[:80],
            )
            with write_transaction(self._engine) as connection:
                connection.execute(insert(healing_run), [cut._asdict()])

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
        return [HealingRun(**{name: getattr(row, name) for name in HealingRun._fields}) for row in rows]

    def _now(self) -> float:
        with read_statement(self._engine) as connection:
            return self._time(connection)


def _scope(name: str) -> str:
    return f"healing:{name}"[:MAX_SCOPE_LENGTH]
