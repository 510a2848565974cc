"""What is recorded about one report key around a moment: fetches, plans, runs, errors. Reads by index only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, literal, null, or_, select, union_all

from adwarm.foundation.gate import Gate, Rule
from adwarm.model import EntryKey, Job, ReportKey, Snapshot, Warm
from adwarm.store import jobs, snapshots
from adwarm.store.capacity import capacity_sample
from adwarm.store.columns import from_row
from adwarm.store.data_arrivals import table as data_arrival
from adwarm.store.entries import Entry
from adwarm.store.entries import table as entry
from adwarm.store.gates import read_row
from adwarm.store.gates import table as gate
from adwarm.store.jobs import table as warming_job
from adwarm.store.warms import table as warm

_OWN_PERIOD, _ACCOUNT_PERIOD = timedelta(days=8), timedelta(days=1)
_MOST_WARMS, _MOST_OTHERS = 400, 20
_RUN_PERIOD = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What refused calls: a scope that was parked when it was sampled, or a breaker that is open now (`at` is None)."""

    at: datetime | None
    scope: str


def list_gates(connection: Connection, account_id: str) -> list[Gate]:
    """Return the gates of the switches, and that of an account to which access is denied."""
    is_denial = and_(gate.c.rule == Rule.DENIAL, gate.c.scope == f"account:{account_id}")
    query = select(gate).where(or_(gate.c.rule == Rule.SWITCH, is_denial))
    return [read_row(row) for row in connection.execute(query).mappings()]


def find_entry(connection: Connection, key: EntryKey) -> Entry | None:
    """Return the entry of a key, or None."""
    window = (entry.c.since == key.window.since, entry.c.until == key.window.until)
    query = select(entry).where(entry.c.account_id == key.account_id, *window, entry.c.spec_hash == key.spec_hash)
    row = connection.execute(query).one_or_none()
    return None if row is None else from_row(Entry, row)


def list_warms_around(connection: Connection, key: ReportKey, at: datetime, until: datetime) -> list[Warm]:
    """Return warms that were decided before `until`, newest first: those of the key, and fetches of its account.

    The key's reach back over a week before `at`; those of the account's other date ranges, which may cover the same
    days, over a day.
    """
    own = and_(
        warm.c.date_range == key.date_range,
        warm.c.decided_at >= at - _OWN_PERIOD,
    )
    other = and_(warm.c.fetched_at.is_not(None), warm.c.decided_at >= at - _ACCOUNT_PERIOD)
    query = (
        select(warm)
        .where(
            warm.c.account_id == key.account_id,
            warm.c.decided_at >= at - _OWN_PERIOD,
            warm.c.decided_at < until,
            warm.c.report == key.report,
            or_(own, other),
        )
        .order_by(warm.c.decided_at.desc(), warm.c.id.desc())
        .limit(_MOST_WARMS)
    )
    return [from_row(Warm, row) for row in connection.execute(query)]


def find_run_before(connection: Connection, dag_id: str, at: datetime) -> Job | None:
    """Return the newest run of a DAG that started in the two days up to `at`, or None."""
    table = warming_job.c
    is_near = and_(table.started_at <= at, table.started_at >= at - _RUN_PERIOD)
    query = select(warming_job).where(is_near, table.dag_id == dag_id).order_by(table.started_at.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else jobs.read_job(row)


def find_decision_time(connection: Connection, run_id: str) -> datetime | None:
    """Return the decision time of a run's plan, which may have started later; None when its plan is empty."""
    moment: datetime | None = connection.execute(
        select(func.max(warm.c.decided_at)).where(warm.c.run_id == run_id)
    ).scalar_one()
    return moment


def list_arrivals(connection: Connection, key: EntryKey, before: datetime) -> list[datetime]:
    """Return when data of the key's days arrived or was restated before a moment, oldest first."""
    table = data_arrival.c
    days = and_(table.account_id == key.account_id, table.day.between(key.window.since, key.window.until))
    query = select(table.arrived_at).where(days, table.arrived_at <= before).order_by(table.arrived_at)
    return list(connection.execute(query).scalars())


def list_obstacles(
    connection: Connection, since: datetime, until: datetime, *, with_breakers: bool
) -> Sequence[Obstacle]:
    """Return the scopes that were parked in samples of the half-open window, oldest first, then open breakers.

    Args:
        with_breakers: whether to add the sources whose calls are refused or probed now; their past is not stored.
    """
    samples = capacity_sample.c
    parked = select(samples.at, samples.scope).where(samples.at >= since, samples.at < until, samples.is_parked)
    is_refused = (gate.c.rule == Rule.BREAKER, gate.c.closed_until.is_not(None), literal(with_breakers))
    refused = select(null().label("at"), gate.c.scope).where(*is_refused)
    query = union_all(parked, refused).subquery()
    order = (query.c.at.is_(None), query.c.at, query.c.scope)
    rows = connection.execute(select(query.c.at, query.c.scope).order_by(*order).limit(_MOST_OTHERS))
    return [Obstacle(*row) for row in rows]


def find_snapshot_at(connection: Connection, at: datetime) -> tuple[Snapshot | None, bool]:
    """Return the forecast that was live at a moment, and whether that is assumed.

    The policy names the live one and when it became live. Which one was live before that is not recorded; the newest
    one of the same kind that was stored by then is returned, or None when there is none.
    """
    deployed = snapshots.find_policy(connection)
    if deployed is None or deployed.snapshot_id is None:
        return None, False
    live = snapshots.find_snapshot(connection, deployed.snapshot_id)
    if live is None or deployed.updated_at <= at:
        return live, False
    earlier = [item for item in snapshots.list_snapshots(connection) if item.created_at <= at]
    return next((item for item in earlier if item.kind == live.kind), None), True
