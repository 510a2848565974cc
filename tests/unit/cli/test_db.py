"""`adwarm db`: the schema."""

from .conftest import Adwarm


def test_the_schema_can_be_made_and_shown(adwarm: Adwarm) -> None:
    """None before, the newest afterwards; a second upgrade changes nothing."""
    before = adwarm("db", "current", "--json").json
    assert before["database"] is None
    made = adwarm("db", "upgrade", "--json").json
    assert (made["before"], made["now"]) == (None, before["needed"])
    assert "sqlite" in adwarm("db", "upgrade").stdout
    assert adwarm("db", "current", "--json").json["database"] == before["needed"]
