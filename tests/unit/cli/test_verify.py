"""`adwarm verify`: finds and repairs corrupt data."""

from adwarm.runtime import Runtime
from adwarm.store.database import write_transaction
from adwarm.store.tables import payload

from .conftest import Adwarm


def _damage() -> None:
    with write_transaction(Runtime().engine) as connection:
        connection.execute(payload.update().values(body=b"damaged"))


def test_verify_finds_and_repairs(adwarm: Adwarm) -> None:
    """A damaged payload is listed with exit code 1; after a repair and a warm nothing is corrupt."""
    adwarm("warm", "act_1", "--range", "last_7d")
    assert adwarm("verify").exit_code == 0
    _damage()
    found = adwarm("verify", "--json")
    assert (found.exit_code, len(found.json["corrupt"])) == (1, 1)
    assert "1 corrupt" in adwarm("verify", "--repair").stdout
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
