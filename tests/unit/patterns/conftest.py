"""Events that the tests of slots and hours count."""

from datetime import datetime, timedelta

import pyarrow as pa

from adwarm.access_log.events import EVENT_SCHEMA

Event = tuple[int, str, str, str, str]
"""Seconds after the start, account, date range, reader zone and actor class."""


def event_batch(start: datetime, events: list[Event]) -> pa.RecordBatch:
    """Return the events as a batch of the access log, their times counted from `start`."""
    rows = [
        {
            "ts": start + timedelta(seconds=at),
            "account_id": account,
            "date_range": name,
            "report": "default",
            "time_zone": zone,
            "actor": actor,
            "hit": None,
            "latency_ms": None,
        }
        for at, account, name, zone, actor in events
    ]
    return pa.RecordBatch.from_pylist(rows, schema=EVENT_SCHEMA)
