"""Range summaries that are there already: when one may be kept, and when it has to be asked for again.

A summary is asked for once an account's day, and again when a day of its window was restated since: the sum of the
days' data versions tells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import Engine

from adwarm.compression import decompress
from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.foundation.errors import Corrupt
from adwarm.model import EntryKey, Row, Window
from adwarm.settings import CompressionSettings
from adwarm.store import entries
from adwarm.store.partitions import PartitionState


@dataclass(frozen=True, slots=True)
class RangeSummary:
    """One row per object over a window.

    Attributes:
        versions: sum of the data versions of the window's days when the rows were fetched.
        missing: what could not be read, and why.
    """

    rows: list[Row]
    fetched_at: datetime
    versions: int
    missing: str | None = None

    def metadata(self) -> dict[str, Any]:
        """Return what an entry says of it beside its rows."""
        return {"fetched_at": self.fetched_at, "versions": self.versions, "missing": self.missing}


def load_summaries(
    engine: Engine, keys: Iterable[EntryKey], compression: CompressionSettings
) -> dict[Window, RangeSummary]:
    """Return the summaries in the entries of `keys`, by window; entries that are damaged or not trusted have none."""
    found = ((key.window, _read(engine, key, compression)) for key in set(keys) if len(key.window) > 1)
    return {window: summary for window, summary in found if summary is not None}


def find_due_summaries(
    windows: Sequence[Window],
    stored: Mapping[Window, RangeSummary],
    states: Mapping[date, PartitionState],
    schedule: RefetchSchedule,
    now: datetime,
) -> list[Window]:
    """Return the windows whose summary has to be asked for, given the days as they now are."""
    return [
        window
        for window in windows
        if window not in stored
        or stored[window].versions != version_sum(states, window)
        or schedule.is_summary_due(window, stored[window].fetched_at, now)
    ]


def version_sum(states: Mapping[date, PartitionState], window: Window) -> int:
    """Return the sum of the data versions of a window's days; it grows with each restatement and each new day."""
    return sum(states[day].data_version for day in window.days() if day in states)


def _read(engine: Engine, key: EntryKey, compression: CompressionSettings) -> RangeSummary | None:
    found = entries.find(engine, key)
    if found is None or found[0].degraded:
        return None
    try:
        body = orjson.loads(decompress(found[1], compression))
    except Corrupt:
        return None  # as if it were not there: it is asked for again
    told = body.get("summary")
    if not told:
        return None
    return RangeSummary(
        body["rows"], datetime.fromisoformat(told["fetched_at"]), int(told["versions"]), told["missing"]
    )
