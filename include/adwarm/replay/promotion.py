"""Carries out what a review came to: one transaction each, and a second time it changes nothing."""

from datetime import datetime

from sqlalchemy import Connection, Engine

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import PolicyReview, Snapshot
from adwarm.replay.review_rules import ReviewResult
from adwarm.store import write_transaction
from adwarm.store.reviews import find_review, save_decision
from adwarm.store.snapshots import find_deployed_snapshot, record_choice, set_policy

REVIEW_ACTOR = "adwarm_policy_review"
"""Who chose, where no person did."""


def fall_back(connection: Connection, snapshot: Snapshot, *, reason: str, at: datetime) -> None:
    """Let the policy name the fallback, and training keep its kind until somebody approves another."""
    _set_live(connection, snapshot.id, snapshot.kind, by=REVIEW_ACTOR, reason=reason, at=at)


def promote(engine: Engine, run_id: str, *, by: str, at: datetime) -> PolicyReview:
    """Make the forecast that a review proposed live, and return the review.

    Args:
        by: who approved.

    Raises:
        NotFound: there is no such review.
        BadRequest: it proposed nothing, was rejected, or another kind is live by now.
    """
    with write_transaction(engine) as connection:
        review = _get_review(connection, run_id)
        if review.result == ReviewResult.PROMOTED:
            return review
        if review.result != ReviewResult.PROPOSED:
            raise BadRequest(f"review {run_id} has nothing to promote: it is {review.result}")
        if (live := _live_kind(connection)) != review.live_kind:
            raise BadRequest(f"{live} has gone live since review {run_id} was made; wait for the next review")
        kind, snapshot_id = str(review.proposed_kind), str(review.proposed_snapshot)
        _set_live(connection, snapshot_id, kind, by=by, reason=str(review.figures["why"]), at=utc(at))
        save_decision(connection, run_id, ReviewResult.PROMOTED, by=by, at=utc(at))
        return _get_review(connection, run_id)


def reject(engine: Engine, run_id: str, *, by: str, at: datetime) -> PolicyReview:
    """Write down that a proposal was not approved, and return the review; one that is decided stays as it is.

    Raises:
        NotFound: there is no such review.
    """
    with write_transaction(engine) as connection:
        if _get_review(connection, run_id).result == ReviewResult.PROPOSED:
            save_decision(connection, run_id, ReviewResult.REJECTED, by=by, at=utc(at))
        return _get_review(connection, run_id)


def _set_live(connection: Connection, snapshot_id: str, kind: str, *, by: str, reason: str, at: datetime) -> None:
    set_policy(connection, snapshot_id, at)
    record_choice(connection, kind, by=by, why=reason, at=at)


def _get_review(connection: Connection, run_id: str) -> PolicyReview:
    review = find_review(connection, run_id)
    if review is None:
        raise NotFound(f"there is no review of the run {run_id!r}; run the DAG adwarm_policy_review")
    return review


def _live_kind(connection: Connection) -> str | None:
    snapshot = find_deployed_snapshot(connection)
    return None if snapshot is None else snapshot.kind
