"""`adwarm errors`: the error history, filtered and counted."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.runtime import Runtime
from adwarm.store.error_events import ErrorEvent

from .conftest import Adwarm

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def history(home: Path) -> Runtime:
    """Three errors within an hour, and one a day later."""
    runtime = Runtime()
    at = runtime.clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    for number, (kind, account) in enumerate([("Transient", "act_1"), ("Transient", "act_2"), ("Denied", "act_2")]):
        runtime.errors.record(
            ErrorEvent(at + timedelta(minutes=number), "meta", kind, f"message {number}", "a key", account_id=account)
        )
    runtime.errors.record(ErrorEvent(at + timedelta(days=1), "store", "Corrupt", "message 3"))
    return runtime


def test_errors_are_listed_newest_first(adwarm: Adwarm, history: Runtime) -> None:
    """Filters select; the document holds every field."""

    def messages(*words: str) -> list[str]:
        return [item["message"] for item in adwarm("errors", *words, "--json").json]

    assert messages() == ["message 3", "message 2", "message 1", "message 0"]
    assert messages("--source", "meta", "--limit", "2") == ["message 2", "message 1"]
    assert messages("--account", "2", "--kind", "Transient") == ["message 1"]
    newest = adwarm("errors", "--json").json[0]["at"]
    assert messages("--since", newest) == ["message 3"]
    assert messages("--until", newest, "--kind", "Corrupt") == []
    shown = adwarm("errors", "--kind", "Denied")
    assert shown.exit_code == 0
    assert all(word in shown.stdout for word in ("Denied", "act_2", "a key", "message 2"))
    assert "message 1" not in shown.stdout
    refused = adwarm("errors", "--since", newest, "--until", newest, "--json")
    assert (refused.exit_code, refused.json["error"]) == (1, "--since must be before --until")


def test_errors_are_counted_over_time(adwarm: Adwarm, history: Runtime) -> None:
    """Counts by hour and day name source and class; another period is refused."""
    counts = adwarm("errors", "--counts", "hour", "--json").json
    assert [(item["source"], item["kind"], item["errors"]) for item in counts] == [
        ("store", "Corrupt", 1),
        ("meta", "Denied", 1),
        ("meta", "Transient", 2),
    ]
    assert "Errors by day" in adwarm("errors", "--counts", "day").stdout
    refused = adwarm("errors", "--counts", "week", "--json")
    assert (refused.exit_code, refused.json["kind"]) == (1, "BadRequest")
