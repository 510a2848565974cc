"""Meta's own SDK reads the simulator as it reads the platform."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import ACCOUNTS, FIELDS, SINCE, UNTIL, Simulator, run, told


def ask(simulator: Simulator, home: Path, **question: Any) -> Any:
    """What the SDK found."""
    asked = {"url": simulator.url, "accounts": ACCOUNTS, "since": str(SINCE), "until": str(UNTIL), **question}
    return json.loads(run("airflow", "sdk.py", json.dumps(asked), home=home))


@pytest.mark.parametrize("level", ["ad", "adset", "campaign", "account"])
def test_every_way_gives_the_true_rows(simulator: Simulator, tmp_path: Path, level: str) -> None:
    """Called, as a report, in a batch, by several ids and by campaign: each row is the true one, and comes once."""
    simulator.behave()
    found = ask(simulator, tmp_path, level=level, fields=[f"{level}_id", *FIELDS])
    first, second = (simulator.truth(account, level) for account in ACCOUNTS)
    ways = [(found["called"], first), (found["report"], first)]
    ways += [*zip(found["batch"], [first, second], strict=True)]
    ways += [(found["ids"][account]["data"], true) for account, true in zip(ACCOUNTS, [first, second], strict=True)]
    if level != "account":
        ways.append((found["campaigns"], first))
    for place, (rows, true) in enumerate(ways):
        shown = told(rows, level)
        paged = place in {4, 5}  # several ids have a page each
        assert len(shown) == len(set(shown)) == (min(10, len(true)) if paged else len(true))
        assert set(shown) <= true
    assert found["unknown_field"] == found["unknown_word"] == [100, None, None]


@pytest.mark.parametrize(
    ("kind", "code", "subcode", "transient"),
    [
        ("denied", 200, None, None),
        ("denied_10", 10, None, None),
        ("denied_100", 100, None, None),
        ("denied_100_33", 100, 33, None),
        ("denied_275", 275, None, None),
        ("no_capability", 3, None, None),
        ("token_dead", 190, 463, None),
        ("token_104", 104, None, None),
        ("token_2500", 2500, None, None),
        ("final_1", 1, 2853001, False),
        ("transient_2", 2, None, True),
        ("too_many_429", 613, None, None),
    ],
)
def test_refusals_as_the_sdk_reads_them(
    simulator: Simulator, tmp_path: Path, kind: str, code: int, subcode: int | None, transient: bool | None
) -> None:
    """The SDK finds the code, the subcode and the transience of each refusal where it looks for them."""
    simulator.behave({"kind": kind})
    assert ask(simulator, tmp_path, only_fails=True) == [code, subcode, transient]


def test_a_wrong_token_and_none(simulator: Simulator, tmp_path: Path) -> None:
    """A token that is none is 190."""
    simulator.behave()
    assert ask(simulator, tmp_path, only_fails=True, token="other") == [190, 463, None]
