"""What `adwarm status` says of the forecast's kind and of the newest review."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from adwarm.cli.reading import _forecast_fields, _review_fields
from adwarm.model import PolicyReview, Snapshot
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import write_transaction
from adwarm.store.reviews import save_review
from adwarm.store.snapshots import insert_snapshot, record_choice, set_policy

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """A home with a live forecast."""
    made = Runtime(Settings(home=tmp_path))
    snapshot = Snapshot(
        id="a" * 64,
        kind="population",
        version="1",
        object_hash="f" * 64,
        trained_from=NOW,
        trained_until=NOW,
        keys=3,
        features=(),
        metrics={"ece": 0.1},
        created_at=NOW,
    )
    with write_transaction(made.engine) as connection:
        insert_snapshot(connection, snapshot)
        set_policy(connection, "a" * 64, NOW)
    return made


def test_who_chose_the_kind_is_shown(runtime: Runtime) -> None:
    """Nothing while training chose it; name, time and reason once somebody, or a review, has."""
    assert "chosen_by" not in _forecast_fields(runtime)
    with write_transaction(runtime.engine) as connection:
        record_choice(connection, "population", by="ada", why="it promises less", at=NOW)
    found = _forecast_fields(runtime)
    assert (found["kind"], found["chosen_by"], found["chosen_at"], found["chosen_why"]) == (
        "population",
        "ada",
        NOW,
        "it promises less",
    )


def test_the_newest_review_is_named(runtime: Runtime) -> None:
    """Its verdict, why, and where the page is; before the first one, which DAG makes it."""
    assert "adwarm_policy_review" in _review_fields(runtime)["why"]
    with write_transaction(runtime.engine) as connection:
        save_review(
            connection,
            PolicyReview(
                run_id="r",
                at=NOW,
                result="kept",
                live_kind="population",
                proposed_kind=None,
                proposed_snapshot=None,
                page="/reports/review.html",
                figures={"why": "nothing is better"},
            ),
        )
    found = _review_fields(runtime)
    assert (found["verdict"], found["why"], found["report"]) == ("kept", "nothing is better", "/reports/review.html")
    assert "decided_by" not in found
