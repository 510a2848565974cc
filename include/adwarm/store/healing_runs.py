"""Healing actions: when each last ran, so that it runs once when many workers fail at the same time, and a history.

Closing the gate of its cool-down acquires the right to run: of all callers within a cool-down, exactly one succeeds.
Times are the database's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine, select

from adwarm.foundation.gate import Gate, OpenedBy, Rule
from adwarm.store.action_events import HEALING, record_action, table
from adwarm.store.columns import from_row
from adwarm.store.database import database_time, read_statement, read_transaction
from adwarm.store.gates import MAX_SCOPE_LENGTH, SqlGates


@dataclass(frozen=True, slots=True)
class HealingRun:
    """One run of a healing action.

    Attributes:
        scope: what was healed, such as a connection or an object.
        source: whose error of the class `error_kind` led to it.
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
    """Cool-downs in gates of the rule `cooldown`, and the history of runs among the actions."""

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
            facts = {"source": run.source, "error_kind": run.error_kind, "seconds": run.seconds}
            record_action(
                self._engine,
                at=run.at,
                actor=run.owner,
                via=HEALING,
                action=run.action,
                subject=run.scope,
                arguments=facts,
                succeeded=run.succeeded,
                detail=run.detail,
            )

    def is_running(self, name: str, seconds: float) -> bool:
        """Return whether the action was acquired less than `seconds` ago and has not finished."""
        gate = self._gates.find(_scope(name), Rule.COOLDOWN)
        return gate is not None and bool(gate.data.get("is_running")) and gate.since > self._now() - seconds

    def list_recent(self, limit: int, since: datetime | None = None) -> list[HealingRun]:
        """Return the newest runs first, of those since a time if one is given."""
        query = select(table).where(table.c.via == HEALING).order_by(table.c.id.desc()).limit(limit)
        if since is not None:
            query = query.where(table.c.at >= since)
        with read_transaction(self._engine) as connection:
            return [
                from_row(HealingRun, row, scope=row.subject, owner=row.actor, **row.arguments)
                for row in connection.execute(query)
            ]

    def _now(self) -> float:
        with read_statement(self._engine) as connection:
            return self._time(connection)


def _scope(name: str) -> str:
    return f"healing:{name}"[:MAX_SCOPE_LENGTH]
