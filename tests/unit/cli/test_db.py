"""`adwarm db`: the schema."""

import re
import sqlite3
from pathlib import Path

from adwarm.store.schema import get_head_revision
from adwarm.store.upgrades import VERSION_TABLE

from .conftest import Adwarm


def test_the_schema_is_created_once(adwarm: Adwarm) -> None:
    """The revision is empty before and the newest after it; a second upgrade changes nothing."""
    made = adwarm("db", "upgrade", "--json").json
    assert (made["before"], made["now"]) == (None, get_head_revision())
    assert adwarm("db", "upgrade", "--json").json["before"] == made["now"]
    assert "sqlite" in adwarm("db", "upgrade").stdout


def test_the_database_is_reset(adwarm: Adwarm) -> None:
    """The rows are deleted, and only after `--yes`."""
    adwarm("warm", "act_1", "--range", "yesterday")
    refused = adwarm("db", "reset")
    assert (refused.exit_code, "--yes" in refused.stderr) == (1, True)
    assert adwarm("get", "act_1", "yesterday", "--meta", "--json").json["status"] == "hit"
    reset = adwarm("db", "reset", "--yes", "--json").json
    assert (reset["before"], reset["left"]) == (reset["now"], {})
    assert adwarm("maintain", "--verify", "--json").json["entries"] == 0


def test_what_a_reset_leaves_is_named(adwarm: Adwarm, home: Path) -> None:
    """Tables of an earlier version and of others stay, whatever they are called, and are shown with their rows."""
    adwarm("db", "upgrade")
    with sqlite3.connect(home / "adwarm.db") as connection:
        connection.execute("CREATE TABLE former_lease (id INTEGER)")
        connection.execute('CREATE TABLE "order" (id INTEGER)')
        connection.executemany('INSERT INTO "order" VALUES (?)', [(1,), (2,)])

    assert adwarm("db", "reset", "--yes", "--json").json["left"] == {"former_lease": 0, "order": 2}
    shown = adwarm("db", "reset", "--yes").stdout
    assert "not of this version, and stay" in shown
    assert re.search(r"order\W+2\b", shown)


def test_the_database_is_checked(adwarm: Adwarm, home: Path) -> None:
    """The doctor's check `schema` finds no table changed, and names one that is missing with exit code 1."""
    adwarm("db", "upgrade")
    (whole,) = adwarm("doctor", "--only", "schema", "--json").json
    assert (whole["name"], whole["ok"]) == ("schema", True)
    with sqlite3.connect(home / "adwarm.db") as connection:
        connection.execute("DROP TABLE machine_load")

    checked = adwarm("doctor", "--only", "schema")

    assert (checked.exit_code, "machine_load" in checked.stdout) == (1, True)
    assert "there is no check 'scheme'; the checks are settings" in adwarm("doctor", "--only", "scheme").stderr


def test_a_database_of_an_earlier_checkout_starts_anew(adwarm: Adwarm, home: Path) -> None:
    """Commands that need the database say in one sentence how to start anew, and that works."""
    adwarm("warm", "act_1", "--range", "yesterday")
    with sqlite3.connect(home / "adwarm.db") as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '13'")
    refused = [adwarm(*command) for command in (("status",), ("db", "upgrade"))]
    assert [result.exit_code for result in refused] == [1, 1]
    assert all("start anew with `adwarm db reset --yes`" in result.stderr for result in refused)

    assert adwarm("db", "reset", "--yes", "--json").json["before"] == "13"
    assert adwarm("warm", "act_1", "--range", "yesterday").exit_code == 0
