from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from adwarm import Settings, profile_log

start = datetime(2026, 9, 7, 7, tzinfo=UTC)  # a Monday, 09:00 in Berlin
opens = [
    {"ts": start + timedelta(days=day), "account_id": "act_1", "date_range": "last_7d", "time_zone": "Europe/Berlin"}
    for day in range(56)
]
Path("opens.jsonl").write_bytes(b"\n".join(map(orjson.dumps, opens)))
week = profile_log("opens.jsonl", Settings(), "act_1")
assert week.loc[week["is_peak"], "hour"].unique().tolist() == [9]
print(week.pivot(index="weekday", columns="hour", values="opens_per_hour"))
