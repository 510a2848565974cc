"""Trained forecasts, and the policy row that names the deployed one."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, case, delete, select, update

from adwarm.model import DeployedPolicy, Mode, Snapshot
from adwarm.store.database import insert_new, upsert, write_transaction
from adwarm.store.tables import forecast_snapshot, policy, policy_review

LIVE = "live"
_KEPT_OF_EACH_KIND = 2


def insert_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    """Insert a snapshot. One with the same id stays as it is, because the id is a hash of the content."""
    row = {
        "id": snapshot.id,
        "kind": snapshot.kind,
        "version": snapshot.version,
        "object_hash": snapshot.object_hash,
        "trained_from": snapshot.trained_from,
        "trained_until": snapshot.trained_until,
        "keys": snapshot.keys,
        "features": list(snapshot.features),
        "metrics": dict(snapshot.metrics),
        "created_at": snapshot.created_at,
    }
    insert_new(connection, forecast_snapshot, [row])


def find_snapshot(connection: Connection, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot, or None."""
    query = select(forecast_snapshot).where(forecast_snapshot.c.id == snapshot_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _snapshot(row)


def find_policy(connection: Connection, name: str = LIVE) -> DeployedPolicy | None:
    """Return a policy, or None before the first forecast is deployed."""
    row = connection.execute(select(policy).where(policy.c.name == name)).one_or_none()
    return None if row is None else DeployedPolicy(**{**row._mapping, "mode": Mode(row.mode)})


def find_deployed_snapshot(connection: Connection, name: str = LIVE) -> Snapshot | None:
    """Return the snapshot that a policy names, or None."""
    deployed = find_policy(connection, name)
    if deployed is None or deployed.snapshot_id is None:
        return None
    return find_snapshot(connection, deployed.snapshot_id)


def list_snapshots(connection: Connection) -> list[Snapshot]:
    """Return every snapshot, newest first."""
    query = select(forecast_snapshot).order_by(forecast_snapshot.c.trained_until.desc(), forecast_snapshot.c.id)
    return [_snapshot(row) for row in connection.execute(query)]


def list_substitutes(connection: Connection, damaged: Snapshot, plain_kind: str) -> list[Snapshot]:
    """Return the snapshots that can replace one: not newer, those of its kind first, then those of `plain_kind`."""
    table = forecast_snapshot.c
    query = (
        select(forecast_snapshot)
        .where(
            table.id != damaged.id,
            table.kind.in_({damaged.kind, plain_kind}),
            table.trained_until <= damaged.trained_until,
        )
        .order_by(case((table.kind == damaged.kind, 0), else_=1), table.trained_until.desc(), table.id)
    )
    return [_snapshot(row) for row in connection.execute(query)]


def list_deployed_ids(connection: Connection) -> set[str]:
    """Return the ids of the snapshots that policies name."""
    ids = connection.execute(select(policy.c.snapshot_id).where(policy.c.snapshot_id.is_not(None))).scalars()
    return {str(name) for name in ids}


def set_policy(
    connection: Connection, snapshot_id: str, at: datetime, *, name: str = LIVE, mode: Mode = Mode.LIVE
) -> None:
    """Deploy a snapshot under a policy. The recorded choice of a kind stays."""
    row = {"name": name, "snapshot_id": snapshot_id, "mode": str(mode), "updated_at": at}
    upsert(connection, policy, [row])


def record_choice(connection: Connection, kind: str, *, by: str, why: str, at: datetime, name: str = LIVE) -> None:
    """Record who chose the kind of forecast of a policy, and why; training then keeps that kind."""
    values = {"chosen_kind": kind, "chosen_by": by[:250], "chosen_why": why, "chosen_at": at}
    connection.execute(update(policy).where(policy.c.name == name).values(values))


def delete_unused(engine: Engine, before: datetime) -> int:
    """Delete snapshots that were trained before `before` and that nothing uses, and return how many.

    The deployed ones stay, those that a review proposed, and the newest two of each kind, which take over when the
    deployed one is damaged. Garbage collection deletes their objects.
    """
    table = forecast_snapshot.c
    deployed = select(policy.c.snapshot_id).where(policy.c.snapshot_id.is_not(None))
    proposed = select(policy_review.c.proposed_snapshot).where(policy_review.c.proposed_snapshot.is_not(None))
    with write_transaction(engine) as connection:
        by_kind: dict[str, list[str]] = {}
        for row in connection.execute(select(table.id, table.kind).order_by(table.created_at.desc(), table.id)):
            by_kind.setdefault(row.kind, []).append(row.id)
        newest = [id_ for ids in by_kind.values() for id_ in ids[:_KEPT_OF_EACH_KIND]]
        unused = (table.created_at < before, table.id.not_in(newest), table.id.not_in(deployed.union(proposed)))
        return connection.execute(delete(forecast_snapshot).where(*unused)).rowcount


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(**{**row._mapping, "features": tuple(row.features)})
