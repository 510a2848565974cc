"""The load of each machine that makes calls: one row, which whichever of its processes comes first renews."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select
from sqlalchemy.schema import Column, Table
from sqlalchemy.types import Boolean, Float, Integer, String

from adwarm.store.capacity_tables import capacity_grant
from adwarm.store.columns import from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import database_time, read_transaction, upsert, write_transaction

# One row per machine that made a call within a day.
machine_load = Table(
    "machine_load",
    metadata,
    key_column("machine", String(60)),
    value_column("read_at", Float),
    value_column("memory_percent", Float),
    Column("cpu_percent", Float),
    value_column("cpu_busy", Float),
    value_column("cpu_total", Float),
    value_column("is_high", Boolean),
    value_column("since", Float),
    value_column("calls", Integer),
    Column("limit", Integer),
    Column("full", Integer),
    Column("limited_at", Float),
)


FORGOTTEN_AFTER_SECONDS = 86_400.0
"""Rows of machines that made no call for this long are deleted; a container is a machine of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLoad:
    """The last reading of a machine, and what follows from the readings before it. Times are seconds since the epoch.

    Attributes:
        machine: its host name.
        read_at: when it was read.
        memory_percent: memory in use.
        cpu_percent: time that its processors worked since the reading before; None for the first one.
        cpu_busy, cpu_total: seconds that its processors worked, and have existed, since the machine started.
        is_high: whether one of the two is above its limit.
        since: since when that holds without a change of the limit.
        calls: most calls of the machine in flight at a reading since then.
        limit: calls that it may have in flight; None for as many as other limits allow.
        full: calls in flight before the first cut; from this on there is no limit again.
        limited_at: when the first cut was.
    """

    machine: str
    read_at: float
    memory_percent: float
    cpu_percent: float | None
    cpu_busy: float
    cpu_total: float
    is_high: bool
    since: float
    calls: int
    limit: int | None = None
    full: int | None = None
    limited_at: float | None = None


def find_load(engine: Engine, machine: str) -> MachineLoad | None:
    """Return the load of a machine; None when it made no call within a day."""
    with read_transaction(engine) as connection:
        return _load(connection.execute(_select(machine)).one_or_none())


def renew_load(engine: Engine, machine: str, advance: Callable[[MachineLoad | None], MachineLoad]) -> MachineLoad:
    """Store and return what `advance` makes of the load; it returns a load as it is that another process renewed."""
    with write_transaction(engine) as connection:
        last = _load(connection.execute(_select(machine).with_for_update()).one_or_none())
        load = advance(last)
        upsert(connection, machine_load, [to_row(load)])
        if last is None:
            connection.execute(
                delete(machine_load).where(machine_load.c.read_at < load.read_at - FORGOTTEN_AFTER_SECONDS)
            )
    return load


def _select(machine: str) -> Select[Any]:
    return select(machine_load).where(machine_load.c.machine == machine)


def _load(row: Row[Any] | None) -> MachineLoad | None:
    return None if row is None else from_row(MachineLoad, row)


def list_loads(engine: Engine, since: float) -> list[MachineLoad]:
    """Return the loads that were read after `since`, by the name of the machine."""
    query = select(machine_load).where(machine_load.c.read_at > since).order_by(machine_load.c.machine)
    with read_transaction(engine) as connection:
        return [from_row(MachineLoad, row) for row in connection.execute(query)]


def count_calls_of_others(
    engine: Engine, machine: str, owner: str, *, time: Callable[[Connection], float] = database_time
) -> int:
    """Return how many calls the processes of a machine have in flight, except the process `owner`."""
    table: Any = capacity_grant.c
    others = table.owner.startswith(f"{machine}:", autoescape=True), table.owner != owner
    with read_transaction(engine) as connection:
        is_held = table.expires_at > time(connection)
        query = select(func.count()).select_from(capacity_grant).where(*others, is_held)
        return int(connection.execute(query).scalar_one())
