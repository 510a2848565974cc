"""`adwarm verify`: finds and repairs corrupt data."""

import pytest

from adwarm.runtime import Runtime
from adwarm.store.database import write_transaction
from adwarm.store.tables import payload

from .conftest import Adwarm


def _damage() -> None:
    with write_transaction(Runtime().engine) as connection:
        connection.execute(payload.update().values(body=b"damaged"))


def test_verify_finds_and_repairs(adwarm: Adwarm) -> None:
    """A damaged payload is listed with exit code 1; after a repair and a warm nothing is damaged."""
    assert "nothing is stored yet" in adwarm("verify").stdout
    adwarm("warm", "act_1", "--range", "last_7d")
    assert "all whole: nothing is damaged" in adwarm("verify").stdout
    _damage()
    found = adwarm("verify", "--json")
    assert (found.exit_code, len(found.json["corrupt"])) == (1, 1)
    assert "1 damaged or unreadable" in adwarm("verify", "--repair").stdout
    adwarm("warm", "act_1", "--range", "last_7d")
    assert adwarm("verify", "--json").json["corrupt"] == []


def test_verify_counts_by_kind(adwarm: Adwarm) -> None:
    """Each kind has its checked, damaged and repaired; status and its JSON show what is open and what was healed."""
    adwarm("warm", "act_1", "--range", "last_7d")
    _damage()
    kinds = {kind["kind"]: kind for kind in adwarm("verify", "--repair", "--json").json["kinds"]}
    assert set(kinds) == {"snapshot", "aggregate", "partition", "entry"}
    assert [kinds["entry"][name] for name in ("checked", "damaged", "repaired")] == [1, 1, 1]
    assert [kinds["partition"][name] for name in ("checked", "damaged", "repaired")] == [1, 0, 0]
    shown = adwarm("status")
    assert "Integrity, last 7 days" in shown.stdout
    assert "Damaged data that is not replaced yet" in shown.stdout
    adwarm("warm", "act_1", "--range", "last_7d")
    integrity = adwarm("status", "--json").json["integrity"]
    assert (integrity["damaged"], integrity["healed"], integrity["open"]) == (1, 1, 0)
    assert (integrity["open_items"], integrity["last_full_pass"]) == ([], None)


def test_what_verify_finds_is_in_the_error_history_and_raises_an_alert(
    adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged entry is an error of stored data with its report and account; its rule makes an alert of it."""
    monkeypatch.setenv("ADWARM_ALERTS__RULES", '[{"kind": "Corrupt", "threshold": 1}]')
    adwarm("warm", "act_1", "--range", "last_7d")
    _damage()
    adwarm("verify")
    (event,) = adwarm("errors", "--json").json
    assert [event[name] for name in ("source", "kind", "account_id")] == ["store", "Corrupt", "act_1"]
    assert "last_7d" in event["subject"]
    (alert,) = adwarm("errors", "--alerts", "--json").json
    assert (alert["kind"], alert["scope"]) == ("Corrupt", "account:act_1")


def test_damage_that_a_reader_meets_is_in_the_error_history(adwarm: Adwarm) -> None:
    """A damaged entry that a reader meets is recorded once, and clearing the caches is in the history of healing."""
    adwarm("warm", "act_1", "--range", "last_7d")
    _damage()
    adwarm("get", "act_1", "last_7d")
    (event,) = adwarm("errors", "--json").json
    assert (event["kind"], event["account_id"]) == ("Corrupt", "act_1")
    assert [run["action"] for run in adwarm("status", "--json").json["healing"]] == ["cache_clear"]
