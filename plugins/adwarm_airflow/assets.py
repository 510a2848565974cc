"""The assets of the package, and their events: each is sent only by a task that really wrote.

```
adwarm_access_log ──> adwarm_aggregates ──> adwarm_forecast ──> adwarm_entries ──> adwarm_scores ──> adwarm_day_complete
                          adwarm_data_arrived ──^                   ^── adwarm_requests
```

`adwarm_requests` and `adwarm_data_arrived` come from outside: readers enqueue requests, and whoever loads data says so.
The events of `adwarm_day_complete` have the day as their partition (`2026-11-25`); those of the others have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset

GROUP = "adwarm"
ACCESS_LOG = Asset(name="adwarm_access_log", uri="adwarm://access_log", group=GROUP)
AGGREGATES = Asset(name="adwarm_aggregates", uri="adwarm://aggregates", group=GROUP)
FORECAST = Asset(name="adwarm_forecast", uri="adwarm://forecast", group=GROUP)
ENTRIES = Asset(name="adwarm_entries", uri="adwarm://entries", group=GROUP)
SCORES = Asset(name="adwarm_scores", uri="adwarm://scores", group=GROUP)
DAY_COMPLETE = Asset(name="adwarm_day_complete", uri="adwarm://day_complete", group=GROUP)
DATA_ARRIVED = Asset(name="adwarm_data_arrived", uri="adwarm://data_arrived", group=GROUP)
REQUESTS_NAME, REQUESTS_URI = "adwarm_requests", "adwarm://requests"


def announce(context: Mapping[str, Any], asset: Asset, extra: Mapping[str, Any], days: Sequence[str] = ()) -> None:
    """Let the running task send an event of `asset` when it succeeds.

    Args:
        context: the context of the task, which has `asset` as an outlet.
        extra: what the event says: counts, days and ids; never a secret.
        days: partition keys; an event for each. Empty: one event without a partition.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    event = events[asset]
    event.extra = dict(extra)
    if days:
        event.add_partitions(list(days))


def withhold(context: Mapping[str, Any], *assets: Asset) -> None:
    """Keep the running task from sending events of `assets`: it wrote nothing there.

    Airflow sends an event for each outlet that a successful task has at its end. The task that runs is a copy, so the
    declared outlets, and with them the graph of assets, stay as they are.
    """
    task = getattr(context.get("ti"), "task", None)
    if task is not None and context.get("outlet_events") is not None:
        task.outlets = [outlet for outlet in task.outlets if outlet not in assets]


def announce_if(context: Mapping[str, Any], asset: Asset, extra: Mapping[str, Any], *, is_written: bool) -> None:
    """Let the running task send an event of `asset` if it wrote there, and none otherwise."""
    if is_written:
        announce(context, asset, extra)
    else:
        withhold(context, asset)
