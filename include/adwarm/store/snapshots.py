"""Rows of trained forecasts, and the policy row that alone names the live one."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from adwarm.model import Mode
from adwarm.store.database import insert_new, upsert
from adwarm.store.tables import forecast_snapshot, policy

LIVE = "live"


def insert_snapshot(connection: Connection, row: dict[str, Any]) -> None:
    """Insert the row; a snapshot that is there already stays as it is, since its id is its content."""
    insert_new(connection, forecast_snapshot, [row])


def find_snapshot(connection: Connection, snapshot_id: str) -> dict[str, Any] | None:
    """Return the row of a snapshot, or None."""
    query = select(forecast_snapshot).where(forecast_snapshot.c.id == snapshot_id)
    found = connection.execute(query).mappings().first()
    return None if found is None else dict(found)


def list_snapshots(connection: Connection, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the latest snapshots, newest training first."""
    order = (forecast_snapshot.c.trained_until.desc(), forecast_snapshot.c.created_at.desc(), forecast_snapshot.c.id)
    rows = connection.execute(select(forecast_snapshot).order_by(*order).limit(limit)).mappings()
    return [dict(row) for row in rows]


def find_policy(connection: Connection, name: str = LIVE) -> dict[str, Any] | None:
    """Return the row of a policy, or None."""
    found = connection.execute(select(policy).where(policy.c.name == name)).mappings().first()
    return None if found is None else dict(found)


def set_policy(
    connection: Connection, snapshot_id: str, at: datetime, *, name: str = LIVE, mode: Mode = Mode.LIVE
) -> None:
    """Make the policy name the snapshot; who chose its kind, when and why, stays."""
    row = {"name": name, "snapshot_id": snapshot_id, "mode": str(mode), "updated_at": at}
    upsert(connection, policy, [row])


def record_choice(connection: Connection, kind: str, *, by: str, why: str, at: datetime, name: str = LIVE) -> None:
    """Write down who chose the kind of forecast that the policy names, and why."""
    values = {"chosen_kind": kind, "chosen_by": by[:250], "chosen_why": why, "chosen_at": at}
    connection.execute(update(policy).where(policy.c.name == name).values(values))
