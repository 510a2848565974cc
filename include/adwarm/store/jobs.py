"""Jobs: one row per warming run, with progress that a person can read while it runs."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select, update

from adwarm.errors import NotFound
from adwarm.store.engine import reading, upsert, writing
from adwarm.store.tables import warming_job as table

MAX_ERRORS = 50


def start(engine: Engine, run_id: str, dag_id: str, total: int, at: datetime) -> None:
    """Open the job of a run; a rerun opens it anew."""
    row = {
        "run_id": run_id, "dag_id": dag_id, "status": "running", "total": total, "done": 0, "failed": 0, "requests": 0,
        "started_at": at, "finished_at": None, "errors": [],
    }  # fmt: skip
    with writing(engine) as connection:
        upsert(connection, table, [row])


def advance(
    engine: Engine, run_id: str, *, done: int = 0, failed: int = 0, requests: int = 0, errors: list[str] | None = None
) -> None:
    """Add to a job's counts; batches of one run may call this side by side."""
    with writing(engine) as connection:
        row = connection.execute(select(table.c.errors).where(table.c.run_id == run_id).with_for_update()).one_or_none()
        if row is None:
            return
        connection.execute(
            update(table)
            .where(table.c.run_id == run_id)
            .values(
                done=table.c.done + done,
                failed=table.c.failed + failed,
                requests=table.c.requests + requests,
                errors=[*row.errors, *(errors or [])][:MAX_ERRORS],
            )
        )


def finish(engine: Engine, run_id: str, at: datetime) -> dict[str, Any]:
    """Close a job as `completed`, or `failed` when everything in it failed, and return its row.

    Raises:
        NotFound: the run has no job.
    """
    with writing(engine) as connection:
        row = connection.execute(select(table).where(table.c.run_id == run_id)).one_or_none()
        if row is None:
            raise NotFound(f"the run {run_id!r} has no job; its plan was never made")
        status = "failed" if row.failed and row.failed >= row.total else "completed"
        connection.execute(update(table).where(table.c.run_id == run_id).values(status=status, finished_at=at))
    return {**dict(row._mapping), "status": status, "finished_at": at}


def latest(engine: Engine, now: datetime, limit: int = 10) -> list[dict[str, Any]]:
    """Return the newest jobs with the time each still needs at its pace (`remaining_seconds`, None if unknown)."""
    query = select(table).order_by(table.c.started_at.desc()).limit(limit)
    with reading(engine) as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    for row in rows:
        row["remaining_seconds"] = _remaining(row, now)
    return rows


def _remaining(row: dict[str, Any], now: datetime) -> float | None:
    processed: int = row["done"] + row["failed"]
    if row["finished_at"] is not None:
        return 0.0
    if not processed:
        return None
    elapsed: timedelta = now - row["started_at"]
    left: int = row["total"] - processed
    return max(0.0, elapsed.total_seconds() / processed * left)
