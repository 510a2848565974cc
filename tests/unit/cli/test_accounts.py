"""`adwarm accounts`: what is stored, what discovery finds, and what can be set."""

import pytest

from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.store import accounts, denials
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

from .conftest import Adwarm


def test_discover_then_list(adwarm: Adwarm) -> None:
    """A first discovery stores every account, a second one finds them unchanged; a dry run stores nothing."""
    assert "none yet" in adwarm("accounts", "list").stdout
    (dry,) = adwarm("accounts", "discover", "--dry-run", "--json").json["connections"]
    assert (dry["listed"], dry["new"]) == (3, 3)
    assert adwarm("accounts", "list", "--json").json == []
    first = adwarm("accounts", "discover")
    assert first.exit_code == 0
    assert "new: UTC, USD, active" in first.stdout
    (second,) = adwarm("accounts", "discover", "--json").json["connections"]
    assert (second["new"], second["unchanged"], second["error"]) == (0, 3, "")
    listed = adwarm("accounts", "list", "--json").json
    assert [row["id"] for row in listed] == ["act_1", "act_2", "act_3"]
    assert listed[0]["name"] == "Simulated account 1"
    assert listed[0]["last_seen"]
    assert [row["id"] for row in adwarm("accounts", "list", "2", "--json").json] == ["act_2"]


def test_set_and_clear(adwarm: Adwarm) -> None:
    """What is set is shown with a star, filters see it, discovery keeps it, and it can be cleared."""
    adwarm("accounts", "discover")
    words = ["--reader-zone", "Europe/Berlin", "--holiday-country", "de", "--status", "closed", "--connection", "eu"]
    result = adwarm("accounts", "set", "act_1", *words)
    assert result.exit_code == 0
    assert "eu is not a connection of these settings" in result.stderr
    adwarm("accounts", "discover")
    (row,) = adwarm("accounts", "list", "--status", "closed", "--json").json
    assert [row[name] for name in ("id", "reader_zone", "holiday_country", "connection")] == [
        "act_1",
        "Europe/Berlin",
        "DE",
        "eu",
    ]
    assert "closed *" in adwarm("accounts", "list", "--connection", "eu").stdout
    clears = [word for name in ("reader-zone", "status", "connection") for word in ("--clear", name)]
    cleared = adwarm("accounts", "set", "1", *clears, "--json").json
    assert (cleared["reader_zone"], cleared["status"], cleared["connection"]) == ("UTC", "active", "default")
    assert cleared["set_by_hand"] == ["holiday-country"]


def test_bad_input(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """Each error says what to write instead, and nothing is stored."""
    for words, message in [
        (["act_1", "--reader-zone", "Europe/Berln"], "Europe/Berlin"),
        (["act_1", "--holiday-country", "XX"], "such as DE"),
        (["act_1", "--status", "denied"], "active or closed"),
        (["act_1", "--connection", " "], "name of up to"),
        (["act_1", "--clear", "zone"], "reader-zone"),
        (["act_1", "--status", "closed", "--clear", "status"], "set and cleared at once"),
        (["act_1"], "nothing to set"),
        (["a/c", "--status", "closed"], "act_1234"),
        (["act_9", "--status", "closed"], "not a stored account"),
    ]:
        with subtests.test(words=words, message=message):
            accounts.save(Runtime().engine, [Account("act_1")], Runtime().clock.now())
            result = adwarm("accounts", "set", *words)
            assert (result.exit_code, message in result.stderr) == (1, True)
            assert accounts.get(Runtime().engine, "act_1") == Account("act_1")


def test_each_account_chooses_its_log(adwarm: Adwarm) -> None:
    """The choice is stored, shown and cleared; a wrong word is refused."""
    adwarm("accounts", "discover", "--json")
    found = adwarm("accounts", "set", "act_1", "--opens-from", "adwarm", "--json").json
    assert (found["opens_from"], found["set_by_hand"]) == ("adwarm", ["opens-from"])
    wrong = adwarm("accounts", "set", "act_1", "--opens-from", "mine")
    assert wrong.exit_code != 0
    assert "user, adwarm, both" in wrong.stderr
    assert adwarm("accounts", "set", "act_1", "--clear", "opens-from", "--json").json["opens_from"] is None


def test_a_wrong_filter(adwarm: Adwarm) -> None:
    """An unknown status is refused."""
    assert "active, closed, denied" in adwarm("accounts", "list", "--status", "open").stderr


def test_connections_with_a_wrong_token(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command names the connection and exits with 1; the accounts of the other connection are stored."""
    monkeypatch.setenv("ADWARM_CONNECTIONS__EU__ACCESS_TOKEN", "wrong-token")
    result = adwarm("accounts", "discover", "--json")
    assert result.exit_code == 1
    rows = {row["connection"]: row for row in result.json["connections"]}
    assert (rows["default"]["new"], rows["eu"]["listed"]) == (3, 0)
    assert "renew the token" in rows["eu"]["error"]
    both = ("--only", "connection default", "--only", "connection eu")
    checks = {check["name"]: check for check in adwarm("doctor", *both, "--json").json}
    assert (checks["connection default"]["ok"], checks["connection default"]["detail"]) == (True, "3 accounts")
    assert not checks["connection eu"]["ok"]
    assert "renew the token" in checks["connection eu"]["detail"]
    assert "wrong-token" not in result.stdout


def test_a_token_without_accounts(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor says that the connection responds and what to do."""
    with SimulatorServer(SimulatorConfig(accounts=())) as empty:
        monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", empty.url)
        (check,) = adwarm("doctor", "--only", "connection default", "--json").json
    assert "let the user of its token read" in check["detail"]


def test_the_list_shows_what_fits(adwarm: Adwarm) -> None:
    """Five columns: the readers' zone where it differs, and the reason beside the status; the rest is in the JSON."""
    runtime = Runtime()
    engine, now = runtime.engine, runtime.clock.now()
    accounts.save(engine, [Account("act_1", "UTC", "UTC"), Account("act_2", "UTC", "Europe/Rome")], now)
    denials.close_account(engine, "act_2", "no grant", now)
    first, second = (line for line in adwarm("accounts", "list").stdout.splitlines() if "act_" in line)
    assert [cell.strip() for cell in first.strip("│").split("│")] == ["act_1", "-", "UTC", "active", "default"]
    assert "UTC; readers Europe/Rome" in second
    assert "denied: no grant" in second
    assert {"currency", "holiday_country", "last_seen"} <= set(adwarm("accounts", "list", "--json").json[0])


def test_a_name_in_brackets(adwarm: Adwarm) -> None:
    """Brackets in a name are printed and not taken for markup."""
    accounts.save(Runtime().engine, [Account("act_1", name="[/b] [draft] shop")], Runtime().clock.now())
    assert "[/b] [draft] shop" in " ".join(adwarm("accounts", "list").stdout.split())
