"""Partitions: which days of an account are there, how old they are, and which object holds their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, select

from adwarm.model import Window
from adwarm.store.engine import reading, upsert, writing
from adwarm.store.tables import partition as table


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What is known of one account-day. `content_hash` changes when its rows do, and `data_version` counts that."""

    day: date
    object_hash: str
    rows: int
    content_hash: str
    fetched_at: datetime
    complete: bool
    settled: bool
    data_version: int
    api_version: str


def states(engine: Engine, account_id: str, spec_hash: str, window: Window) -> dict[date, PartitionState]:
    """Return the partitions of an account that fall in `window`, by day."""
    query = select(table).where(
        table.c.account_id == account_id,
        table.c.spec_hash == spec_hash,
        table.c.day.between(window.since, window.until),
    )
    with reading(engine) as connection:
        return {
            row.day: PartitionState(
                row.day, row.object_hash, row.rows, row.content_hash, row.fetched_at,
                row.complete, row.settled, row.data_version, row.api_version,
            )
            for row in connection.execute(query)
        }  # fmt: skip


def publish(
    connection: Connection, account_id: str, spec_hash: str, items: Sequence[PartitionState], token: int
) -> None:
    """Point each day at its new object, within the caller's fenced transaction."""
    rows: list[dict[str, Any]] = [
        {
            "account_id": account_id,
            "spec_hash": spec_hash,
            "day": item.day,
            "object_hash": item.object_hash,
            "rows": item.rows,
            "content_hash": item.content_hash,
            "fetched_at": item.fetched_at,
            "complete": item.complete,
            "settled": item.settled,
            "data_version": item.data_version,
            "api_version": item.api_version,
            "token": token,
        }
        for item in items
    ]
    upsert(connection, table, rows)


def forget(engine: Engine, object_hash: str) -> None:
    """Drop the days whose rows are in an object that is lost or damaged, so that they are fetched again."""
    with writing(engine) as connection:
        connection.execute(delete(table).where(table.c.object_hash == object_hash))
