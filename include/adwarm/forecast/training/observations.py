"""When inside an hour the first open comes: an early minute, so that the fetch is done before most of them.

An early quantile of few observations says little, so a cell leans on its key, and a key on the population.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.forecast.local_hours import hour_of_week_at, localize, zone_or_default
from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.clock import utc
from adwarm.settings import Settings

EARLY_QUANTILE = 0.05
"""Share of an hour's first opens that may come before the predicted minute."""
PRIOR_OPENS = 8.0
"""Observations the wider group's minute is worth."""


def early_minutes(events: pd.DataFrame, keys: int) -> tuple[Floats, Floats]:
    """Return early minutes, 0 to 60, per key, and per (hour of week, key) in sorted order.

    `events` has row, hour_of_week and minute, one row per observed first open.
    """
    minute = events["minute"].to_numpy(np.float64)
    row = events["row"].to_numpy(np.int64)
    population = float(np.quantile(minute, EARLY_QUANTILE, method="lower")) if len(minute) else 0.0
    _, quantile, count = _grouped_quantile(row, minute)
    per_key = _lean(quantile, count, np.full(keys, population))
    cell, quantile, count = _grouped_quantile(events["hour_of_week"].to_numpy(np.int64) * max(keys, 1) + row, minute)
    return per_key, _lean(quantile, count, per_key[cell % max(keys, 1)])


def _lean(own: Floats, count: Floats, wider: Floats) -> Floats:
    # The wider group's minute only pulls a cell earlier: a minute too late costs a wait, one too early costs a minute.
    return (own * count + np.minimum(own, wider) * PRIOR_OPENS) / (count + PRIOR_OPENS)


def _grouped_quantile(group: npt.NDArray[Any], value: Floats) -> tuple[npt.NDArray[Any], Floats, Floats]:
    """Return each group (sorted), the lower EARLY quantile of its values, and its size."""
    order = np.lexsort((value, group))
    names, start, count = np.unique(group[order], return_index=True, return_counts=True)
    position = start + np.floor(EARLY_QUANTILE * (count - 1)).astype(np.int64)
    return names, value[order][position], count.astype(np.float64)


WEEK_HOURS = 168.0


@dataclass(frozen=True, slots=True)
class PriorStrengths:
    """How fast evidence ages (days) and what the priors are worth (weeks)."""

    half_life_days: float
    key: float
    account: float

    def decay(self, age_hours: Any) -> Any:
        """Return the weight, 0 to 1, of evidence that is `age_hours` old."""
        return 0.5 ** (age_hours / (24.0 * self.half_life_days))


@dataclass(frozen=True)
class Observations:
    """Arrays over keys, and arrays over cells (a key and an hour of the week with opens, sorted by hour, then key).

    Attributes:
        keys: account_id, date_range, report, time_zone; sorted, one row per key.
        span_hours: per key, how long it has been watched, up to `trained_until`.
        newcomer: per key, whether it appeared while the log was watched. Its first open started the watch and is
            therefore no evidence of how often it is opened.
        early: per key, an early minute of the first open inside an hour.
        cell_key: row of the key.
        cell_hour: hour of the reader's week.
        cell_weight: opens, each weighted by its age, without a newcomer's first.
        cell_opens: opens as counted.
        cell_early: an early minute of the first open inside that hour.
    """

    keys: pd.DataFrame
    span_hours: Floats
    newcomer: npt.NDArray[np.bool_]
    early: Floats
    cell_key: npt.NDArray[np.int32]
    cell_hour: npt.NDArray[np.int16]
    cell_weight: Floats
    cell_opens: npt.NDArray[np.int32]
    cell_early: Floats
    trained_from: datetime
    trained_until: datetime
    strengths: PriorStrengths

    def clock(self) -> Floats:
        """Per key, the hours of its local week that have passed at `trained_until`."""
        zones, where = np.unique(self.keys["time_zone"].to_numpy(dtype=str), return_inverse=True)
        at = np.array([hour_of_week_at(str(name), self.trained_until) for name in zones], np.float64)
        return at[where] if len(at) else np.zeros(0)


def build_observations(first_opens: pd.DataFrame, settings: Settings, trained_until: datetime) -> Observations:
    """Return what can be learned from `first_opens` (account_id, date_range, report, time_zone, ts in UTC).

    Only the last `forecast.history_days` before `trained_until` are learned from; older rows only tell that a key is
    no newcomer.
    """
    until = utc(trained_until)
    frame = _before(first_opens, until)
    oldest = frame["ts"].min().to_pydatetime() if len(frame) else until
    since = max(until - timedelta(days=settings.forecast.history_days), oldest)
    code = frame.groupby(KEY_COLUMNS, sort=True).ngroup().to_numpy()
    known_since = frame.groupby(code, sort=True)["ts"].min()
    recent = (frame["ts"] >= since).to_numpy()
    alive, row = np.unique(code[recent], return_inverse=True)
    frame = frame[recent].reset_index(drop=True)
    keys = _keys(frame, row, settings.default_zone)
    events = _events(frame, row, keys, until)
    newcomer, span = _watched(events, known_since.iloc[alive], since, until, len(keys))
    params = settings.forecast
    strengths = PriorStrengths(params.half_life_days, params.key_strength, params.account_strength)
    cells = _cells(events, newcomer, strengths)
    early_key, early_cell = early_minutes(events, len(keys))
    return Observations(
        keys,
        span,
        newcomer,
        early_key,
        cells["row"].to_numpy(np.int32),
        cells["hour_of_week"].to_numpy(np.int16),
        cells["weight"].to_numpy(np.float64),
        cells["opens"].to_numpy(np.int32),
        early_cell,
        since,
        until,
        strengths,
    )


def _before(first_opens: pd.DataFrame, until: datetime) -> pd.DataFrame:
    frame = first_opens[first_opens["ts"] < pd.Timestamp(until)]
    return frame.sort_values([*KEY_COLUMNS, "ts"], kind="stable", ignore_index=True)


def _keys(frame: pd.DataFrame, row: npt.NDArray[Any], default_zone: str) -> pd.DataFrame:
    """One row per key, in the order of `row`; a key's zone is that of its latest open, if it is a zone."""
    names = frame["time_zone"]
    valid = {name: zone_or_default(name, default_zone) for name in names.unique()}
    zones = names.map(lambda name: valid.get(name, default_zone)).astype(object)
    keys = frame[KEY_COLUMNS].assign(time_zone=zones, row=row)
    return keys.groupby("row", sort=True).last().reset_index(drop=True)


def _events(frame: pd.DataFrame, row: npt.NDArray[Any], keys: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """One row per key and local hour with an open: row, hour_of_week, minute, age of the hour's start in hours."""
    zones = pd.Series(keys["time_zone"].to_numpy(dtype=object)[row], dtype=object)
    local = localize(frame["ts"], zones)
    age = (pd.Timestamp(until) - frame["ts"]).dt.total_seconds().to_numpy(np.float64) / 3600.0
    local["age"] = age + local["minute"].to_numpy(np.float64) / 60.0
    local["row"] = row
    return local.drop_duplicates(["row", "occurrence"], keep="first", ignore_index=True)


def _watched(
    events: pd.DataFrame, known_since: pd.Series, since: datetime, until: datetime, keys: int
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Whether each key is a newcomer, and for how many hours it has been watched."""
    # A key first seen in the opening week was most likely there before, as its weekly rhythm would show only then.
    newcomer = (known_since >= pd.Timestamp(since + timedelta(days=7))).to_numpy()
    whole = (until - since) / timedelta(hours=1)
    oldest: Floats = np.zeros(keys)
    np.maximum.at(oldest, events["row"].to_numpy(), events["age"].to_numpy())
    return newcomer, np.where(newcomer, oldest - 1.0, np.maximum(oldest, whole))


def _cells(events: pd.DataFrame, newcomer: npt.NDArray[np.bool_], strengths: PriorStrengths) -> pd.DataFrame:
    """Opens per hour of the week and key: `weight` and `opens`."""
    row = events["row"].to_numpy()
    weight = strengths.decay(events["age"].to_numpy())
    first = np.ones(len(row), bool)
    first[1:] = row[1:] != row[:-1]
    weight[first & newcomer[row]] = 0.0
    grouped = events.assign(weight=weight).groupby(["hour_of_week", "row"], sort=True)["weight"]
    return grouped.agg(weight="sum", opens="size").reset_index()
