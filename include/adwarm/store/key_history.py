"""What is recorded about one report key around a moment: fetches, plans, runs, errors. Reads by index only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, func, literal, null, or_, select, union_all

from adwarm.foundation.gate import Gate, Rule, to_datetime
from adwarm.model import EntryKey, Job, ReportKey, Snapshot, Warm
from adwarm.store import denials, jobs, snapshots
from adwarm.store.accounts import table as account
from adwarm.store.capacity import capacity_sample
from adwarm.store.columns import from_row
from adwarm.store.data_arrivals import table as data_arrival
from adwarm.store.entries import table as entry
from adwarm.store.error_events import ErrorEvent, error_event
from adwarm.store.gates import read_row
from adwarm.store.gates import table as gate
from adwarm.store.jobs import table as warming_job
from adwarm.store.switches import SwitchState, to_switches
from adwarm.store.warms import table as warm

_OWN_PERIOD, _ACCOUNT_PERIOD = timedelta(days=8), timedelta(days=1)
_MOST_WARMS, _MOST_OTHERS = 400, 20
_RUN_PERIOD = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class AccountHistory:
    """An account with the times of its denials.

    Attributes:
        status: `active`, `denied` or `closed`, as it is used now.
        status_reason: why, for a human; empty when there is nothing to say.
        denied_at: when the latest denial was recorded; None without one.
        updated_at: when its status was last written.
    """

    status: str
    status_reason: str
    data_zone: str
    reader_zone: str
    denied_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """The entry that is stored now for the days that a key covered at a moment."""

    fetched_at: datetime
    expires_at: datetime | None
    degraded: bool
    degraded_reason: str | None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What refused calls: a scope that was parked when it was sampled, or a breaker that is open now (`at` is None)."""

    at: datetime | None
    scope: str


def find_account(connection: Connection, account_id: str) -> tuple[AccountHistory | None, list[SwitchState]]:
    """Return the account, or None, and every switch that was ever changed."""
    one = select(literal(1).label("one")).subquery()
    is_shown = or_(gate.c.rule == Rule.SWITCH, denials.of_account(account_id))
    switches = [column.label(f"gate_{column.name}") for column in gate.c]
    from_ = one.outerjoin(account, account.c.id == account_id).outerjoin(gate, is_shown)
    rows = connection.execute(select(account, *switches).select_from(from_)).all()
    gates = [
        read_row({column.name: row._mapping[f"gate_{column.name}"] for column in gate.c})
        for row in rows
        if row.gate_scope is not None
    ]
    states = [state for state in to_switches(gates).values() if state.changed_at is not None]
    return _describe_account(rows[0], [item for item in gates if item.rule is Rule.DENIAL]), states


def _describe_account(row: Row[Any], denied: Sequence[Gate]) -> AccountHistory | None:
    if row.id is None:
        return None
    whole = next((item for item in denied if item.scope == f"account:{row.id}"), None)
    status, reason = (row.status, row.status_reason) if whole is None else ("denied", whole.why)
    denied_at = max((to_datetime(item.since) for item in denied), default=None)
    return from_row(
        AccountHistory,
        row,
        status=row.user_status or status,
        status_reason=reason or "",
        reader_zone=row.user_reader_zone or row.reader_zone or row.data_zone,
        denied_at=denied_at,
    )


def find_entry(connection: Connection, key: EntryKey) -> StoredEntry | None:
    """Return the entry of a key, or None."""
    columns = (entry.c.fetched_at, entry.c.expires_at, entry.c.degraded, entry.c.degraded_reason)
    window = (entry.c.since == key.window.since, entry.c.until == key.window.until)
    query = select(*columns).where(entry.c.account_id == key.account_id, *window, entry.c.spec_hash == key.spec_hash)
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredEntry(*row)


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


def list_errors(connection: Connection, account_id: str, since: datetime, until: datetime) -> list[ErrorEvent]:
    """Return the first failed calls for an account in the half-open window, oldest first."""
    table = error_event.c
    query = (
        select(error_event)
        .where(table.account_id == account_id, table.at >= since, table.at < until)
        .order_by(table.at)
        .limit(_MOST_OTHERS)
    )
    return [from_row(ErrorEvent, row) for row in connection.execute(query)]


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
