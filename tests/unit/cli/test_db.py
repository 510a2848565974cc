"""`adwarm db`: the schema."""

from .conftest import Adwarm


def test_the_schema_is_upgraded_and_shown(adwarm: Adwarm) -> None:
    """The revision is empty before an upgrade and the newest after it; a second upgrade changes nothing."""
    before = adwarm("db", "current", "--json").json
    assert before["database"] is None
    made = adwarm("db", "upgrade", "--json").json
    assert (made["before"], made["now"]) == (None, before["needed"])
    assert "sqlite" in adwarm("db", "upgrade").stdout
    assert adwarm("db", "current", "--json").json["database"] == before["needed"]
