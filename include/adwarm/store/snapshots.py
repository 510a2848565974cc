"""Trained forecasts, the policy row with the deployed one and its outlook, and the reviews that propose another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, case, delete, select, update
from sqlalchemy.schema import Column, ForeignKey, Index
from sqlalchemy.types import JSON, String

from adwarm.foundation.errors import NotFound
from adwarm.model import DeployedPolicy, Mode, PolicyReview, Snapshot
from adwarm.store.columns import UtcDateTime, from_row, table_of, to_row
from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction

NO_FORECAST = "no forecast is live yet; `adwarm learn` trains one, as the DAG adwarm_access_patterns does"
forecast_snapshot = table_of(
    Snapshot,
    "forecast_snapshot",
    key=("id",),
    grows="trainings: about one a day",
    bound="deleted after `ADWARM_RETENTION__HISTORY_DAYS`, except those in use or proposed, and two of a kind",
)

policy = table_of(
    DeployedPolicy,
    "policy",
    Column("snapshot_id", String(64), ForeignKey("forecast_snapshot.id"), doc="Snapshot that plans."),
    Column("outlook", JSON, doc="What the newest plan expects of each of the next 24 hours; see `PlanHour`."),
    Column("outlook_at", UtcDateTime(), doc="Decision time of that plan."),
    key=("name",),
    grows="policies: one row",
    bound="one row",
)

policy_review = table_of(
    PolicyReview,
    "policy_review",
    Column("proposed_snapshot", String(64), ForeignKey("forecast_snapshot.id")),
    Index(None, "at"),
    key=("run_id",),
    grows="reviews: one a week",
    bound="deleted after `ADWARM_RETENTION__ACTION_DAYS`",
)


@dataclass(frozen=True, slots=True)
class PlanHour:
    """What the newest plan expects of one of the next 24 hours.

    Attributes:
        hour: its first moment.
        call_quota: calls that the budget allows in an hour.
        planned_at: decision time of the plan.
    """

    hour: datetime
    expected_opens: float
    due_warms: int
    expected_calls: float
    call_quota: float
    planned_at: datetime


LIVE = "live"
_KEPT_OF_EACH_KIND = 2


def insert_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    """Insert a snapshot. One with the same id stays as it is, because the id is a hash of the content."""
    insert_new(connection, forecast_snapshot, [to_row(snapshot)])


def find_snapshot(connection: Connection, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot, or None."""
    query = select(forecast_snapshot).where(forecast_snapshot.c.id == snapshot_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _snapshot(row)


def find_policy(connection: Connection) -> DeployedPolicy | None:
    """Return the live policy, or None before the first forecast is deployed."""
    row = connection.execute(select(policy).where(policy.c.name == LIVE)).one_or_none()
    return None if row is None else from_row(DeployedPolicy, row)


def find_deployed_snapshot(connection: Connection) -> Snapshot | None:
    """Return the snapshot that the live policy names, or None."""
    deployed = find_policy(connection)
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


def set_policy(connection: Connection, snapshot_id: str, at: datetime, *, mode: Mode = Mode.LIVE) -> None:
    """Deploy a snapshot. The recorded choice of a kind stays."""
    row = {"name": LIVE, "snapshot_id": snapshot_id, "mode": mode, "updated_at": at}
    upsert(connection, policy, [row])


def record_choice(connection: Connection, kind: str, *, by: str, why: str, at: datetime) -> None:
    """Record who chose the kind of forecast, and why; training then keeps that kind."""
    values = {"chosen_kind": kind, "chosen_by": by[:250], "chosen_why": why, "chosen_at": at}
    connection.execute(update(policy).where(policy.c.name == LIVE).values(values))


def save_outlook(engine: Engine, hours: Sequence[PlanHour]) -> bool:
    """Store the outlook of a plan with the policy that it follows, in place of the earlier one.

    Returns:
        False when that of a later decision is stored, which stays, or nothing is deployed.
    """
    if not hours:
        return False
    planned_at = hours[0].planned_at
    outlook = [{**to_row(hour, without=("planned_at",)), "hour": hour.hour.isoformat()} for hour in hours]
    is_newer = policy.c.outlook_at.is_(None) | (policy.c.outlook_at <= planned_at)
    change = update(policy).where(policy.c.name == LIVE, is_newer).values(outlook=outlook, outlook_at=planned_at)
    with write_transaction(engine) as connection:
        return bool(connection.execute(change).rowcount)


def list_outlook(engine: Engine, since: datetime) -> list[PlanHour]:
    """Return the hours of the outlook from `since` on, in order."""
    query = select(policy.c.outlook, policy.c.outlook_at).where(policy.c.name == LIVE)
    with read_transaction(engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.outlook is None:
        return []
    hours = [
        PlanHour(**{**item, "hour": datetime.fromisoformat(item["hour"])}, planned_at=row.outlook_at)
        for item in row.outlook
    ]
    return [hour for hour in hours if hour.hour >= since]


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


def save_review(connection: Connection, review: PolicyReview) -> None:
    """Insert a review; one of the same run is replaced."""
    upsert(connection, policy_review, [to_row(review)])


def find_review(connection: Connection, run_id: str) -> PolicyReview | None:
    """Return the review of a run, or None."""
    row = connection.execute(select(policy_review).where(policy_review.c.run_id == run_id)).one_or_none()
    return None if row is None else from_row(PolicyReview, row)


def list_reviews(connection: Connection, limit: int) -> list[PolicyReview]:
    """Return at most `limit` reviews, the latest first."""
    query = select(policy_review).order_by(policy_review.c.at.desc(), policy_review.c.run_id.desc()).limit(limit)
    return [from_row(PolicyReview, row) for row in connection.execute(query)]


def find_newest_review(connection: Connection) -> PolicyReview | None:
    """Return the latest review, or None."""
    return next(iter(list_reviews(connection, 1)), None)


def save_decision(connection: Connection, run_id: str, decision: str, *, by: str, at: datetime) -> None:
    """Record what was decided on a review's proposal, and who decided."""
    values = {"result": decision, "decided_by": by[:250], "decided_at": at}
    connection.execute(update(policy_review).where(policy_review.c.run_id == run_id).values(values))


def _snapshot(row: Row[Any]) -> Snapshot:
    return from_row(Snapshot, row, features=tuple(row.features))


def get_live_snapshot(engine: Engine) -> Snapshot:
    """Return the live snapshot.

    Raises:
        NotFound: no forecast is live yet.
    """
    with read_transaction(engine) as connection:
        snapshot = find_deployed_snapshot(connection)
    if snapshot is None:
        raise NotFound(NO_FORECAST)
    return snapshot
