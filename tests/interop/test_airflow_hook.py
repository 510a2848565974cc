"""Airflow's own Facebook hook reads the simulator like the platform."""

import json
from pathlib import Path

import pytest

from tests.interop.conftest import ACCOUNTS, FIELDS, SINCE, UNTIL, Simulator, run, totals_of


@pytest.mark.parametrize("level", ["ad", "campaign"])
def test_the_hook_gives_the_true_rows(simulator: Simulator, tmp_path: Path, level: str) -> None:
    """For several accounts at once, each true row comes once."""
    simulator.behave()
    query = {
        "url": simulator.url,
        "accounts": ACCOUNTS,
        "since": str(SINCE),
        "until": str(UNTIL),
        "level": level,
        "fields": [f"{level}_id", *FIELDS],
        "output": str(tmp_path / "rows.json"),
    }
    run("airflow", "airflow_hook.py", json.dumps(query), home=tmp_path)
    result = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    for account in ACCOUNTS:
        rows = totals_of(result[account], level)
        assert len(rows) == len(set(rows))
        assert set(rows) == simulator.truth(account, level)
