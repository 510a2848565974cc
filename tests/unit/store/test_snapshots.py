"""Rows of forecasts and of the policy."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.model import Mode
from adwarm.store import read_transaction, write_transaction
from adwarm.store.snapshots import (
    LIVE,
    find_policy,
    find_snapshot,
    insert_snapshot,
    list_snapshots,
    record_choice,
    set_policy,
)

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def _row(name: str, until: datetime = NOW, **other: Any) -> dict[str, Any]:
    return {
        "id": name * 64,
        "kind": "hour_of_week",
        "version": "1",
        "object_hash": "f" * 64,
        "trained_from": until - timedelta(days=56),
        "trained_until": until,
        "keys": 3,
        "features": ["hour"],
        "metrics": {"brier": 0.1},
        "created_at": until,
        **other,
    }


def test_a_row_comes_back_and_is_never_replaced(engine: Engine) -> None:
    """A snapshot's id is its content: a second row of the same id changes nothing."""
    with write_transaction(engine) as connection:
        insert_snapshot(connection, _row("a"))
        insert_snapshot(connection, _row("a", keys=9))
    with read_transaction(engine) as connection:
        assert find_snapshot(connection, "a" * 64) == _row("a")
        assert find_snapshot(connection, "b" * 64) is None


def test_the_newest_come_first(engine: Engine) -> None:
    """Snapshots are listed by the end of their training, as many as asked for."""
    with write_transaction(engine) as connection:
        for days, name in enumerate("abc"):
            insert_snapshot(connection, _row(name, NOW + timedelta(days=days)))
        assert [row["id"][0] for row in list_snapshots(connection, limit=2)] == ["c", "b"]


def test_the_policy_names_one_snapshot(engine: Engine) -> None:
    """A second choice replaces the first."""
    with write_transaction(engine) as connection:
        assert find_policy(connection) is None
        for name in "ab":
            insert_snapshot(connection, _row(name))
            set_policy(connection, name * 64, NOW, mode=Mode.SHADOW)
        found = find_policy(connection) or {}
        assert (found["name"], found["snapshot_id"], found["mode"], found["updated_at"]) == (
            LIVE,
            "b" * 64,
            "shadow",
            NOW,
        )
        assert found["chosen_kind"] is None


def test_a_choice_outlives_the_next_training(engine: Engine) -> None:
    """Who chose the kind, when and why, stays when the policy names a newer snapshot."""
    with write_transaction(engine) as connection:
        for name in "ab":
            insert_snapshot(connection, _row(name))
        set_policy(connection, "a" * 64, NOW)
        record_choice(connection, "population", by="somebody", why="it is calm", at=NOW)
        set_policy(connection, "b" * 64, NOW)
        found = find_policy(connection) or {}
        assert found["snapshot_id"] == "b" * 64
        assert (found["chosen_kind"], found["chosen_by"], found["chosen_why"], found["chosen_at"]) == (
            "population",
            "somebody",
            "it is calm",
            NOW,
        )
