"""Samples of the shared capacity scopes, which the page shows over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Column, Engine, Float, Integer, String, Table, select

from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import read_transaction, upsert, write_transaction

# Grows with shared scopes: one row for each, four times an hour. Maintenance deletes old rows.
table = Table(
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
        upsert(connection, table, [to_row(sample) for sample in samples])


def list_samples(engine: Engine, since: datetime, scopes: Sequence[str], limit: int = 2_000) -> list[CapacitySample]:
    """Return the samples of scopes since then, the oldest first."""
    query = select(table).where(table.c.at >= since, table.c.scope.in_(scopes)).order_by(table.c.at, table.c.scope)
    with read_transaction(engine) as connection:
        return [from_row(CapacitySample, row) for row in connection.execute(query.limit(limit))]
