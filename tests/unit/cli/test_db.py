"""`adwarm db`: the schema."""

from pathlib import Path

from .conftest import Adwarm


def test_the_schema_is_upgraded_and_shown(adwarm: Adwarm) -> None:
    """The revision is empty before an upgrade and the newest after it; a second upgrade changes nothing."""
    before = adwarm("db", "current", "--json").json
    assert before["database"] is None
    made = adwarm("db", "upgrade", "--json").json
    assert (made["before"], made["now"]) == (None, before["needed"])
    assert "sqlite" in adwarm("db", "upgrade").stdout
    assert adwarm("db", "current", "--json").json["database"] == before["needed"]


def test_the_database_is_exported_and_reset(adwarm: Adwarm, tmp_path: Path) -> None:
    """Export writes a file per table; reset deletes the rows, and only after `--yes`."""
    adwarm("warm", "act_1", "--range", "yesterday")
    exported = adwarm("db", "export", str(tmp_path / "out"), "--json").json
    refused = adwarm("db", "reset")
    reset = adwarm("db", "reset", "--yes", "--json").json

    assert exported["rows"]["entry"] == len((tmp_path / "out" / "entry.jsonl").read_text().splitlines()) == 1
    assert (refused.exit_code, "--yes" in refused.stderr) == (1, True)
    assert reset["before"] == reset["now"]
    assert set(adwarm("db", "export", str(tmp_path / "out"), "--json").json["rows"].values()) == {0}
