"""What the tab *Actions* reads besides what the actions themselves read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from adwarm.store.database import read_statement
from adwarm.store.tables import request, warming_job

_SHOWN_RUNS = 10


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request of the queue, as the page lists it.

    Attributes:
        id: its number.
        report: the report key in words.
        status: its state; a pending one past its deadline reads as expired.
        enqueued_at: when it was requested.
        finished_at: when it ended; None while it is open.
        error: why it has no report; None when it has.
    """

    id: int
    report: str
    status: str
    enqueued_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run with failed warms."""

    run_id: str
    started_at: datetime
    failed: int
    total: int


def list_requests(
    engine: Engine, now: datetime, limit: int, ids: Sequence[int] | None = None, before_id: int | None = None
) -> list[RequestRow]:
    """Return requests, newest first: those with `ids`, or the newest, before `before_id` where that is given."""
    table = request.c
    columns = ("id", "account_id", "date_range", "report", "status", "enqueued_at", "deadline", "finished_at", "error")
    query = select(*(table[name] for name in columns)).order_by(table.id.desc()).limit(limit)
    if ids is not None:
        query = query.where(table.id.in_(ids))
    if before_id is not None:
        query = query.where(table.id < before_id)
    with read_statement(engine) as connection:
        rows = connection.execute(query).all()
    return [
        RequestRow(
            id=row.id,
            report=f"{row.account_id} {row.date_range}" + ("" if row.report == "default" else f" [{row.report}]"),
            status="expired" if row.status == "pending" and row.deadline <= now else row.status,
            enqueued_at=row.enqueued_at,
            finished_at=row.finished_at,
            error=row.error,
        )
        for row in rows
    ]


def list_failed_runs(engine: Engine) -> list[FailedRun]:
    """Return the newest runs with failed warms."""
    table = warming_job.c
    query = select(table.run_id, table.started_at, table.failed, table.total).where(table.failed > 0)
    with read_statement(engine) as connection:
        rows = connection.execute(query.order_by(table.started_at.desc()).limit(_SHOWN_RUNS)).all()
    return [FailedRun(*row) for row in rows]
