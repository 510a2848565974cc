"""Singer's tap reads the simulator like the platform."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.interop.conftest import ACCOUNTS, SINCE, Simulator, run

BREAKDOWNS = ["age_and_gender", "country", "platform_and_device", "region", "comscore_market", "hourly_advertiser"]
INSIGHTS = {"ads_insights", *(f"ads_insights_{name}" for name in BREAKDOWNS)}


def add_groups(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The figures of each ad and day that add up over its groups: impressions, clicks, and cents."""
    figures: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        total = figures.setdefault((row["ad_id"], row["date_start"][:10]), [0, 0, 0])
        for index, value in enumerate((int(row["impressions"]), int(row["clicks"]), round(float(row["spend"]) * 100))):
            total[index] += value
    return [(*key, *total) for key, total in figures.items()]


def test_every_stream_is_read(simulator: Simulator, tmp_path: Path) -> None:
    """All streams with all fields of the tap's own schemas have records; those of insights add up to each true row."""
    simulator.behave()
    days = [str(SINCE + timedelta(number)) for number in range(2)]
    account = ACCOUNTS[0]
    config = {
        "account_id": account.removeprefix("act_"),
        "access_token": "simulated-token",
        "start_date": days[1],
        "end_date": days[1],
        "insights_buffer_days": 1,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    lines = run("singer", "singer_tap.py", simulator.url, "--config", str(path), home=tmp_path).splitlines()
    records: dict[str, list[dict[str, Any]]] = {}
    for message in map(json.loads, lines):
        if message["type"] == "RECORD":
            records.setdefault(message["stream"], []).append(message["record"])
    assert records.keys() == {"adcreative", "ads", "adsets", "campaigns"} | INSIGHTS
    truth = [(*row[:3], *row[4:]) for row in simulator.truth(account, "ad") if row[1] in days]
    for stream in INSIGHTS:
        assert sorted(add_groups(records[stream])) == sorted(truth), stream
        assert (len(records[stream]) > len(truth)) == (stream != "ads_insights"), stream
