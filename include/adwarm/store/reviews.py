"""Rows of policy reviews: what each found and proposed, and what was decided on it."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from adwarm.store.database import upsert
from adwarm.store.tables import policy_review as table


def save_review(connection: Connection, row: dict[str, Any]) -> None:
    """Insert the row of a review; one of the same run is replaced."""
    upsert(connection, table, [row])


def find_review(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """Return the review of a run, or None."""
    found = connection.execute(select(table).where(table.c.run_id == run_id)).mappings().first()
    return None if found is None else dict(found)


def find_newest_review(connection: Connection) -> dict[str, Any] | None:
    """Return the review that was made last, or None."""
    query = select(table).order_by(table.c.at.desc(), table.c.run_id.desc()).limit(1)
    found = connection.execute(query).mappings().first()
    return None if found is None else dict(found)


def save_decision(connection: Connection, run_id: str, decision: str, *, by: str, at: datetime) -> None:
    """Write down what was decided on a review's proposal, and by whom."""
    values = {"verdict": decision, "decided_by": by[:250], "decided_at": at}
    connection.execute(update(table).where(table.c.run_id == run_id).values(values))
