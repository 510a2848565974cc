"""`adwarm notify-data`: marks, repeats, refuses."""

from datetime import timedelta

import pytest

from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.store import accounts
from tests.wall_clock import START

from .conftest import Adwarm

YESTERDAY = (START - timedelta(days=1)).date().isoformat()


def test_a_notice_is_recorded_once(adwarm: Adwarm) -> None:
    """The first notice marks the days, an equal one finds them known; both say so in words and as JSON."""
    accounts.save(Runtime().engine, [Account("act_1", "UTC", "UTC", "EUR")], START)

    first = adwarm("notify-data", "1", "--days", YESTERDAY, "--json").json
    again = adwarm("notify-data", "act_1", "--days", f"{YESTERDAY}..{YESTERDAY}")

    assert (first["account"], first["marked"], first["known"], first["entries"]) == ("act_1", 1, 0, 0)
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
