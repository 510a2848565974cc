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
