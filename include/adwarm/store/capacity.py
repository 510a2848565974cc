"""The shared budget as it is stored: scopes, grants in flight, the load of each machine, and samples over time.

`adwarm.backpressure.budget_rows` has the statements of admission. A machine has one row, which the first of its
processes renews.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, text
from sqlalchemy.schema import Column, Index, Table
from sqlalchemy.types import JSON, BigInteger, Boolean, Float, Integer, String

from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import database_time, read_transaction, upsert, write_transaction

_IS_SHARED = text("scope NOT LIKE 'account:%'")

# One row per account, app and token that was called.
capacity_scope = Table(
    "capacity_scope",
    metadata,
    key_column("scope", String(200)),
    value_column("limit", Float),
    value_column("tokens", Float),
    value_column("refilled_at", Float),
    Column("usage", Float),
    value_column("state", JSON, dict),
    # The few shared ones are looked for among those of all accounts.
    Index("ix_capacity_scope_shared", "scope", sqlite_where=_IS_SHARED, postgresql_where=_IS_SHARED),
)

# One row per call in flight, deleted when it is released or has expired.
capacity_grant = Table(
    "capacity_grant",
    metadata,
    key_column("id", String(40)),
    Column("token", BigInteger, nullable=False, default=0, server_default="0"),
    value_column("scopes", JSON, list),
    value_column("priority", Integer),
    value_column("cost", Float),
    value_column("source", String(200)),
    value_column("probe", Boolean),
    value_column("counted", Boolean),
    value_column("owner", String(120)),
    value_column("granted_at", Float),
    value_column("expires_at", Float),
    Index(None, "expires_at"),
)


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
        cpu_percent: time that its processors worked since the reading before; None for the first one.
        cpu_busy, cpu_total: seconds that its processors worked, and have existed, since the machine started.
        is_high: whether memory or processors are above their limit.
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


# Grows with shared scopes: one row for each, four times an hour. Maintenance deletes old rows.
capacity_sample = Table(
    "capacity_sample",
    metadata,
    key_column("at", UtcDateTime()),
    key_column("scope", String(200)),
    value_column("limit", Float),
    value_column("in_flight", Integer),
    Column("usage", Float),
    value_column("is_parked", Boolean, False),
)


@dataclass(frozen=True, slots=True)
class CapacitySample:
    """A shared scope at a moment; docs/reference/tables.md describes the columns."""

    at: datetime
    scope: str
    limit: float
    in_flight: int
    usage: float | None
    is_parked: bool


def save_samples(engine: Engine, samples: Sequence[CapacitySample]) -> None:
    """Store samples; those of the same scopes and moment are replaced."""
    with write_transaction(engine) as connection:
        upsert(connection, capacity_sample, [to_row(sample) for sample in samples])


def list_samples(engine: Engine, since: datetime, scopes: Sequence[str], limit: int = 2_000) -> list[CapacitySample]:
    """Return the samples of scopes since then, the oldest first."""
    sample = capacity_sample.c
    query = select(capacity_sample).where(sample.at >= since, sample.scope.in_(scopes))
    query = query.order_by(sample.at, sample.scope)
    with read_transaction(engine) as connection:
        return [from_row(CapacitySample, row) for row in connection.execute(query.limit(limit))]
