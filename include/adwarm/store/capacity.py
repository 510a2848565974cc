"""The shared budget as it is stored: scopes, grants in flight, the load of each machine, and samples over time.

`adwarm.backpressure.sql_admission` has the statements of admission. A machine has one row, which the first of its
processes renews.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, text
from sqlalchemy.schema import Column, Index, Table
from sqlalchemy.types import JSON, BigInteger, Boolean, Float, Integer, String

from adwarm.store.columns import from_row, key_column, metadata, table_of, to_row, value_column
from adwarm.store.database import database_time, read_transaction, upsert, write_transaction

_IS_SHARED = text("scope NOT LIKE 'account:%'")

# One row per account, app and token that was called.
capacity_scope = Table(
    "capacity_scope",
    metadata,
    key_column("scope", String(200)),
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


FORGOTTEN_AFTER_SECONDS = 86_400.0
"""Rows of machines that made no call for this long are deleted; a container is a machine of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLoad:
    """The last reading of a machine that makes calls, and what follows from earlier ones. Times count epoch seconds."""

    machine: Annotated[str, 60, "Host name."]
    read_at: Annotated[float, "When it was read last."]
    memory_percent: Annotated[float, "Memory in use."]
    cpu_percent: Annotated[
        float | None, "Time that its processors worked since the reading before; empty after the first one."
    ]
    cpu_busy: Annotated[float, "Seconds that its processors worked since it started."]
    cpu_total: Annotated[float, "Seconds that its processors have existed since then."]
    is_high: Annotated[bool, "Whether memory or processors are above their limit."]
    since: Annotated[float, "Since when that holds without a change of the limit of calls."]
    calls: Annotated[int, "Most calls in flight at a reading since then."]
    limit: Annotated[int | None, "Calls that it may have in flight; empty for no limit."] = None
    full: Annotated[int | None, "Calls in flight before the first cut; from as many on there is no limit again."] = None
    limited_at: Annotated[float | None, "When the first cut was."] = None


machine_load = table_of(
    MachineLoad,
    "machine_load",
    key=("machine",),
    grows="machines",
    bound="rows of machines that made no call for a day are deleted when a new machine makes one",
)


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


@dataclass(frozen=True, slots=True)
class CapacitySample:
    """A shared scope at a moment."""

    at: Annotated[datetime, "When the sample was taken."]
    scope: Annotated[str, 200, "Capacity scope."]
    limit: Annotated[float, "Limit of calls in flight."]
    in_flight: Annotated[int, "Calls in flight."]
    usage: Annotated[float | None, "Percent of the platform's quota that is used; empty: not reported."]
    is_parked: Annotated[bool, "Whether the scope was parked."] = False


capacity_sample = table_of(
    CapacitySample,
    "capacity_sample",
    key=("at", "scope"),
    grows="shared scopes, four times an hour",
    bound="deleted after `ADWARM_RETENTION__HISTORY_DAYS`",
)


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
