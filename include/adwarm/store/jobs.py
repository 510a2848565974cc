"""Jobs: one row per warming run, with progress that a person can read while it runs."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, update

from adwarm.foundation.errors import NotFound
from adwarm.store.database import read_transaction, upsert, write_transaction
from adwarm.store.tables import warming_job as table

MAX_ERRORS = 50


def start(engine: Engine, run_id: str, dag_id: str, total: int, at: datetime) -> None:
    """Open the job of a run; a rerun opens it anew."""
    row = {
        "run_id": run_id,
        "dag_id": dag_id,
        "status": "running",
        "total": total,
        "done": 0,
        "failed": 0,
        "requests": 0,
        "started_at": at,
        "finished_at": None,
        "errors": [],
    }
    with write_transaction(engine) as connection:
        upsert(connection, table, [row])


def add_progress(
    engine: Engine, run_id: str, *, done: int = 0, failed: int = 0, requests: int = 0, errors: list[str] | None = None
) -> None:
    """Add to a job's counts; batches of one run may call this side by side."""
    with write_transaction(engine) as connection:
        add_counts(connection, run_id, done=done, failed=failed, requests=requests, errors=errors or ())


def add_counts(
    connection: Connection, run_id: str, *, done: int, failed: int, requests: int, errors: Sequence[str] = ()
) -> None:
    """Add to a job's counts within the caller's transaction; a run without a job is left alone."""
    row = lock(connection, run_id)
    if row is None:
        return
    counts = {"done": row.done + done, "failed": max(0, row.failed + failed), "requests": row.requests + requests}
    _update_counts(connection, row, **counts, errors=[*row.errors, *errors][:MAX_ERRORS])


def retract_failures(connection: Connection, run_id: str, keys: Sequence[str]) -> None:
    """Count keys no longer as failed, because they are tried again, and forget what they failed with."""
    row = lock(connection, run_id) if keys else None
    if row is None:
        return
    again = tuple(f"{key}: " for key in keys)
    errors = [text for text in row.errors if not text.startswith(again)]
    _update_counts(connection, row, failed=max(0, row.failed - len(keys)), errors=errors)


def finish(engine: Engine, run_id: str, at: datetime) -> dict[str, Any]:
    """Close a job as `completed`, or `failed` when everything in it failed, and return its row.

    Raises:
        NotFound: the run has no job.
    """
    with write_transaction(engine) as connection:
        row = connection.execute(select(table).where(table.c.run_id == run_id)).one_or_none()
        if row is None:
            raise NotFound(f"the run {run_id!r} has no job; its plan was never made")
        status = _final_status(row.failed, row.total)
        connection.execute(update(table).where(table.c.run_id == run_id).values(status=status, finished_at=at))
    return {**dict(row._mapping), "status": status, "finished_at": at}


def list_latest(engine: Engine, now: datetime, limit: int = 10) -> list[dict[str, Any]]:
    """Return the newest jobs with the time each still needs at its pace (`remaining_seconds`, None if unknown)."""
    query = select(table).order_by(table.c.started_at.desc()).limit(limit)
    with read_transaction(engine) as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    for row in rows:
        row["remaining_seconds"] = _remaining(row, now)
    return rows


def lock(connection: Connection, run_id: str) -> Row[Any] | None:
    """Return a job's row, locked for the rest of the transaction; None when the run has no job."""
    return connection.execute(select(table).where(table.c.run_id == run_id).with_for_update()).one_or_none()


def _update_counts(connection: Connection, row: Row[Any], **values: Any) -> None:
    """Write counts; a job that is closed stays closed, and its verdict follows them."""
    if row.finished_at is not None:
        values["status"] = _final_status(values["failed"], row.total)
    connection.execute(update(table).where(table.c.run_id == row.run_id).values(**values))


def _final_status(failed: int, total: int) -> str:
    return "failed" if failed and failed >= total else "completed"


def _remaining(row: dict[str, Any], now: datetime) -> float | None:
    processed: int = row["done"] + row["failed"]
    if row["finished_at"] is not None:
        return 0.0
    if not processed:
        return None
    elapsed: timedelta = now - row["started_at"]
    left: int = row["total"] - processed
    return max(0.0, elapsed.total_seconds() / processed * left)
