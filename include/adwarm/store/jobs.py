"""Jobs: one row per warming run, updated while it runs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, case, func, select, update
from sqlalchemy.schema import Index

from adwarm.foundation.errors import NotFound
from adwarm.model import Job
from adwarm.model.warm import LONGEST_RUN
from adwarm.store.columns import from_row, table_of, to_row
from adwarm.store.database import execute_together, read_transaction, upsert, write_transaction

table = table_of(
    Job,
    "warming_job",
    Index(None, "started_at"),
    key=("run_id",),
    grows="runs: up to 96 a day",
    bound="deleted after `ADWARM_RETENTION__HISTORY_DAYS`; at most 50 errors per row",
)


_ADD_DONE = "UPDATE warming_job SET done = done + ?, requests = requests + ? WHERE run_id = ? AND finished_at IS NULL"
MAX_ERRORS = 50


def start(engine: Engine, run_id: str, dag_id: str, total: int, at: datetime) -> None:
    """Insert the job of a run; a rerun resets it."""
    job = Job(
        run_id,
        dag_id,
        "running",
        total,
        done=0,
        failed=0,
        requests=0,
        started_at=at,
        finished_at=None,
        errors=(),
    )
    with write_transaction(engine) as connection:
        upsert(connection, table, [to_row(job)])


def add_progress(
    engine: Engine, run_id: str, *, done: int = 0, failed: int = 0, requests: int = 0, errors: list[str] | None = None
) -> None:
    """Add to a job's counts. Concurrent batches of one run may call it."""
    with write_transaction(engine) as connection:
        job = lock(connection, run_id)
        add_counts(connection, job, done=done, failed=failed, requests=requests, errors=errors or ())


def add_done(connection: Connection, run_id: str, *, done: int, requests: int) -> bool:
    """Add to the counts of a running job by one statement, which locks it; False when the run has no running job."""
    return bool(execute_together(connection, [(_ADD_DONE, (done, requests, run_id))]).rowcount)


def add_counts(
    connection: Connection, job: Job | None, *, done: int, failed: int, requests: int, errors: Sequence[str] = ()
) -> None:
    """Add to the counts of a job that the caller's transaction has locked; does nothing when the run has no job."""
    if job is None:
        return
    counts = {"done": job.done + done, "failed": max(0, job.failed + failed), "requests": job.requests + requests}
    _update_counts(connection, job, **counts, errors=[*job.errors, *errors][:MAX_ERRORS])


def retract_failures(connection: Connection, run_id: str, keys: Sequence[str]) -> None:
    """Remove keys that are tried again from a job's failures, and their errors."""
    job = lock(connection, run_id) if keys else None
    if job is None:
        return
    prefixes = tuple(f"{key}: " for key in keys)
    errors = [text for text in job.errors if not text.startswith(prefixes)]
    _update_counts(connection, job, failed=max(0, job.failed - len(keys)), errors=errors)


def finish(engine: Engine, run_id: str, at: datetime) -> Job:
    """Close a job as `completed`, or as `failed` when every key of it failed, and return it.

    Raises:
        NotFound: the run has no job.
    """
    with write_transaction(engine) as connection:
        row = connection.execute(select(table).where(table.c.run_id == run_id)).one_or_none()
        if row is None:
            raise NotFound(f"the run {run_id!r} has no job; its plan was never made")
        job = replace(read_job(row), status=_final_status(row.failed, row.total), finished_at=at)
        connection.execute(update(table).where(table.c.run_id == run_id).values(status=job.status, finished_at=at))
    return job


def list_latest(engine: Engine, limit: int = 10, running_at: datetime | None = None) -> list[Job]:
    """Return the jobs that started last, newest first; with a time, those that run then come before the others."""
    query = select(table).limit(limit)
    if running_at is not None:
        is_running = and_(table.c.finished_at.is_(None), table.c.started_at > running_at - LONGEST_RUN)
        query = query.order_by(case((is_running, 0), else_=1))
    query = query.order_by(table.c.started_at.desc())
    with read_transaction(engine) as connection:
        return [read_job(row) for row in connection.execute(query)]


def list_failed(engine: Engine, limit: int) -> list[Job]:
    """Return the newest jobs in which reports failed."""
    query = select(table).where(table.c.failed > 0).order_by(table.c.started_at.desc()).limit(limit)
    with read_transaction(engine) as connection:
        return [read_job(row) for row in connection.execute(query)]


def find_newest_run(engine: Engine, dag_id: str) -> str | None:
    """Return the run of the newest job of a DAG; None when it has none."""
    query = select(table.c.run_id).where(table.c.dag_id == dag_id).order_by(table.c.started_at.desc()).limit(1)
    with read_transaction(engine) as connection:
        return connection.execute(query).scalar_one_or_none()


def find_last_start(engine: Engine, dag_id: str) -> datetime | None:
    """Return when the newest job of a DAG started; None when it has none."""
    query = select(func.max(table.c.started_at)).where(table.c.dag_id == dag_id)
    with read_transaction(engine) as connection:
        last: datetime | None = connection.execute(query).scalar_one()
    return last


def find_completed(engine: Engine, dag_id: str, since: datetime) -> Job | None:
    """Return the newest job of a DAG that started at or after `since` and is completed, or None."""
    query = select(table).where(table.c.dag_id == dag_id, table.c.started_at >= since, table.c.status == "completed")
    with read_transaction(engine) as connection:
        row = connection.execute(query.order_by(table.c.started_at.desc()).limit(1)).one_or_none()
    return None if row is None else read_job(row)


def lock(connection: Connection, run_id: str) -> Job | None:
    """Return a job and lock its row until the end of the transaction; None when the run has no job."""
    row = connection.execute(select(table).where(table.c.run_id == run_id).with_for_update()).one_or_none()
    return None if row is None else read_job(row)


def _update_counts(connection: Connection, job: Job, **values: Any) -> None:
    """Write counts. A finished job stays finished, and its status follows the counts."""
    if job.finished_at is not None:
        values["status"] = _final_status(values["failed"], job.total)
    connection.execute(update(table).where(table.c.run_id == job.run_id).values(**values))


def _final_status(failed: int, total: int) -> str:
    return "failed" if failed and failed >= total else "completed"


def read_job(row: Row[Any]) -> Job:
    """Return the job in a row with the columns of the table."""
    return from_row(Job, row, errors=tuple(row.errors))
