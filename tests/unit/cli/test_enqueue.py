"""The request queue on the command line: enqueue, wait, refuse, and the queue's part of status."""

from threading import Thread

import pytest

from adwarm.runtime import Runtime

from .conftest import Adwarm


def test_enqueue_queues_and_joins(adwarm: Adwarm) -> None:
    """The second equal request is the first one, now more urgent; status counts it once."""
    first = adwarm("enqueue", "act_1", "last_7d", "--priority", "low", "--json").json
    again = adwarm("enqueue", "1", "last_7d", "--priority", "high", "--json").json

    assert (first["status"], first["joined"], first["priority"]) == ("pending", False, "low")
    assert (again["id"], again["joined"], again["priority"]) == (first["id"], True, "high")
    queue = adwarm("status", "--json").json["queue"]
    assert (queue["pending"], queue["high"]["pending"], queue["low"]["pending"]) == (1, 1, 0)
    assert queue["high"]["oldest_seconds"] >= 0
    shown = adwarm("status").stdout
    assert "Queue: 1 of 100 pending" in shown


def test_wait_ends_with_the_request(adwarm: Adwarm) -> None:
    """With a worker at the queue the command ends when the report is there, and says what it cost."""
    done: list[int] = []

    def work() -> None:
        drainer = Runtime().queue_worker()
        while not done:
            done.extend([1] * drainer.drain(20).completed)

    worker = Thread(target=work)
    worker.start()
    said = adwarm("enqueue", "act_2", "yesterday", "--wait", "25", "--json")
    worker.join()

    assert (said.exit_code, said.json["status"], said.json["result"]["status"]) == (0, "completed", "fetched")
    assert adwarm("get", "act_2", "yesterday", "--meta").json["status"] == "hit"


def test_wait_in_vain_ends_with_1(adwarm: Adwarm) -> None:
    """Without a worker the command gives up in time, and the request is expired."""
    said = adwarm("enqueue", "act_3", "today", "--wait", "0.2", "--json")

    assert (said.exit_code, said.json["status"]) == (1, "expired")


def test_a_full_queue_says_when_to_ask_again(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is one line, and for programs a number of seconds."""
    monkeypatch.setenv("ADWARM_BACKPRESSURE__QUEUE_SIZE", "1")
    adwarm("enqueue", "act_1", "today")
    for_people, for_programs = adwarm("enqueue", "act_2", "today"), adwarm("enqueue", "act_2", "today", "--json")

    assert (for_people.exit_code, for_programs.exit_code) == (1, 1)
    assert "the queue is full: 1 requests as urgent are pending; ask again in 60 s" in for_people.stderr
    assert for_programs.json["retry_after"] == 60


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("x", "today"), "account id"),
        (("act_1", "someday"), "someday"),
        (("act_1", "today", "--report", "none"), "not configured"),
        (("act_1", "today", "--wait", "-1"), "above 0"),
        (("act_1", "today", "--priority", "asap"), "priority"),
    ],
)
def test_bad_words_are_refused_at_once(adwarm: Adwarm, words: tuple[str, ...], advice: str) -> None:
    """Nothing that no worker could do enters the queue."""
    said = adwarm("enqueue", *words)

    assert said.exit_code == 1
    assert advice in said.stderr
    assert adwarm("status", "--json").json["queue"]["pending"] == 0
