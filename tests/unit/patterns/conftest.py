"""Events that the tests of slots and hours count."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa

from adwarm.access_log.events import EVENT_SCHEMA
from adwarm.model import FIRST_OPEN_QUIET
from adwarm.patterns.open_counts import OpenCounts, count_first_opens
from adwarm.patterns.pattern_document import describe_profile
from adwarm.patterns.profile import AccessProfiles, build_profiles
from adwarm.patterns.slot_counts import SlotAggregator

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
        }
        for at, account, name, zone, actor in events
    ]
    return pa.RecordBatch.from_pylist(rows, schema=EVENT_SCHEMA)


def first_opens(slots: pd.DataFrame) -> pd.DataFrame:
    """Return key, reader zone and time (`ts`) of each first open in `slots`, one key at a time, by time and key."""
    rows = []
    for key, group in slots.groupby(["account_id", "date_range", "report"], observed=True):
        latest = None
        for slot in group.sort_values(["first_ts", "last_ts"]).itertuples():
            if latest is None or slot.first_ts - latest >= FIRST_OPEN_QUIET:
                rows.append((*key, slot.time_zone, slot.first_ts))
            latest = slot.last_ts if latest is None else max(latest, slot.last_ts)
    names = ["account_id", "date_range", "report", "time_zone", "ts"]
    return pd.DataFrame(rows, columns=names).sort_values(["ts", *names[:3]], ignore_index=True)


def count_opens(start: datetime, events: list[Event], default_zone: str = "UTC") -> OpenCounts:
    """Return the first opens of the events, their times counted from `start`."""
    slots = SlotAggregator()
    slots.add(event_batch(start, events))
    return count_first_opens((table for _, table in slots.days()), default_zone)


def profile_moments(
    moments: pd.DatetimeIndex, zone: str = "UTC", date_range: str = "today", until: datetime | None = None
) -> SimpleNamespace:
    """Return the profile of one account that is opened at `moments`, observed to the end of the last hour."""
    start = moments.min().to_pydatetime()
    seconds = ((moments - moments.min()) // pd.Timedelta(seconds=1)).tolist()
    counts = count_opens(start, [(at, "act_1", date_range, zone, "human") for at in seconds])
    until = until or (moments.max().floor("h") + pd.Timedelta(hours=1)).to_pydatetime()
    return get_profile(build_profiles(counts, until), "act_1")


def get_profile(profiles: AccessProfiles, account_id: str) -> SimpleNamespace:
    """Return the fields of a profile as attributes, lists as tuples."""
    fields = describe_profile(profiles, account_id).items()
    return SimpleNamespace(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields})
