"""Finds the stored reviews and reads their pages."""

from datetime import datetime
from typing import Any

from adwarm.foundation.errors import NotFound
from adwarm.model import PolicyReview
from adwarm.replay.review_rules import get_review_headline
from adwarm.store import Context, read_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.snapshots import find_newest_review, find_review

NEWEST = "newest"
"""Stands for the run of the newest review."""


def get_review(context: Context, run_id: str) -> PolicyReview:
    """Return the stored review of a run, or the newest one for `NEWEST`.

    Raises:
        NotFound: there is no such review.
    """
    with read_transaction(context.engine) as connection:
        review = find_newest_review(connection) if run_id == NEWEST else find_review(connection, run_id)
    if review is None and run_id == NEWEST:
        raise NotFound("there is no review yet; the DAG adwarm_policy_review makes one every Monday, or when triggered")
    if review is None:
        raise NotFound(f"there is no review of the run {run_id[:250]!r}; adwarm review shows the runs")
    return review


def read_page(context: Context, run_id: str) -> bytes:
    """Return the HTML page of a review.

    Raises:
        NotFound: there is no such review, it replayed nothing, or its file is gone.
    """
    review = get_review(context, run_id)
    if review.page is None:
        raise NotFound(f"the review of the run {review.run_id!r} has no page: {review.figures['why']}")
    try:
        return PageFolder(context.settings.data).read(review.page.replace("\\", "/").rpartition("/")[2])
    except FileNotFoundError:
        raise NotFound(f"the page of the review of the run {review.run_id!r} is gone: {review.page}") from None


def describe_review(review: PolicyReview) -> dict[str, str | datetime | None]:
    """Return what a review came to, as names and values for people and programs."""
    figures: dict[str, Any] = dict(review.figures)
    return {
        "run_id": review.run_id,
        "at": review.at,
        "verdict": review.result,
        "headline": get_review_headline(review),
        "why": str(figures["why"]),
        "live_kind": review.live_kind,
        "source": figures.get("source"),
        "proposed_kind": review.proposed_kind,
        "decided_by": review.decided_by,
        "decided_at": review.decided_at,
        "report": review.page,
    }
