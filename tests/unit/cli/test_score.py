"""`adwarm score`: the ads of an account are scored from stored days by one command."""

from adwarm.runtime import Runtime
from tests.unit.fatigue.stored_ads import ACCOUNT, LAST_DAY, store_account

from .conftest import Adwarm


def test_an_account_is_scored_as_of_its_newest_day(adwarm: Adwarm) -> None:
    """The day is the newest complete one unless one is named; unchanged data is not scored again."""
    store_account(Runtime().context)
    first = adwarm("score", "1", "--json").json
    assert (first["account"], first["as_of"], first["accounts"]) == (ACCOUNT, str(LAST_DAY), 1)
    assert sum(first["bands"].values()) == 2
    assert f"{ACCOUNT} on {LAST_DAY}: 1 account unchanged" in adwarm("score", "1").stdout
    assert adwarm("score", "1", "--as-of", "2026-11-20", "--json").json["accounts"] == 1


def test_an_account_without_days_says_how_to_get_some(adwarm: Adwarm) -> None:
    """The error is one line and names the command that fetches days."""
    done = adwarm("score", "act_7")
    assert done.exit_code == 1
    assert "act_7 has no stored day; `adwarm backfill" in done.stderr
