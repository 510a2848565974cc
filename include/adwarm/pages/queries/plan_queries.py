"""The SQL of the tab *Plan*: the runs, and the warms of one run. Everything is read by index, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, func, select

from adwarm.store.database import read_transaction
from adwarm.store.tables import warm, warming_job

PAGE_ROWS: Final = 50
MOST_PAGES: Final = 200
_RUNS: Final = 12
_COLUMNS: Final = (
    "id",
    "account_id",
    "date_range",
    "report",
    "status",
    "reason",
    "confidence",
    "predicted_open",
    "warm_at",
    "benefit",
    "price",
    "explanation",
    "strategy",
    "error",
    "decided_at",
)


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which warms of a run to show; an empty text leaves a field free.

    Attributes:
        account_id: the account.
        range_text: part of the date range.
        status: of the warm.
        reason: why it is in the plan.
    """

    account_id: str = ""
    range_text: str = ""
    status: str = ""
    reason: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as SQL."""
        equal = {warm.c.account_id: self.account_id, warm.c.status: self.status, warm.c.reason: self.reason}
        found = [column == value for column, value in equal.items() if value]
        return [*found, *([warm.c.date_range.contains(self.range_text, autoescape=True)] if self.range_text else [])]


@dataclass(frozen=True, slots=True)
class PlanCount:
    """How many warms of a run have a status, for one reason."""

    status: str
    reason: str
    count: int


def find_newest_run(engine: Engine, dag_id: str = "") -> str | None:
    """Return the run with the newest plan, of a DAG if one is named; None without any."""
    newest = select(warm.c.run_id).order_by(warm.c.decided_at.desc()).limit(1)
    of_dag = (
        select(warming_job.c.run_id)
        .where(warming_job.c.dag_id == dag_id)
        .order_by(warming_job.c.started_at.desc())
        .limit(1)
    )
    with read_transaction(engine) as connection:
        return connection.execute(of_dag if dag_id else newest).scalar_one_or_none()


def count_warms(engine: Engine, run_id: str) -> list[PlanCount]:
    """Return how many warms a run has, by status and reason."""
    query = (
        select(warm.c.status, warm.c.reason, func.count())
        .where(warm.c.run_id == run_id)
        .group_by(warm.c.status, warm.c.reason)
        .order_by(func.count().desc(), warm.c.status, warm.c.reason)
    )
    with read_transaction(engine) as connection:
        return [PlanCount(*row) for row in connection.execute(query)]


def list_page(engine: Engine, run_id: str, wanted: KeyFilter, page: int) -> tuple[list[Row[Any]], bool]:
    """Return a page of a run's warms, the greatest benefit first, and whether there are more.

    Args:
        engine: the database.
        run_id: the run.
        wanted: which of its warms.
        page: from 0 to `MOST_PAGES` - 1.
    """
    query = (
        select(*(warm.c[name] for name in _COLUMNS))
        .where(warm.c.run_id == run_id, *wanted.conditions())
        .order_by(warm.c.benefit.desc(), warm.c.id)
        .offset(page * PAGE_ROWS)
        .limit(PAGE_ROWS + 1)
    )
    with read_transaction(engine) as connection:
        rows = list(connection.execute(query))
    return rows[:PAGE_ROWS], len(rows) > PAGE_ROWS


def list_runs(engine: Engine) -> Sequence[Row[Any]]:
    """Return the newest runs, newest first."""
    names = ("run_id", "dag_id", "status", "total", "done", "failed", "requests", "started_at", "finished_at")
    query = select(*(warming_job.c[name] for name in names)).order_by(warming_job.c.started_at.desc()).limit(_RUNS)
    with read_transaction(engine) as connection:
        return list(connection.execute(query))


def describe_moment(row: Row[Any]) -> datetime:
    """Return the moment at which a reader would ask for a warm's key."""
    moment: datetime = row.predicted_open or row.warm_at or row.decided_at
    return moment
