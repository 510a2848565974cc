"""Policy reviews: what each one found and proposed, and what was decided."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from adwarm.model import PolicyReview
from adwarm.store.database import upsert
from adwarm.store.tables import policy_review as table


def save_review(connection: Connection, review: PolicyReview) -> None:
    """Insert a review; one of the same run is replaced."""
    row = {
        "run_id": review.run_id,
        "at": review.at,
        "verdict": review.result,
        "live_kind": review.live_kind,
        "proposed_kind": review.proposed_kind,
        "proposed_snapshot": review.proposed_snapshot,
        "report": review.page,
        "figures": review.figures,
        "decided_by": review.decided_by,
        "decided_at": review.decided_at,
    }
    upsert(connection, table, [row])


def find_review(connection: Connection, run_id: str) -> PolicyReview | None:
    """Return the review of a run, or None."""
    row = connection.execute(select(table).where(table.c.run_id == run_id)).one_or_none()
    return None if row is None else _review(row)


def list_reviews(connection: Connection, limit: int) -> list[PolicyReview]:
    """Return at most `limit` reviews, the latest first."""
    query = select(table).order_by(table.c.at.desc(), table.c.run_id.desc()).limit(limit)
    return [_review(row) for row in connection.execute(query)]


def find_newest_review(connection: Connection) -> PolicyReview | None:
    """Return the latest review, or None."""
    return next(iter(list_reviews(connection, 1)), None)


def save_decision(connection: Connection, run_id: str, decision: str, *, by: str, at: datetime) -> None:
    """Record what was decided on a review's proposal, and who decided."""
    values = {"verdict": decision, "decided_by": by[:250], "decided_at": at}
    connection.execute(update(table).where(table.c.run_id == run_id).values(values))


def _review(row: Row[Any]) -> PolicyReview:
    values = dict(row._mapping)
    result, page = values.pop("verdict"), values.pop("report")
    return PolicyReview(**values, result=result, page=page)
