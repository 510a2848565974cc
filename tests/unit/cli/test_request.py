"""`adwarm request`: the state of a request while it waits and after its end, and the list of requests."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.runtime import Runtime
from adwarm.serving.queue_dag import next_run
from tests.wall_clock import WallClock

from .conftest import Adwarm


def _drain() -> int:
    return Runtime().queue_worker().drain(20).completed


def test_a_pending_request_says_when_it_is_taken(adwarm: Adwarm, wall_clock: WallClock) -> None:
    """State, position, deadline and the next run of the queue's DAG; nothing is stored for it yet."""
    adwarm("enqueue", "act_1", "last_7d", "--priority", "low")
    asked = adwarm("enqueue", "act_2", "today", "--priority", "high")
    document, shown = adwarm("request", "1", "--json").json, adwarm("request", "1").stdout

    assert "`adwarm request 2` shows how it is going" in asked.stdout
    assert (document["status"], document["position"], document["answer"]["status"]) == ("pending", 2, "miss")
    enqueued, deadline = (datetime.fromisoformat(document[name]) for name in ("enqueued_at", "deadline"))
    assert deadline - enqueued == timedelta(minutes=15)
    assert timedelta(0) < datetime.fromisoformat(document["next_run"]) - wall_clock.now() <= timedelta(minutes=5)
    assert "within seconds by the DAG adwarm_request_queue where a triggerer runs, else in its run at" in shown
    assert "none yet: nothing is stored" in shown


def test_a_completed_request_says_where_its_answer_is(adwarm: Adwarm) -> None:
    """The result stays with the request; the command it names reads the report; the list shows it."""
    adwarm("enqueue", "act_1", "yesterday")
    assert _drain() == 1
    document, shown = adwarm("request", "1", "--json").json, adwarm("request", "1").stdout

    assert (document["status"], document["result"]["status"], document["answer"]["status"]) == (
        "completed",
        "fetched",
        "hit",
    )
    ended, kept = (datetime.fromisoformat(document[name]) for name in ("finished_at", "kept_until"))
    assert kept - ended == timedelta(days=7)
    assert "`adwarm get act_1 yesterday` reads it; fresh until" in shown
    assert adwarm(*document["answer"]["command"].split()[1:], "--meta").json["status"] == "hit"
    assert [(row["id"], row["status"]) for row in adwarm("request", "--json").json] == [(1, "completed")]
    assert "act_1 yesterday" in adwarm("request").stdout


def test_a_failed_request_has_its_error(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error and the time of the end are shown, and no place in the queue."""
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "another-token")
    adwarm("enqueue", "act_1", "yesterday")
    assert _drain() == 0
    document, shown = adwarm("request", "1", "--json").json, adwarm("request", "1").stdout

    assert (document["status"], document["position"], document["answer"]["status"]) == ("failed", None, "miss")
    assert document["error"][:30] in shown
    assert "position" not in shown
    assert "another-token" not in shown


def test_a_fresh_report_is_not_queued(adwarm: Adwarm) -> None:
    """After a request has completed, an equal one says that the report is fresh, and which request fetched it."""
    adwarm("enqueue", "act_1", "yesterday")
    adwarm("enqueue", "act_1", "yesterday")
    _drain()
    again, shown = (
        adwarm("enqueue", "act_1", "yesterday", "--json").json,
        adwarm("enqueue", "act_1", "yesterday").stdout,
    )
    adwarm("warm", "act_2", "--range", "yesterday")
    other = adwarm("enqueue", "act_2", "yesterday", "--wait", "5", "--json")

    assert (again["id"], again["status"], again["answer"]["status"]) == (1, "fresh", "hit")
    assert "is fresh already, so nothing was queued; request 1 fetched it" in shown
    assert (other.exit_code, other.json["id"], other.json["status"]) == (0, None, "fresh")
    assert len(adwarm("request", "--json").json) == 1


def test_unknown_ids_are_rejected(adwarm: Adwarm) -> None:
    """An id that does not exist is an error with advice, and text that is no number is wrong usage."""
    absent = adwarm("request", "99")

    assert (absent.exit_code, adwarm("request", "soon").exit_code) == (1, 2)
    assert "there is no request 99" in absent.stderr
    assert adwarm("request", "99", "--json").json["kind"] == "NotFound"
    assert "none yet" in adwarm("request").stdout


def test_the_next_run_is_after_now() -> None:
    """The DAG runs at full five minutes."""
    at = datetime(2026, 11, 26, 9, 57, 30, tzinfo=UTC)

    assert next_run(at) == datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
    assert next_run(at.replace(minute=55, second=0)) == datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
