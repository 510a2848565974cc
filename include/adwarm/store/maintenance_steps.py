"""The steps of maintenance: who runs one now, where it goes on, and what its last run did.

A step is run by one process at a time, under a lease that ends by the database's clock, so a killed process blocks it
no longer than its lease. A run whose lease was taken over saves nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import Engine, select, update

from adwarm.store.columns import from_row, table_of, to_row
from adwarm.store.database import database_time, insert_new, read_transaction, write_transaction


@dataclass(frozen=True, slots=True)
class StepState:
    """A step of maintenance: where it goes on, and its last result."""

    name: Annotated[str, 40, "Name of the step."]
    cursor: Annotated[Any | None, "JSON that the next run goes on from; None for the start."]
    round_started_at: Annotated[
        datetime | None, "When the current pass over everything started; None between two passes."
    ]
    round_finished_at: Annotated[datetime | None, "When the last complete pass ended."]
    started_at: Annotated[datetime, "When its last run started."]
    finished_at: Annotated[datetime | None, "When that run ended; None while it runs, and when it was killed."]
    seconds: Annotated[float | None, "How long it took."]
    result: Annotated[dict[str, Any] | None, "Its `counts`, `problems` and `skipped`."]
    error: Annotated[str | None, "Why it failed."]
    owner: Annotated[str, 80, "Process that runs it."]
    lease_until: Annotated[datetime | None, "Until when no other process runs it; None while nobody does."]


table = table_of(StepState, "maintenance_step", key=("name",), grows="steps", bound="number of steps")


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a run leaves behind.

    Attributes:
        cursor: where the next run goes on; None for the start.
        result: its `counts`, `problems` and `skipped`.
        is_complete: whether it ended a pass over everything.
    """

    cursor: Any
    finished_at: datetime
    seconds: float
    result: dict[str, Any] | None = None
    error: str | None = None
    is_complete: bool = False


def acquire(engine: Engine, name: str, owner: str, at: datetime, seconds: float) -> StepState | None:
    """Take the right to run a step for `seconds`; return its state before, or None while another process runs it.

    Args:
        seconds: how long the lease lasts, by the database's clock.
    """
    with write_transaction(engine) as connection:
        insert_new(connection, table, [{"name": name, "started_at": at, "owner": ""}])
        row = connection.execute(select(table).where(table.c.name == name).with_for_update()).one()
        state = from_row(StepState, row)
        now = database_time(connection)
        if state.lease_until is not None and state.lease_until.timestamp() > now:
            return None
        values = {
            "owner": owner,
            "started_at": at,
            "finished_at": None,
            "lease_until": datetime.fromtimestamp(now + seconds, UTC),
            "round_started_at": at if state.cursor is None else state.round_started_at or at,
        }
        connection.execute(update(table).where(table.c.name == name).values(**values))
        return state


def save(engine: Engine, name: str, owner: str, started_at: datetime, outcome: StepOutcome) -> bool:
    """Store what a run did and end its lease, in one transaction; False when the step was taken over meanwhile."""
    values: dict[str, Any] = {**to_row(outcome, without=("is_complete",)), "lease_until": None}
    if outcome.is_complete:
        values |= {"round_started_at": None, "round_finished_at": outcome.finished_at}
    own = (table.c.name == name, table.c.owner == owner, table.c.started_at == started_at)
    with write_transaction(engine) as connection:
        return bool(connection.execute(update(table).where(*own).values(**values)).rowcount)


def list_states(engine: Engine) -> dict[str, StepState]:
    """Return the state of every step that ever ran, by name."""
    with read_transaction(engine) as connection:
        return {row.name: from_row(StepState, row) for row in connection.execute(select(table).order_by(table.c.name))}


def find_state(engine: Engine, name: str) -> StepState | None:
    """Return the state of a step; None before its first run."""
    with read_transaction(engine) as connection:
        row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
    return None if row is None else from_row(StepState, row)
