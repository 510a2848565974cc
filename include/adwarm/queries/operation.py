"""How the work goes: what fetches take, and what failed when it ran last. Each function runs one statement."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Engine, Row, and_, case, cast, func, literal, null, select, true, union_all
from sqlalchemy.types import Integer, String, Text

from adwarm.model import Mode, WarmStatus
from adwarm.store.alerts import alert
from adwarm.store.capacity import capacity_grant
from adwarm.store.columns import seconds_between
from adwarm.store.database import read_transaction
from adwarm.store.entries import table as entry
from adwarm.store.jobs import table as warming_job
from adwarm.store.maintenance_steps import table as maintenance_step
from adwarm.store.requests import table as request
from adwarm.store.snapshots import forecast_snapshot, policy
from adwarm.store.warms import table as warm


class ReportCost(NamedTuple):
    """What the fetches of a report took: their number, their calls, and the seconds of one on average."""

    report: str
    fetches: int
    calls: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class FetchCosts:
    """What fetches took.

    Attributes:
        reports: by report, the most calls first.
        lifetime: mean seconds that a fetched report stayed fresh; None without one.
        keys: reports that the deployed forecast knows; None before the first one.
    """

    reports: tuple[ReportCost, ...]
    lifetime: float | None
    keys: int | None

    @property
    def fetches(self) -> int:
        """Number of fetches."""
        return sum(item.fetches for item in self.reports)

    @property
    def requests(self) -> int | None:
        """Their calls; None without one."""
        return sum(item.calls for item in self.reports) if self.reports else None


@dataclass(frozen=True, slots=True)
class FailedWork:
    """Something whose last run failed.

    Attributes:
        kind: `DAG` or `step of maintenance`.
        name: of the DAG or the step.
        at: when the run started.
        run_id: the run; None for a step.
        failed: reports that failed in it; None for a step.
        error: why the step failed; None for a DAG.
    """

    kind: str
    name: str
    at: datetime
    run_id: str | None
    failed: int | None
    error: str | None


def get_fetch_costs(engine: Engine, since: datetime) -> FetchCosts:
    """Return what a fetch since then took, and how many reports are known."""
    calls = func.sum(warm.c.requests)
    fetched = (
        select(
            warm.c.report,
            func.count().label("fetches"),
            calls.label("calls"),
            func.avg(warm.c.seconds).label("seconds"),
            func.sum(seconds_between(warm.c.fetched_at, warm.c.expires_at)).label("lifetimes"),
            func.count(warm.c.expires_at).label("ends"),
        )
        .where(warm.c.decided_at >= since, warm.c.mode == Mode.LIVE, warm.c.status == WarmStatus.FETCHED)
        .group_by(warm.c.report)
        .subquery()
    )
    deployed = select(policy.c.snapshot_id).limit(1).scalar_subquery()
    keys = select(forecast_snapshot.c["keys"]).where(forecast_snapshot.c.id == deployed).scalar_subquery()
    one = select(keys.label("key_count")).subquery()
    query = select(fetched, one.c.key_count).select_from(one.outerjoin(fetched, true()))
    with read_transaction(engine) as connection:
        rows = connection.execute(query.order_by(fetched.c.calls.desc(), fetched.c.report)).all()
    reports = [row for row in rows if row.report is not None]
    ends = sum(row.ends for row in reports)
    lifetime = sum(float(row.lifetimes or 0) for row in reports) / ends if ends else None
    return FetchCosts(
        tuple(
            ReportCost(row.report, row.fetches, int(row.calls), None if row.seconds is None else float(row.seconds))
            for row in reports
        ),
        lifetime,
        rows[0].key_count,
    )


def list_failures(engine: Engine, since: datetime, limit: int) -> list[FailedWork]:
    """Return what failed when it ran last: DAGs that made a plan since then, and steps of maintenance."""
    job, step = warming_job.c, maintenance_step.c
    order = func.row_number().over(partition_by=job.dag_id, order_by=job.started_at.desc())
    ended = select(job.dag_id, job.run_id, job.status, job.started_at, job.failed, order.label("place")).where(
        job.started_at >= since, job.finished_at.is_not(None)
    )
    newest = ended.subquery()
    dags = select(
        literal("DAG").label("kind"),
        newest.c.dag_id.label("name"),
        newest.c.started_at.label("at"),
        newest.c.run_id,
        newest.c.failed,
        cast(null(), Text).label("error"),
    ).where(newest.c.place == 1, newest.c.status == "failed")
    steps = select(
        literal("step of maintenance"),
        step.name,
        step.started_at,
        cast(null(), String),
        cast(null(), Integer),
        step.error,
    ).where(step.error.is_not(None))
    rows = union_all(dags, steps).subquery()
    with read_transaction(engine) as connection:
        failures = connection.execute(select(rows).order_by(rows.c.at.desc()).limit(limit))
        return [FailedWork(**row._mapping) for row in failures]


def get_situation(engine: Engine, now: datetime) -> Row[Any]:
    """Return whether anything is stored, the newest run, open alerts, and requests that wait: one row."""
    waits = and_(request.c.status == "pending", request.c.deadline > now)
    columns = {
        "any_entry": select(func.min(entry.c.account_id)),
        "mode": select(policy.c.mode).limit(1),
        "newest_run": select(func.max(warming_job.c.started_at)),
        "open_alerts": select(func.count()).select_from(alert).where(alert.c.resolved_at.is_(None)),
        "waiting": select(func.count()).select_from(request).where(waits),
        "oldest_wait": select(func.min(request.c.enqueued_at)).where(waits),
    }
    query = select(*(part.scalar_subquery().label(name) for name, part in columns.items()))
    with read_transaction(engine) as connection:
        return connection.execute(query).one()


def list_grants(engine: Engine, now: datetime) -> list[Row[Any]]:
    """Return the grants that have not expired, by worker and class: permits, calls' cost, and since when."""
    table = capacity_grant.c
    columns = (
        func.sum(table.permits).label("permits"),
        func.min(table.granted_at).label("oldest"),
        func.min(table.expires_at).label("expires_at"),
        func.sum(case((table.probe, 1), else_=0)).label("probes"),
    )
    query = select(table.owner, table.priority, *columns).where(table.expires_at > now.timestamp())
    with read_transaction(engine) as connection:
        grouped = query.group_by(table.owner, table.priority).order_by(table.owner, table.priority)
        return list(connection.execute(grouped.limit(100)))
