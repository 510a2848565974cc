"""`adwarm get`: a miss, a fetch, a hit, and an account that cannot be read."""

from graph_simulator.server import SimulatorServer

from .conftest import Adwarm


def test_get_on_a_miss_says_what_to_do(adwarm: Adwarm, platform: SimulatorServer) -> None:
    """A miss is one line and exit 1; with --fetch the report is fetched, the second time without a call."""
    missed = adwarm("get", "act_1", "yesterday")
    assert (missed.exit_code, missed.stdout, missed.stderr.count("\n")) == (1, "", 1)
    assert "adwarm get --fetch" in missed.stderr
    assert adwarm("get", "act_1", "yesterday", "--json").json["kind"] == "NotFound"
    fetched = adwarm("get", "act_1", "yesterday", "--fetch")
    assert fetched.json["account_id"] == "act_1"
    assert fetched.stderr.startswith("fetched, ")
    calls = platform.calls()["total"]
    assert adwarm("get", "act_1", "yesterday", "--fetch", "--json").json == fetched.json
    assert adwarm("get", "act_1", "yesterday", "--meta").json["status"] == "hit"
    assert platform.calls()["total"] == calls


def test_get_of_an_unreadable_account_says_why(adwarm: Adwarm) -> None:
    """The platform's error is one line with its reason."""
    result = adwarm("get", "act_9", "today", "--fetch")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("adwarm: act_9 today: ")
