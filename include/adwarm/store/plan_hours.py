"""The outlook of the newest plan: what it expects of each of the next 24 hours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Float, Integer, Table, delete, func, select

from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import read_transaction, upsert, write_transaction

# One row per hour that the last plan looked ahead to. Maintenance deletes past hours.
table = Table(
    "plan_hour",
    metadata,
    key_column("hour", UtcDateTime()),
    value_column("expected_opens", Float),
    value_column("due_warms", Integer),
    value_column("expected_calls", Float),
    value_column("call_quota", Float),
    value_column("planned_at", UtcDateTime()),
)


@dataclass(frozen=True, slots=True)
class PlanHour:
    """One hour of the outlook; docs/reference/tables.md describes the columns."""

    hour: datetime
    expected_opens: float
    due_warms: int
    expected_calls: float
    call_quota: float
    planned_at: datetime


def replace_outlook(engine: Engine, hours: Sequence[PlanHour]) -> bool:
    """Store an outlook in place of the earlier one; hours before it stay, as they were expected last.

    Returns:
        False when that of a later decision is stored, which stays.
    """
    if not hours:
        return False
    with write_transaction(engine) as connection:
        newest = connection.execute(select(func.max(table.c.planned_at))).scalar_one_or_none()
        if newest is not None and newest > hours[0].planned_at:
            return False
        connection.execute(delete(table).where(table.c.hour > hours[-1].hour))
        upsert(connection, table, [to_row(hour) for hour in hours])
    return True


def list_hours(engine: Engine, since: datetime, until: datetime) -> list[PlanHour]:
    """Return the hours of the half-open window, in order."""
    query = select(table).where(table.c.hour >= since, table.c.hour < until).order_by(table.c.hour)
    with read_transaction(engine) as connection:
        return [from_row(PlanHour, row) for row in connection.execute(query)]
