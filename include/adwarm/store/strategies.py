"""Stored strategies: their definitions, which users edit, and apart from these their state.

A change of the definition keeps the state, with two exceptions: a strategy whose latest planning failed is due at once,
and a strategy that is enabled again is no longer retired.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, false, func, or_, select, update
from sqlalchemy.schema import Column
from sqlalchemy.types import Boolean, Integer, String

from adwarm.foundation.errors import BadRequest
from adwarm.model import StoredStrategy, Strategy, StrategyState
from adwarm.store.columns import table_of
from adwarm.store.database import insert_new, upsert

table = table_of(
    Strategy,
    "strategy",
    Column("cron", String(120), nullable=False, default="0 */6 * * *", server_default="0 */6 * * *"),
    Column("time_zone", String(64), nullable=False, default="UTC", server_default="UTC"),
    Column("retire_unused", Boolean, nullable=False, default=False, server_default=false()),
    Column("open_hours", Integer, nullable=False, default=6, server_default="6"),
    key=("name",),
    grows="strategies that you add",
    bound="yours to decide",
)

states = table_of(
    StrategyState,
    "strategy_state",
    Column("name", String(80), doc="Name of the strategy."),
    key=("name",),
    grows="strategies that you add, also those that you removed",
    bound="that of a removed one is deleted after `ADWARM_RETENTION__HISTORY_DAYS`; that of a removed default stays",
)


_FIELDS = tuple(field.name for field in fields(Strategy))
_STATE = tuple(field.name for field in fields(StrategyState))
_MAX_PROBLEM = 500
_LISTS = ("date_ranges", "accounts", "excluded_accounts")


def list_strategies(connection: Connection) -> list[StoredStrategy]:
    """Return every strategy with its state, sorted by name. A row that is not valid says why."""
    query = select(table, *(states.c[name].label(f"state_{name}") for name in _STATE))
    query = query.outerjoin(states, states.c.name == table.c.name).order_by(table.c.name)
    return [_stored(row) for row in connection.execute(query)]


def find_strategy(connection: Connection, name: str) -> StoredStrategy | None:
    """Return a strategy with its state, or None."""
    return next((stored for stored in list_strategies(connection) if stored.name == name), None)


def save_strategy(connection: Connection, strategy: Strategy, at: datetime) -> None:
    """Insert the strategy, or replace the definition of the one of the same name; `at` is the time of the change."""
    before = find_strategy(connection, strategy.name)
    upsert(connection, table, [_row(strategy)])
    values: dict[str, Any] = {"removed_at": None}
    if strategy.enabled and not (before and before.enabled):
        values |= _enabled(at)
    if before is None or before.problem:
        values |= dict.fromkeys(("planned_slot", "planned_run", "recheck_at", "recheck_run", "problem"))
    _update_state(connection, strategy.name, values)


def remove_strategy(connection: Connection, name: str, at: datetime) -> bool:
    """Remove a strategy; False when there is none of that name. A default that was removed is not created again."""
    if not connection.execute(delete(table).where(table.c.name == name)).rowcount:
        return False
    _update_state(connection, name, {**dict.fromkeys(_STATE), "removed_at": at})
    return True


def seed_strategies(connection: Connection, strategies: Sequence[Strategy], at: datetime) -> None:
    """Insert the strategies that never were in the database."""
    seen = set(connection.execute(select(states.c.name)).scalars())
    new = [strategy for strategy in strategies if strategy.name not in seen]
    insert_new(connection, table, [_row(strategy) for strategy in new])
    insert_new(connection, states, [{"name": strategy.name, "enabled_at": at} for strategy in new])


def claim_slot(connection: Connection, name: str, slot: datetime, run_id: str) -> bool:
    """Record that a run plans the due time `slot`; False when another run has planned it, or a later one.

    The run that has planned it may claim it again, so that its retry plans the same.
    """
    insert_new(connection, states, [{"name": name}])
    is_open = or_(states.c.planned_slot.is_(None), states.c.planned_slot < slot, states.c.planned_run == run_id)
    values = {"planned_slot": slot, "planned_run": run_id, "problem": None, "recheck_at": None, "recheck_run": None}
    return bool(connection.execute(update(states).where(states.c.name == name, is_open).values(**values)).rowcount)


def claim_recheck(connection: Connection, name: str, at: datetime, run_id: str) -> bool:
    """Record that a run plans a strategy again before its next due time; False when none is due, or another run has it.

    The run that has claimed it may claim it again, so that its retry plans the same.
    """
    is_open = or_(states.c.recheck_at <= at, states.c.recheck_run == run_id)
    values = {"recheck_at": None, "recheck_run": run_id}
    return bool(connection.execute(update(states).where(states.c.name == name, is_open).values(**values)).rowcount)


def request_recheck(connection: Connection, name: str, run_id: str, at: datetime) -> bool:
    """Let a strategy be planned again at `at`; False when that changes nothing.

    Only the run that has claimed it last may request that, and an earlier time that is requested already stays.
    """
    is_latest = func.coalesce(states.c.recheck_run, states.c.planned_run) == run_id
    is_earlier = or_(states.c.recheck_at.is_(None), states.c.recheck_at > at)
    chosen = (states.c.name == name, is_latest, is_earlier)
    return bool(connection.execute(update(states).where(*chosen).values(recheck_at=at)).rowcount)


def record_problem(connection: Connection, name: str, problem: str) -> None:
    """Record why a strategy could not be planned."""
    _update_state(connection, name, {"problem": problem[:_MAX_PROBLEM]})


def record_check(connection: Connection, name: str, at: datetime, retired_why: str | None = None) -> None:
    """Record that the use of a strategy was checked; with `retired_why` it is retired: disabled, with that reason."""
    values: dict[str, Any] = {"checked_at": at}
    if retired_why is not None:
        values |= {"retired_at": at, "retired_why": retired_why}
        connection.execute(update(table).where(table.c.name == name).values(enabled=False))
    _update_state(connection, name, values)


def _enabled(at: datetime) -> dict[str, Any]:
    return {"enabled_at": at, "retired_at": None, "retired_why": None}


def _update_state(connection: Connection, name: str, values: dict[str, Any]) -> None:
    insert_new(connection, states, [{"name": name}])
    connection.execute(update(states).where(states.c.name == name).values(**values))


def _stored(row: Row[Any]) -> StoredStrategy:
    values = {name: getattr(row, name) for name in _FIELDS}
    state = StrategyState(**{name: getattr(row, f"state_{name}") for name in _STATE})
    try:
        strategy = Strategy(**{name: _value(name, value) for name, value in values.items()})
    except BadRequest as error:
        problem = str(error)[:_MAX_PROBLEM]
        return StoredStrategy(row.name, bool(row.enabled), None, problem, state, values=values)
    return StoredStrategy(row.name, strategy.enabled, strategy, state.problem, state, values=values)


def _value(name: str, value: Any) -> Any:
    """Return the value of a column as the model has it."""
    if name not in _LISTS or (name == "accounts" and value is None):
        return value
    if not isinstance(value, list | None) or not all(isinstance(text, str) for text in value or ()):
        raise BadRequest(f"{name} is not a list of texts")
    return tuple(value or ())


def _row(strategy: Strategy) -> dict[str, Any]:
    # JSON columns take lists.
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(strategy).items()}
