"""Airflow's own Facebook hook reads the simulator as it reads the platform."""

import json
from pathlib import Path

import pytest

from tests.interop.conftest import ACCOUNTS, FIELDS, SINCE, UNTIL, Simulator, run, told


@pytest.mark.parametrize("level", ["ad", "campaign"])
def test_the_hook_gives_the_true_rows(simulator: Simulator, tmp_path: Path, level: str) -> None:
    """For several accounts at once, each row is the true one, and comes once."""
    simulator.behave()
    question = {
        "url": simulator.url,
        "accounts": ACCOUNTS,
        "since": str(SINCE),
        "until": str(UNTIL),
        "level": level,
        "fields": [f"{level}_id", *FIELDS],
        "found": str(tmp_path / "found.json"),
    }
    run("airflow", "airflow_hook.py", json.dumps(question), home=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    for account in ACCOUNTS:
        rows = told(found[account], level)
        assert len(rows) == len(set(rows))
        assert set(rows) == simulator.truth(account, level)
