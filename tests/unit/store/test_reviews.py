"""Stored policy reviews."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import PolicyReview
from adwarm.store import write_transaction
from adwarm.store.reviews import find_newest_review, find_review, save_decision, save_review

NOW = datetime(2026, 3, 2, tzinfo=UTC)
REVIEW = PolicyReview("a", NOW, "proposed", "population", "adwarm", None, "/reports/a.html", {"ece": 0.02})


def test_reviews_survive_the_table(engine: Engine) -> None:
    """Every field comes back; a second review of the same run replaces the first; a decision is recorded."""
    newer = replace(REVIEW, run_id="b", at=NOW + timedelta(days=7))
    with write_transaction(engine) as connection:
        assert find_newest_review(connection) is None
        for review in (REVIEW, newer, newer):
            save_review(connection, review)
        save_decision(connection, "b", "promoted", by="somebody", at=NOW)
        decided = replace(newer, result="promoted", decided_by="somebody", decided_at=NOW)
        assert find_newest_review(connection) == decided
        assert find_review(connection, "a") == REVIEW
        assert find_review(connection, "c") is None
