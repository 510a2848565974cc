"""Parts of the status: one id, requests and actions."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.runtime import Runtime
from adwarm.serving.drainers import next_run
from tests.support.wall_clock import WallClock

from .conftest import Adwarm


def _drain() -> int:
    return Runtime().queue_worker().drain(20).completed


def test_a_pending_request_says_when_it_is_taken(adwarm: Adwarm, wall_clock: WallClock) -> None:
    """State, position, deadline and the next run of the queue's DAG; nothing is stored for it yet."""
    adwarm("warm", "--queue", "act_1", "--range", "last_7d", "--priority", "low")
    asked = adwarm("warm", "--queue", "act_2", "--range", "today", "--priority", "high")
    document, shown = adwarm("status", "1", "--json").json, adwarm("status", "1").stdout

    assert "`adwarm status 2` shows how it is going" in asked.stdout
    assert (document["status"], document["position"], document["answer"]["status"]) == ("pending", 2, "miss")
    enqueued, deadline = (datetime.fromisoformat(document[name]) for name in ("enqueued_at", "deadline"))
    assert deadline - enqueued == timedelta(minutes=15)
    assert timedelta(0) < datetime.fromisoformat(document["next_run"]) - wall_clock.now() <= timedelta(minutes=5)
    assert "within seconds by the DAG adwarm_request_queue where a triggerer runs, else in its run at" in shown
    assert "none yet: nothing is stored" in shown


def test_a_completed_request_says_where_its_answer_is(adwarm: Adwarm) -> None:
    """The result stays with the request; the command it names reads the report; the list shows it."""
    adwarm("warm", "--queue", "act_1", "--range", "yesterday")
    assert _drain() == 1
    document, shown = adwarm("status", "1", "--json").json, adwarm("status", "1").stdout

    assert (document["status"], document["result"]["status"], document["answer"]["status"]) == (
        "completed",
        "fetched",
        "hit",
    )
    ended, kept = (datetime.fromisoformat(document[name]) for name in ("finished_at", "kept_until"))
    assert kept - ended == timedelta(days=7)
    assert "`adwarm get act_1 yesterday` reads it; fresh until" in shown
    assert document["steps"][0]["step"] == "requested"
    assert adwarm("status", "request-1", "--json").json == document
    assert "Trace of request-1" in shown
    assert adwarm(*document["answer"]["command"].split()[1:], "--meta").json["status"] == "hit"
    assert [(row["id"], row["status"]) for row in adwarm("status", "--requests", "--json").json] == [(1, "completed")]
    assert "act_1 yesterday" in adwarm("status", "--requests").stdout


def test_a_failed_request_has_its_error(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error and the time of the end are shown, and no place in the queue."""
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "another-token")
    adwarm("warm", "--queue", "act_1", "--range", "yesterday")
    assert _drain() == 0
    document, shown = adwarm("status", "1", "--json").json, adwarm("status", "1").stdout

    assert (document["status"], document["position"], document["answer"]["status"]) == ("failed", None, "miss")
    assert document["error"][:30] in shown
    assert "position" not in shown
    assert "another-token" not in shown


def test_a_fresh_report_is_not_queued(adwarm: Adwarm) -> None:
    """After a request has completed, an equal one says that the report is fresh, and which request fetched it."""
    adwarm("warm", "--queue", "act_1", "--range", "yesterday")
    adwarm("warm", "--queue", "act_1", "--range", "yesterday")
    _drain()
    again, shown = (
        adwarm("warm", "--queue", "act_1", "--range", "yesterday", "--json").json["requests"][0],
        adwarm("warm", "--queue", "act_1", "--range", "yesterday").stdout,
    )
    adwarm("warm", "act_2", "--range", "yesterday")
    waited = adwarm("warm", "--queue", "act_2", "--range", "yesterday", "--json")

    assert (again["id"], again["status"], again["answer"]["status"]) == (1, "fresh", "hit")
    assert "is fresh already, so nothing was queued; request 1 fetched it" in shown
    [other] = waited.json["requests"]
    assert (waited.exit_code, other["id"], other["status"]) == (0, None, "fresh")
    assert len(adwarm("status", "--requests", "--json").json) == 1


def test_unknown_ids_are_rejected(adwarm: Adwarm) -> None:
    """An id that does not exist, or text that is none, is an error with advice; two questions at once are one, too."""
    absent = adwarm("status", "99")

    assert (absent.exit_code, "is not an id" in adwarm("status", "soon").stderr) == (1, True)
    assert "ask one of them" in adwarm("status", "99", "--actions").stderr
    assert "there is no request 99" in absent.stderr
    assert adwarm("status", "99", "--json").json["kind"] == "NotFound"
    assert "none yet" in adwarm("status", "--requests").stdout


def test_the_next_run_is_after_now() -> None:
    """The DAG runs at full five minutes."""
    at = datetime(2026, 11, 26, 9, 57, 30, tzinfo=UTC)

    assert next_run(at) == datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
    assert next_run(at.replace(minute=55, second=0)) == datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
