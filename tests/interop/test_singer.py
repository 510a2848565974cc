"""Singer's tap reads the simulator like the platform."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.interop.conftest import ACCOUNTS, SINCE, Simulator, run

BREAKDOWNS = ["age_and_gender", "country", "platform_and_device", "region", "comscore_market", "hourly_advertiser"]
INSIGHTS = {"ads_insights", *(f"ads_insights_{name}" for name in BREAKDOWNS)}


def figures_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """The figures that a row has in every stream; by the hour there is no reach."""
    return row["ad_id"], row["date_start"][:10], row["impressions"], row["clicks"], round(float(row["spend"]) * 100)


def test_every_stream_is_read(simulator: Simulator, tmp_path: Path) -> None:
    """All streams with all fields of the tap's own schemas have records; those of insights have each true row once."""
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
        found = [
            figures_of(row | {name: int(row[name]) for name in ("impressions", "clicks")}) for row in records[stream]
        ]
        assert sorted(found) == sorted(truth), stream
