"""The whole schema: each table stands beside its functions, and importing this module registers all of them.

The comment above a table says whether it grows and what bounds it; docs/reference/tables.md describes the columns.
"""

from adwarm.store import (  # noqa: F401 (registered by their import)
    access_patterns,
    access_tokens,
    accounts,
    action_events,
    aggregates,
    alerts,
    amounts,
    capacity,
    creatives,
    data_arrivals,
    entries,
    entry_versions,
    error_events,
    fatigue_days,
    gates,
    jobs,
    leases,
    maintenance_steps,
    partitions,
    quarantine,
    read_traffic,
    reconciliations,
    report_versions,
    requests,
    scores,
    snapshots,
    strategies,
    warms,
)
from adwarm.store.columns import metadata

__all__ = ["metadata"]
