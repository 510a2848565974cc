"""Rows of policy reviews."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.store import write_transaction
from adwarm.store.reviews import find_newest_review, find_review, save_decision, save_review

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def test_a_review_is_kept_and_closed(engine: Engine) -> None:
    """A second review of the same run replaces the first; the newest is found; a decision is written down."""
    with write_transaction(engine) as connection:
        assert find_newest_review(connection) is None
        for run_id, days in (("a", 0), ("b", 7), ("b", 7)):
            save_review(
                connection,
                {
                    "run_id": run_id,
                    "at": NOW + timedelta(days=days),
                    "verdict": "proposed",
                    "figures": {"ece": 0.02},
                },
            )
        save_decision(connection, "b", "promoted", by="somebody", at=NOW)
        newest = find_newest_review(connection) or {}
        assert (newest["run_id"], newest["verdict"], newest["decided_by"]) == ("b", "promoted", "somebody")
        assert (find_review(connection, "a") or {})["figures"] == {"ece": 0.02}
        assert find_review(connection, "c") is None
