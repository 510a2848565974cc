"""`adwarm warm --queue`: queue, join, reject; and the queue in `adwarm status`."""

from pathlib import Path

import pytest

from adwarm.runtime import Runtime
from adwarm.store import accounts

from .conftest import Adwarm


def test_enqueue_queues_and_joins(adwarm: Adwarm) -> None:
    """An equal request joins the first one and raises its priority; status counts it once."""
    first = adwarm("warm", "--queue", "act_1", "--range", "last_7d", "--priority", "low", "--json").json["requests"][0]
    again = adwarm("warm", "--queue", "1", "--range", "last_7d", "--priority", "high", "--json").json["requests"][0]

    assert (first["status"], first["joined"], first["priority"]) == ("pending", False, "low")
    assert (again["id"], again["joined"], again["priority"]) == (first["id"], True, "high")
    queue = adwarm("status", "--json").json["queue"]
    assert (queue["pending"], queue["high"]["pending"], queue["low"]["pending"]) == (1, 1, 0)
    assert queue["high"]["oldest_seconds"] >= 0
    shown = adwarm("status", "--all").stdout
    assert "Queue: 1 of 100 pending" in shown


def test_who_is_named_exists(adwarm: Adwarm, tmp_path: Path) -> None:
    """`get` alone creates nothing; a request, a fetch and a strategy make the accounts that they name."""
    adwarm("get", "act_801", "last_7d")
    adwarm("warm", "--queue", "act_802", "--range", "last_7d")
    adwarm("warm", "act_803", "--range", "2019-01-01..2019-01-02")
    adwarm("get", "act_804", "2019-01-01..2019-01-02", "--fetch")
    file = tmp_path / "mine.toml"
    file.write_text('[strategies.mine]\ndate_ranges = ["yesterday"]\naccounts = ["805"]', encoding="utf-8")
    adwarm("strategy", "set", "--file", str(file))
    assert sorted(accounts.get_many(Runtime().engine)) == ["act_802", "act_803", "act_804", "act_805"]


def test_a_full_queue_says_when_to_ask_again(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line; as JSON it has a number of seconds."""
    monkeypatch.setenv("ADWARM_BACKPRESSURE__QUEUE_SIZE", "1")
    adwarm("warm", "--queue", "act_1", "--range", "today")
    words = ("warm", "--queue", "act_2", "--range", "today")
    for_people, for_programs = adwarm(*words), adwarm(*words, "--json")

    assert (for_people.exit_code, for_programs.exit_code) == (1, 1)
    assert "the queue is full: 1 requests as urgent are pending; ask again in 60 s" in for_people.stderr
    assert for_programs.json["retry_after"] == 60


def test_several_reports_are_queued_at_once(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets a request, in the class normal; what the queue has no room for is named, and ends with 1."""
    monkeypatch.setenv("ADWARM_BACKPRESSURE__QUEUE_SIZE", "2")
    result = adwarm("warm", "--queue", "act_1", "act_2", "act_3", "--range", "today", "--json")

    queued = [(item["key"], item["status"], item["priority"]) for item in result.json["requests"]]
    assert queued == [("act_1 today", "pending", "normal"), ("act_2 today", "pending", "normal")]
    assert (result.exit_code, result.json["left_out"]) == (1, ["act_3 today"])


def test_options_of_another_use_are_rejected(adwarm: Adwarm) -> None:
    """What goes with --queue or --failed only is an error without it, and --failed names no reports."""
    for words, advice in [
        (("act_1", "--range", "today", "--why", "x"), "goes with --failed"),
        (("act_1", "--failed"), "finds the reports itself"),
        ((), "name an account"),
    ]:
        result = adwarm("warm", *words)
        assert (result.exit_code, advice in result.stderr) == (1, True), words


def test_invalid_requests_are_rejected(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """A request that no worker could process is not queued."""
    for words, advice in [
        (("/x", "--range", "today"), "account id"),
        (("act_1", "--range", "someday"), "someday"),
        (("act_1", "--range", "today", "--report", "none"), "not configured"),
        (("act_1", "--range", "today", "--priority", "asap"), "priority"),
        (("act_1", "--range", "today", "--at", "2026-11-25"), "leave out --queue"),
        (("act_1",), "--range names no date range"),
    ]:
        with subtests.test(words=words, advice=advice):
            result = adwarm("warm", "--queue", *words)

            assert result.exit_code == 1
            assert advice in result.stderr
            assert adwarm("status", "--json").json["queue"]["pending"] == 0


def test_warm_makes_reports_fresh(adwarm: Adwarm) -> None:
    """The first run fetches; the second finds everything fresh and makes no call."""
    first = adwarm("warm", "act_1", "act_2", "--range", "yesterday", "--range", "last_7d", "--json").json
    again = adwarm("warm", "act_1", "act_2", "--range", "yesterday, last_7d")
    assert (first["fetched"], first["keys"]) == (4, 4)
    assert all(item["stored_bytes"] for item in first["outcomes"])
    assert again.exit_code == 0
    assert "4 reports: 4 fresh already; no request" in again.stdout
    assert "--range names no date range" in adwarm("warm", "act_1", "--range", ",").stderr


def test_warm_says_what_failed_and_ends_with_1(adwarm: Adwarm) -> None:
    """An account that the token may not read fails with its reason; the other one is fetched."""
    result = adwarm("warm", "act_1", "act_9", "--range", "yesterday", "--json")
    assert result.exit_code == 1
    assert [item["account_id"] for item in result.json["outcomes"] if item["status"] != "fetched"] == ["act_9"]
    assert result.json["outcomes"][1]["reason"]


def test_warm_explains_a_report_that_took_no_request(adwarm: Adwarm) -> None:
    """A day that is stored already becomes a report without a request, and the table says why."""
    adwarm("warm", "act_1", "--range", "last_7d")
    shown = adwarm("warm", "act_1", "--range", "yesterday").stdout
    assert "1 report: 1 fetched; no request needed" in shown
    assert "assembled from stored days; no request needed" in shown
