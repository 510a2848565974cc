"""`adwarm enqueue`: queue, join, wait, reject; and the queue in `adwarm status`."""

from threading import Thread

import pytest

from adwarm.runtime import Runtime
from adwarm.store import accounts

from .conftest import Adwarm


def test_enqueue_queues_and_joins(adwarm: Adwarm) -> None:
    """An equal request joins the first one and raises its priority; status counts it once."""
    first = adwarm("enqueue", "act_1", "last_7d", "--priority", "low", "--json").json
    again = adwarm("enqueue", "1", "last_7d", "--priority", "high", "--json").json

    assert (first["status"], first["joined"], first["priority"]) == ("pending", False, "low")
    assert (again["id"], again["joined"], again["priority"]) == (first["id"], True, "high")
    queue = adwarm("status", "--json").json["queue"]
    assert (queue["pending"], queue["high"]["pending"], queue["low"]["pending"]) == (1, 1, 0)
    assert queue["high"]["oldest_seconds"] >= 0
    shown = adwarm("status").stdout
    assert "Queue: 1 of 100 pending" in shown


def test_who_is_named_exists(adwarm: Adwarm) -> None:
    """`get` alone creates nothing; a request, a fetch and a strategy make the accounts that they name."""
    adwarm("get", "act_801", "last_7d")
    adwarm("enqueue", "act_802", "last_7d")
    adwarm("warm", "act_803", "--range", "2019-01-01..2019-01-02")
    adwarm("get", "act_804", "2019-01-01..2019-01-02", "--fetch")
    adwarm("strategy", "set", "mine", "--range", "yesterday", "--account", "805")
    assert sorted(accounts.get_many(Runtime().engine)) == ["act_802", "act_803", "act_804", "act_805"]


def test_wait_ends_with_the_request(adwarm: Adwarm) -> None:
    """With an active worker the command ends when the request completes, and prints its result."""
    done: list[int] = []

    def work() -> None:
        drainer = Runtime().queue_worker()
        while not done:
            done.extend([1] * drainer.drain(20).completed)

    worker = Thread(target=work)
    worker.start()
    result = adwarm("enqueue", "act_2", "yesterday", "--wait", "25", "--json")
    worker.join()

    assert (result.exit_code, result.json["status"], result.json["result"]["status"]) == (0, "completed", "fetched")
    assert adwarm("get", "act_2", "yesterday", "--meta").json["status"] == "hit"


def test_wait_in_vain_ends_with_1(adwarm: Adwarm) -> None:
    """Without a worker the command ends after the wait, and the request expires."""
    result = adwarm("enqueue", "act_3", "today", "--wait", "0.2", "--json")

    assert (result.exit_code, result.json["status"]) == (1, "expired")


def test_a_full_queue_says_when_to_ask_again(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line; as JSON it has a number of seconds."""
    monkeypatch.setenv("ADWARM_BACKPRESSURE__QUEUE_SIZE", "1")
    adwarm("enqueue", "act_1", "today")
    for_people, for_programs = adwarm("enqueue", "act_2", "today"), adwarm("enqueue", "act_2", "today", "--json")

    assert (for_people.exit_code, for_programs.exit_code) == (1, 1)
    assert "the queue is full: 1 requests as urgent are pending; ask again in 60 s" in for_people.stderr
    assert for_programs.json["retry_after"] == 60


def test_invalid_requests_are_rejected(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """A request that no worker could process is not queued."""
    for words, advice in [
        (("x", "today"), "account id"),
        (("act_1", "someday"), "someday"),
        (("act_1", "today", "--report", "none"), "not configured"),
        (("act_1", "today", "--wait", "-1"), "above 0"),
        (("act_1", "today", "--priority", "asap"), "priority"),
    ]:
        with subtests.test(words=words, advice=advice):
            result = adwarm("enqueue", *words)

            assert result.exit_code == 1
            assert advice in result.stderr
            assert adwarm("status", "--json").json["queue"]["pending"] == 0
