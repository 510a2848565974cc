"""The commands of the actions: gate, warm --failed, cache purge, and the list of what was done."""

from datetime import UTC, datetime

from adwarm.foundation.errors import Transient
from adwarm.model import Priority, ReportKey
from adwarm.runtime import Runtime
from adwarm.store import denials

from .conftest import Adwarm


def test_switches_are_turned_and_listed(adwarm: Adwarm) -> None:
    """With a reason; without one nothing changes; the status document has both."""
    off = adwarm("gate", "switch", "warming", "off", "--why", "incident 7", "--json")
    assert (off.exit_code, off.json["warming"]["is_on"], off.json["warming"]["why"]) == (0, False, "incident 7")
    refused = adwarm("gate", "switch", "warming", "on")
    assert (refused.exit_code, "say why" in refused.stderr) == (1, True)
    assert adwarm("gate", "switch", "warming", "up").exit_code == 1
    assert adwarm("gate", "switch", "cooling", "on").exit_code == 1
    status = adwarm("status", "--json").json["switches"]
    assert (status["warming"]["is_on"], status["shadow"]["is_on"]) == (False, False)
    assert "incident 7" in adwarm("gate", "list").stdout
    listed = adwarm("status", "--actions", "--json").json
    assert [(x["action"], x["succeeded"], x["via"]) for x in listed] == [
        ("switch_warming", False, "cli"),
        ("switch_warming", True, "cli"),
    ]
    assert "switch_warming" in adwarm("status", "--actions").stdout


def test_a_backfill_is_refused_while_warming_is_off(adwarm: Adwarm) -> None:
    """It exits with 1 and says who switched it off; a report that is asked for by hand is fetched."""
    adwarm("gate", "switch", "warming", "off", "--why", "incident 7")
    run = adwarm("backfill", "run", "--from", "2026-11-01", "--to", "2026-11-02", "--accounts", "act_1")
    assert (run.exit_code, "incident 7" in run.stderr) == (1, True)
    assert adwarm("warm", "act_1", "--range", "yesterday").exit_code == 0


def test_nothing_is_held_back(adwarm: Adwarm) -> None:
    """The list is empty, a scope says so, and a name that is none is refused."""
    assert adwarm("gate", "list", "--json").json["gates"] == []
    assert "nothing holds account:act_1 back" in adwarm("gate", "open", "account:act_1").stdout
    assert adwarm("gate", "open", "account:act_1", "--json").json[0]["ended"] == []
    assert adwarm("gate", "open", "mars").exit_code == 1
    assert "nothing; every scope" in adwarm("gate", "list").stdout


def test_the_denial_of_an_account_is_lifted(adwarm: Adwarm) -> None:
    """Several scopes are opened at once; only the account that was denied had a gate."""
    engine, far = Runtime().engine, datetime(9000, 1, 1, tzinfo=UTC)
    denials.record(engine, "act_9", "default", "digest", "no role on it", far)
    denials.close_account(engine, "act_9", "no role on it", far)
    opened = adwarm("gate", "open", "account:act_9", "account:act_1", "--json").json
    ended = [(item["scope"], [gate["rule"] for gate in item["ended"]]) for item in opened]
    assert ended == [("account:act_9", ["denial"]), ("account:act_1", [])]
    assert adwarm("gate", "list", "--json").json["gates"] == []


def test_opening_a_switch_turns_it_back(adwarm: Adwarm) -> None:
    """It asks for a reason, as turning it does."""
    adwarm("gate", "switch", "calls", "off", "--why", "incident 7")
    assert [gate["scope"] for gate in adwarm("gate", "list", "--json").json["gates"]] == ["switch:calls"]
    assert "say why" in adwarm("gate", "open", "switch:calls").stderr
    assert (
        "ended: switch:calls is closed: calls are switched off"
        in adwarm("gate", "open", "switch:calls", "--why", "over").stdout
    )
    switches = adwarm("gate", "list", "--json").json["switches"]
    assert (switches["calls"]["is_on"], switches["calls"]["why"]) == (True, "over")


def test_failed_requests_and_warms_are_requested_again(adwarm: Adwarm) -> None:
    """They are listed with the reason and queued; then nothing is left to request again."""
    runtime = Runtime()
    runtime.queue.enqueue(ReportKey("act_1", "yesterday"), Priority.LOW)
    [claim] = runtime.queue.dequeue(1)
    runtime.queue.fail(claim, str(Transient("no answer")))
    done = adwarm("warm", "--failed", "--why", "fixed", "--json").json
    assert (done["failed"][0]["reason"], len(done["result"]["requests"])) == ("no answer", 1)
    assert adwarm("warm", "--failed", "--json").json["failed"] == []
    assert {str(item.key) for item in runtime.queue.list_newest(5)} == {"act_1 yesterday"}


def test_what_commands_do_is_recorded(adwarm: Adwarm) -> None:
    """Warming, enqueuing and purging by hand are in the list with the results."""
    adwarm("warm", "act_1", "--range", "yesterday")
    adwarm("warm", "--queue", "act_2", "--range", "yesterday")
    adwarm("cache", "purge", "--account", "act_1")
    actions = adwarm("status", "--actions", "--json").json
    assert [item["action"] for item in actions] == ["purge", "warm_now", "warm_now"]
    assert "deleted 1 entry" in actions[0]["detail"]
    assert actions[1]["arguments"]["reports"] == ["act_2 yesterday"]
