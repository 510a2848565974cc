"""Airflow's own Facebook hook reads the simulator like the platform; its OpenLineage provider knows adwarm's assets."""

import json
from pathlib import Path

import pytest

from tests.interop.conftest import ACCOUNTS, FIELDS, ROOT, SINCE, UNTIL, Simulator, run, totals_of


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


def test_openlineage_accepts_every_asset(tmp_path: Path) -> None:
    """Airflow's provider finds the converter by adwarm's entry point, and OpenLineage's client writes its datasets."""
    info = tmp_path / "adwarm-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adwarm\nVersion: 1\n", encoding="utf-8")
    entry = "[apache_airflow_provider]\nprovider_info = adwarm_airflow.provider_info:get_provider_info\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    path = tmp_path / "events.jsonl"
    run("airflow", "openlineage_assets.py", f"{ROOT / 'plugins'}:{tmp_path}", str(path), home=tmp_path)
    (event,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    names = ["access_log", "aggregates", "forecast", "entries", "scores", "day_complete", "data_arrived", "requests"]
    assert [(item["namespace"], item["name"]) for item in event["outputs"]] == [("adwarm", name) for name in names]
