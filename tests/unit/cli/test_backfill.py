"""`adwarm backfill`: the estimate, the run, and the arguments it rejects."""

from datetime import timedelta

import pytest

from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.store import accounts, denials
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.support.wall_clock import START

from .conftest import Adwarm

RANGE = ("--from", "2026-06-01", "--to", "2026-07-30", "--at", "2026-11-25T12:00:00+00:00")


def test_estimate_then_run_then_nothing_left(adwarm: Adwarm, platform: SimulatorServer) -> None:
    """The estimate makes no call; the run fetches every day; a rerun makes no call, and the estimate is 0."""
    platform.reset()
    before = adwarm("backfill", "run", "--dry-run", *RANGE, "--accounts", "act_1,2", "--json").json
    assert (before["accounts"], before["days"], before["rows_from"], platform.calls()["total"]) == (
        2,
        120,
        "assumed",
        0,
    )

    done = adwarm("backfill", "run", *RANGE, "--accounts", "act_1,2", "--json")
    calls = platform.calls()["total"]
    assert (done.exit_code, done.json["fetched"], done.json["requests"]) == (0, done.json["blocks"], calls)
    assert "2 accounts lack" in done.stderr

    again = adwarm("backfill", "run", *RANGE, "--accounts", "act_1,2", "--json")
    after = adwarm("backfill", "run", "--dry-run", *RANGE, "--accounts", "act_1,2", "--json").json
    assert (again.json["requests"], after["days"], after["requests"], platform.calls()["total"]) == (0, 0, 0, calls)


def test_a_report_that_the_source_does_not_have_is_refused(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups, and rows below those of a table: an estimate and a run refuse named accounts, and leave out others."""
    monkeypatch.setenv("ADWARM_CONNECTIONS__SHOP__KIND", "sql")
    monkeypatch.setenv("ADWARM_CONNECTIONS__SHOP__LEVEL", "campaign")
    monkeypatch.setenv("ADWARM_REPORTS__PLACES__LEVEL", "campaign")
    monkeypatch.setenv("ADWARM_REPORTS__PLACES__BREAKDOWNS", '["publisher_platform"]')
    table = Account("act_8", "UTC", "UTC", "EUR", "shop")
    accounts.save(Runtime().engine, [table], START)
    for words, *more in (
        ("has no breakdowns", "--report", "places", "--dry-run"),
        ("has no breakdowns", "--report", "places", "--accounts", "act_8"),
        ("no rows by 'ad'", "--accounts", "act_8", "--dry-run"),
    ):
        refused = adwarm("backfill", "run", *RANGE, *more)
        assert (refused.exit_code, words in refused.stderr, "shop" in refused.stderr) == (1, True, True)
    accounts.save(Runtime().engine, [Account("act_1", "UTC", "UTC", "EUR"), table], START)
    mixed = adwarm("backfill", "run", "--dry-run", *RANGE, "--report", "places", "--json")
    assert (mixed.json["accounts"], mixed.json["async_reports"]) == (1, 0)
    assert "left out: accounts of the connection shop" in mixed.stderr


def test_run_without_names_takes_the_accounts_of_the_source(adwarm: Adwarm) -> None:
    """When no account is known, the accounts of the source are listed once."""
    result = adwarm("backfill", "run", *RANGE[:2], "--to", "2026-06-03", *RANGE[4:])

    assert result.exit_code == 0
    assert "fetched" in result.stdout
    assert adwarm("backfill", "run", "--dry-run", *RANGE, "--json").json["accounts"] == 3


def test_invalid_backfills_are_rejected(adwarm: Adwarm) -> None:
    """Days older than 37 months, invalid days, and an estimate without accounts: each error says what to do."""
    old = adwarm("backfill", "run", "--from", "2020-01-01", "--to", "2020-02-01", "--accounts", "1")
    none = adwarm("backfill", "run", "--dry-run", "--from", "tomorrow", "--to", "2026-07-30", "--accounts", "1")
    nobody = adwarm("backfill", "run", "--dry-run", *RANGE)

    assert (old.exit_code, none.exit_code, nobody.exit_code) == (1, 1, 1)
    assert "37 months" in old.stderr
    assert "is not a day" in none.stderr
    assert "--accounts" in nobody.stderr


def test_an_account_that_cannot_be_read_ends_the_command_with_its_reason(adwarm: Adwarm) -> None:
    """The other accounts are fetched, and the exit code is 1."""
    result = adwarm("backfill", "run", *RANGE, "--accounts", "1,77", "--json")

    assert result.exit_code == 1
    assert result.json["fetched"] > 0
    assert all(name.startswith("act_77") for name in result.json["reasons"])


def test_a_denied_account_is_reported_until_it_is_read(adwarm: Adwarm, platform: SimulatorServer) -> None:
    """A rerun makes no call and reports the same reason; once its denial is lifted, the account is called again."""
    days = (*RANGE[:2], "--to", "2026-06-03", *RANGE[4:], "--json")
    adwarm("backfill", "run", *days)
    platform.state.set_fault_profile(
        parse_fault_profile({"fault": [{"kind": "denied", "accounts": ["act_1"]}]}, "storm")
    )
    more = ("--from", "2026-05-01", "--to", "2026-05-03", *RANGE[4:], "--json")
    first = adwarm("backfill", "run", *more)
    platform.reset()
    again = adwarm("backfill", "run", *more)
    calls = platform.calls()["total"]
    platform.state.set_fault_profile(parse_fault_profile({}, "calm"))
    denials.lift(Runtime().engine, ["act_1"])
    lifted = adwarm("backfill", "run", *more)

    assert [result.exit_code for result in (first, again, lifted)] == [1, 1, 0]
    assert [list(result.json["reasons"]) for result in (first, again)] == [["act_1 2026-05-01..2026-05-03"]] * 2
    assert (calls, lifted.json["fetched"]) == (0, 1)


YESTERDAY = (START - timedelta(days=1)).date().isoformat()


def test_a_notice_is_recorded_once(adwarm: Adwarm) -> None:
    """The first notice marks the days, an equal one finds them known; both say so in words and as JSON."""
    accounts.save(Runtime().engine, [Account("act_1", "UTC", "UTC", "EUR")], START)

    first = adwarm("notify-data", "1", "--days", YESTERDAY, "--json").json
    again = adwarm("notify-data", "act_1", "--days", f"{YESTERDAY}..{YESTERDAY}")

    assert (first["account"], first["marked"], first["repeated"], first["entries"]) == ("act_1", 1, 0, 0)
    assert again.exit_code == 0
    assert "1 reported before and not fetched yet" in " ".join(again.stdout.split())


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("act_9", "--days", YESTERDAY), "adwarm accounts list"),
        (("act_1", "--days", "2999-01-01"), "in the future"),
        (("act_1", "--days", YESTERDAY, "--arrived", "2999-01-01"), "in the future"),
        (("act_1", "--days", "x"), "write one day such as"),
    ],
)
def test_a_bad_notice_is_one_line(adwarm: Adwarm, words: tuple[str, ...], advice: str) -> None:
    """Each says what is wrong and what to write, and exits with 1."""
    accounts.save(Runtime().engine, [Account("act_1", "UTC", "UTC", "EUR")], START)
    result = adwarm("notify-data", *words)
    assert result.exit_code == 1
    assert advice in " ".join(result.stderr.split())
