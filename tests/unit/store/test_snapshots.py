"""Stored forecasts, the deployed policy, and reviews of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.model import DeployedPolicy, Mode, PolicyReview, Snapshot
from adwarm.store import read_transaction, write_transaction
from adwarm.store.snapshots import (
    LIVE,
    PlanHour,
    find_deployed_snapshot,
    find_newest_review,
    find_policy,
    find_review,
    find_snapshot,
    insert_snapshot,
    list_outlook,
    record_choice,
    save_decision,
    save_outlook,
    save_review,
    set_policy,
)

NOW = datetime(2026, 3, 2, tzinfo=UTC)
REVIEW = PolicyReview("a", NOW, "proposed", "population", "adwarm", None, "/reports/a.html", {"ece": 0.02})


def _snapshot(name: str, **values: Any) -> Snapshot:
    snapshot = Snapshot(
        id=name * 64,
        kind="hour_of_week",
        version="1",
        object_hash="f" * 64,
        trained_from=NOW - timedelta(days=56),
        trained_until=NOW,
        keys=3,
        features=("hour",),
        metrics={"brier": 0.1},
        created_at=NOW,
    )
    return replace(snapshot, **values)


def test_a_snapshot_is_never_replaced(engine: Engine) -> None:
    """The id is a hash of the content, so a second row with it changes nothing."""
    with write_transaction(engine) as connection:
        insert_snapshot(connection, _snapshot("a"))
        insert_snapshot(connection, _snapshot("a", keys=9))
    with read_transaction(engine) as connection:
        assert find_snapshot(connection, "a" * 64) == _snapshot("a")
        assert find_snapshot(connection, "b" * 64) is None


def test_the_policy_names_one_snapshot(engine: Engine) -> None:
    """Deploying a second snapshot replaces the first."""
    with write_transaction(engine) as connection:
        assert find_policy(connection) is None
        assert find_deployed_snapshot(connection) is None
        for name in "ab":
            insert_snapshot(connection, _snapshot(name))
            set_policy(connection, name * 64, NOW, mode=Mode.SHADOW)
        assert find_policy(connection) == DeployedPolicy(LIVE, "b" * 64, Mode.SHADOW, NOW)
        assert find_deployed_snapshot(connection) == _snapshot("b")


def test_a_choice_outlives_the_next_training(engine: Engine) -> None:
    """The recorded choice stays when the policy names a newer snapshot."""
    with write_transaction(engine) as connection:
        for name in "ab":
            insert_snapshot(connection, _snapshot(name))
        set_policy(connection, "a" * 64, NOW)
        record_choice(connection, "population", by="somebody", why="it is calm", at=NOW)
        set_policy(connection, "b" * 64, NOW)
        assert find_policy(connection) == DeployedPolicy(
            LIVE,
            "b" * 64,
            Mode.LIVE,
            NOW,
            chosen_kind="population",
            chosen_by="somebody",
            chosen_at=NOW,
            chosen_why="it is calm",
        )


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


def _outlook(planned_at: datetime, opens: float) -> list[PlanHour]:
    hour = timedelta(hours=1)
    return [PlanHour(planned_at + number * hour, opens, 1, 2.0, 600.0, planned_at) for number in range(24)]


def test_a_later_outlook_replaces_an_earlier_one(engine: Engine) -> None:
    """That of the newest decision is kept, also when another forecast is deployed; without one there is none."""
    early, late = _outlook(NOW, 1.0), _outlook(NOW + timedelta(hours=2), 2.0)
    assert not save_outlook(engine, early)
    with write_transaction(engine) as connection:
        insert_snapshot(connection, _snapshot("a"))
        set_policy(connection, "a" * 64, NOW)
    assert not save_outlook(engine, [])
    assert save_outlook(engine, early)
    assert save_outlook(engine, late)
    assert not save_outlook(engine, _outlook(NOW + timedelta(hours=1), 3.0))
    with write_transaction(engine) as connection:
        set_policy(connection, "a" * 64, NOW + timedelta(days=1))
    assert list_outlook(engine, NOW) == late
    assert list_outlook(engine, NOW + timedelta(hours=3)) == late[1:]
