"""Daily rows of the simulated platform, for benchmarks of documents."""

from datetime import UTC, date, datetime, time, timedelta

import orjson

from adwarm.model import Row
from adwarm.store.partition_rows import in_order
from graph_simulator.app_state import AppState
from graph_simulator.config import SimulatorConfig

FIELDS = "ad_id,ad_name,impressions,reach,frequency,clicks,spend,ctr,cpm,cpc,actions,cost_per_action_type"
UNTIL = date(2026, 9, 30)
"""Last day of the first report."""
FINAL = datetime(2026, 12, 1, tzinfo=UTC)
"""A moment at which all those days are final."""


def simulated_rows(ads: int, since: date, until: date, now: datetime = FINAL, fields: str = FIELDS) -> list[Row]:
    """Return the daily rows of an account with about so many ads at a time, as stated at `now`, by day and ad."""
    from fastapi.testclient import TestClient

    from graph_simulator.http_app import PlatformApp

    config = SimulatorConfig(ads=ads, seed=7, now=now)
    client = TestClient(PlatformApp(config, AppState(config)), headers={"Authorization": f"Bearer {config.token}"})
    span = orjson.dumps({"since": str(since), "until": str(until)}).decode()
    query = {"level": "ad", "time_increment": "1", "limit": "5000", "fields": fields, "time_range": span}
    rows: list[Row] = []
    page = client.get("/v26.0/act_1/insights", params=query).json()
    while True:
        rows += page["data"]
        if "next" not in page.get("paging", {}):
            return in_order(rows)
        query["after"] = page["paging"]["cursors"]["after"]
        page = client.get("/v26.0/act_1/insights", params=query).json()


def noon_after(day: date) -> datetime:
    """Return noon of the day after `day`, UTC."""
    return datetime.combine(day + timedelta(days=1), time(12), UTC)
