"""Slots as pandas frames: which of them begin with a first open, and how many opens each hour of a reader's week has.

Memory is bounded by some days of slots, and by the counts: of accounts and hours, or of reports and hours of the week.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import pandas as pd
import pyarrow as pa

from adwarm.foundation.arrow_arrays import system_memory_pool
from adwarm.foundation.local_time import zone
from adwarm.model import FIRST_OPEN_QUIET
from adwarm.patterns.open_history import iter_slots
from adwarm.patterns.opens import KEY_COLUMNS
from adwarm.patterns.slot_counts import SLOT_SCHEMA
from adwarm.store import Context, accounts

ReaderZones = Callable[[], Mapping[str, str]]
"""Returns the reader zones of accounts, by account id."""
_ROWS_AT_ONCE = 100_000
"""Days with fewer slots are taken together."""
_COLUMNS = [*KEY_COLUMNS, "time_zone", "opens", "first_ts", "last_ts"]
_NO_SLOTS = SLOT_SCHEMA.empty_table()


@dataclass(frozen=True)
class OpenCounts:
    """First opens of a period. Each index begins with the account.

    Attributes:
        hours: by the local hour of the reader's clock, without a zone.
        zones: by reader zone.
        ranges: by date range.
        started: the first open of each account.
        keys: how many report keys of each account were opened.
    """

    hours: pd.Series
    zones: pd.Series
    ranges: pd.Series
    started: pd.Series
    keys: pd.Series


def mark_first_opens(days: Iterable[pa.Table]) -> Iterator[pd.DataFrame]:
    """Yield slots by time, some days at once, with `is_first`: whether one begins with a first open of its key.

    Args:
        days: the slots of one UTC day after the other, in `SLOT_SCHEMA`.
    """
    before = _NO_SLOTS
    for some in _join(days):
        together = _sort([before, *some])
        slots = together.to_pandas()
        keys = slots.groupby(KEY_COLUMNS, observed=True, sort=False)
        # A slot has a row for each reader zone, so that the latest open is not always that of the row before.
        slots["latest"] = keys["last_ts"].cummax()
        slots["is_first"] = ~(slots["first_ts"] - keys["latest"].shift() < FIRST_OPEN_QUIET)
        yield slots.iloc[len(before) :]
        before = together.filter(pa.array(slots["last_ts"] > slots["last_ts"].max() - FIRST_OPEN_QUIET))


def count_first_opens(days: Iterable[pa.Table], default_zone: str, reader_zones: ReaderZones = dict) -> OpenCounts:
    """Return the first opens in slots.

    Args:
        days: the slots of one UTC day after the other, in `SLOT_SCHEMA`.
        default_zone: the zone of readers that neither the log nor `reader_zones` names.
        reader_zones: of accounts whose readers' zone the log does not name.
    """
    hours, zones, ranges, keys, started = (list[pd.Series]() for _ in range(5))
    for slots in mark_first_opens(days):
        opens = slots[slots["is_first"]].copy()
        opens["time_zone"] = _fill_zones(opens, default_zone, reader_zones)
        opens["hour"] = to_local_time(opens["first_ts"], opens["time_zone"]).dt.floor("h")
        hours.append(_count(opens, ["account_id", "hour"]))
        zones.append(_count(opens, ["account_id", "time_zone"]))
        ranges.append(_count(opens, ["account_id", "date_range"]))
        keys.append(_count(opens, KEY_COLUMNS))
        started.append(opens.groupby("account_id", observed=True)["first_ts"].min().rename(str))
    return OpenCounts(
        hours=_add_up(hours),
        zones=_add_up(zones),
        ranges=_add_up(ranges),
        keys=_add_up(keys).groupby(level="account_id").size(),
        started=pd.concat(started).groupby(level=0).min(),
    )


def load_open_counts(context: Context, since: datetime, until: datetime) -> OpenCounts:
    """Return the first opens of the stored slots that start in the half-open window.

    Where the log names no reader zone, it is the account's, else the default zone of the settings. The first open of
    each key in the window is a first open.
    """

    @cache
    def reader_zones() -> dict[str, str]:
        return {name: account.reader_zone for name, account in accounts.get_many(context.engine).items()}

    with system_memory_pool():
        return count_first_opens(iter_slots(context, since, until), context.settings.default_zone, reader_zones)


def count_hours_of_week(days: Iterable[pa.Table], default_zone: str) -> pd.DataFrame:
    """Return all opens in slots by account_id, date_range and hour_of_week; hour 0 is Monday 00:00 to 01:00.

    Args:
        default_zone: the zone of readers whose zone the log does not name.
    """
    counts = list[pd.Series]()
    for some in _join(days):
        slots = _sort(some).to_pandas()
        zones = slots["time_zone"].astype(object).replace("", default_zone).astype("category")
        slots["hour_of_week"] = hours_of_week(to_local_time(slots["first_ts"], zones))
        added = slots.groupby(["account_id", "date_range", "hour_of_week"], observed=True)["opens"].sum()
        counts = [_add_up([*counts, _plain(added)])]
    return counts[0].rename("opens").reset_index()


def to_local_time(moments: pd.Series, zones: pd.Series) -> pd.Series:
    """Return what clocks in the zone of each row show, without a zone."""
    local: pd.Series = moments.dt.tz_localize(None).copy()
    for name in zones.unique():
        is_there = zones == name
        local[is_there] = moments[is_there].dt.tz_convert(zone(name)).dt.tz_localize(None)
    return local


def hours_of_week(local: pd.Series) -> pd.Series:
    """Return the hour of the week, 0 to 167 from Monday 00:00, of times on a local clock."""
    hours: pd.Series = local.dt.day_of_week * 24 + local.dt.hour
    return hours


def _fill_zones(opens: pd.DataFrame, default_zone: str, reader_zones: ReaderZones) -> pd.Series:
    """Return the zones of the log, and where it names none the account's, else the default."""
    unnamed = opens["time_zone"] == ""
    if not unnamed.any():
        return opens["time_zone"]
    own = opens["account_id"].map(reader_zones()).astype(object).fillna(default_zone)
    return opens["time_zone"].astype(object).where(~unnamed, own).astype("category")


def _count(opens: pd.DataFrame, by: list[str]) -> pd.Series:
    return _plain(opens.groupby(by, observed=True).size())


def _plain(counts: pd.Series) -> pd.Series:
    """Return the counts with plain names, since the categories of other days are others."""
    index: Any = counts.index
    names = [level.astype(object) if level.dtype == "category" else level for level in index.levels]
    return counts.set_axis(index.set_levels(names))


def _add_up(parts: list[pd.Series]) -> pd.Series:
    together = pd.concat(parts)
    total: pd.Series = together.groupby(level=list(range(together.index.nlevels))).sum()
    return total


def _join(days: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """Yield some days at once; at least one table, which may be empty."""
    some = [_NO_SLOTS]
    for day in days:
        some.append(day)
        if sum(map(len, some)) >= _ROWS_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _sort(tables: list[pa.Table]) -> pa.Table:
    together = pa.concat_tables(table.select(_COLUMNS) for table in tables).unify_dictionaries()
    return together.sort_by([("first_ts", "ascending"), ("last_ts", "ascending")])
