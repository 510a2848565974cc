"""Meta's own SDK reads the simulator like the platform."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import ACCOUNTS, FIELDS, SINCE, UNTIL, Simulator, run, totals_of


def ask(simulator: Simulator, home: Path, **query: Any) -> Any:
    """The output of the SDK program."""
    query = {"url": simulator.url, "accounts": ACCOUNTS, "since": str(SINCE), "until": str(UNTIL), **query}
    return json.loads(run("airflow", "sdk.py", json.dumps(query), home=home))


@pytest.mark.parametrize("level", ["ad", "adset", "campaign", "account"])
def test_every_way_gives_the_true_rows(simulator: Simulator, tmp_path: Path, level: str) -> None:
    """Synchronously, as a report, in a batch, by several ids and by campaign: each true row comes once."""
    simulator.behave()
    result = ask(simulator, tmp_path, level=level, fields=[f"{level}_id", *FIELDS])
    first, second = (simulator.truth(account, level) for account in ACCOUNTS)
    ways = [(result["called"], first), (result["report"], first)]
    ways += [*zip(result["batch"], [first, second], strict=True)]
    ways += [(result["ids"][account]["data"], true) for account, true in zip(ACCOUNTS, [first, second], strict=True)]
    if level != "account":
        ways.append((result["campaigns"], first))
    for place, (rows, true) in enumerate(ways):
        shown = totals_of(rows, level)
        paged = place in {4, 5}  # several ids have a page each
        assert len(shown) == len(set(shown)) == (min(10, len(true)) if paged else len(true))
        assert set(shown) <= true
    assert result["unknown_field"] == result["unknown_word"] == [100, None, None]


@pytest.mark.parametrize(
    ("kind", "code", "subcode", "transient"),
    [
        ("denied", 200, None, None),
        ("denied_100_33", 100, 33, None),
        ("no_capability", 3, None, None),
        ("token_dead", 190, 463, None),
        ("token_2500", 2500, None, None),
        ("final_1", 1, 2853001, False),
        ("transient_2", 2, None, True),
        ("too_many_429", 613, None, None),
    ],
)
def test_errors_as_the_sdk_reads_them(
    simulator: Simulator, tmp_path: Path, kind: str, code: int, subcode: int | None, transient: bool | None
) -> None:
    """The SDK reads code, subcode and `is_transient` of each error."""
    simulator.behave({"kind": kind})
    assert ask(simulator, tmp_path, only_fails=True) == [code, subcode, transient]


def test_an_unknown_token(simulator: Simulator, tmp_path: Path) -> None:
    """An unknown token is 190."""
    simulator.behave()
    assert ask(simulator, tmp_path, only_fails=True, token="other") == [190, 463, None]
