"""Aggregates first opens for the seasonal forecast: counts per key and hour of the week, and time observed.

At most one open counts per key, hour and week, so their share of the weeks is a probability. Opens at or after
`trained_until` are ignored.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints16, Ints32
from adwarm.foundation.clock import utc
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import hours_into_week, zone_or_default
from adwarm.settings import Settings

EARLY_QUANTILE = 0.05
"""Share of an hour's first opens that may come before the predicted minute, so that the fetch is done before most."""
PRIOR_OPENS = 8.0
"""Observations that the minute of the wider group is worth: of the key for a cell, of the population for a key."""


@dataclass(frozen=True, slots=True)
class PriorStrengths:
    """How fast observations decay, and what the priors are worth.

    Attributes:
        half_life_days: age at which an observation counts half; half the history, so that habits may change.
        key: weeks that the prior of a key, its account's profile, is worth; few, since keys differ.
        account: weeks that the prior of an account, the population's profile, is worth; many, since it has many opens.
    """

    half_life_days: float = 28.0
    key: float = 4.0
    account: float = 20.0

    def decay(self, age_hours: Any) -> Any:
        """Return the weight, 0 to 1, of an observation that is `age_hours` old."""
        return 0.5 ** (age_hours / (24.0 * self.half_life_days))


@dataclass(frozen=True)
class Observations:
    """Arrays over keys, and over cells: pairs of key and hour of the week with opens, sorted by hour, then key.

    Attributes:
        keys: account_id, date_range, report, time_zone; sorted, one row per key.
        span_hours: per key, how long it was observed, up to `trained_until`.
        newcomer: per key, whether it appeared during the observed time. Its first open started the observation and is
            therefore no evidence of how often it is opened.
        early: per key, an early minute of the first open inside an hour.
        cell_weight: opens, each weighted by its age, without a newcomer's first.
        cell_early: an early minute of the first open inside that hour.
    """

    keys: pd.DataFrame
    span_hours: Floats
    newcomer: Bools
    early: Floats
    cell_key: Ints32
    cell_hour: Ints16
    cell_weight: Floats
    cell_opens: Ints32
    cell_early: Floats
    trained_from: datetime
    trained_until: datetime
    strengths: PriorStrengths

    def clock(self) -> Floats:
        """Per key, the hours of its local week that have passed at `trained_until`."""
        zones, where = np.unique(self.keys["time_zone"].to_numpy(dtype=str), return_inverse=True)
        at = np.array([hours_into_week(str(name), self.trained_until) for name in zones], np.float64)
        return at[where] if len(at) else np.zeros(0)


def build_observations(first_opens: pd.DataFrame, settings: Settings, trained_until: datetime) -> Observations:
    """Return the observations in `first_opens` (account_id, date_range, report, time_zone, ts in UTC).

    Only the last `forecast.history_days` before `trained_until` count; older rows only show that a key is not new.
    """
    until = utc(trained_until)
    frame = _before(first_opens, until)
    oldest = frame["ts"].min().to_pydatetime() if len(frame) else until
    since = max(until - timedelta(days=settings.forecast.history_days), oldest)
    code = frame.groupby(KEY_COLUMNS, sort=True).ngroup().to_numpy()
    first_open = frame.groupby(code, sort=True)["ts"].min()
    recent = (frame["ts"] >= since).to_numpy()
    recent_keys, row = np.unique(code[recent], return_inverse=True)
    frame = frame[recent].reset_index(drop=True)
    keys = _keys(frame, row, settings.default_zone)
    events = _events(frame, row, keys, until)
    newcomer, span = _observed_spans(events, first_open.iloc[recent_keys], since, until, len(keys))
    strengths = PriorStrengths()
    cells = _cells(events, newcomer, strengths)
    early_key, early_cell = early_minutes(events, len(keys))
    return Observations(
        keys=keys,
        span_hours=span,
        newcomer=newcomer,
        early=early_key,
        cell_key=cells["row"].to_numpy(np.int32),
        cell_hour=cells["hour_of_week"].to_numpy(np.int16),
        cell_weight=cells["weight"].to_numpy(np.float64),
        cell_opens=cells["opens"].to_numpy(np.int32),
        cell_early=early_cell,
        trained_from=since,
        trained_until=until,
        strengths=strengths,
    )


def _before(first_opens: pd.DataFrame, until: datetime) -> pd.DataFrame:
    frame = first_opens[first_opens["ts"] < pd.Timestamp(until)]
    return frame.sort_values([*KEY_COLUMNS, "ts"], kind="stable", ignore_index=True)


def _keys(frame: pd.DataFrame, row: npt.NDArray[Any], default_zone: str) -> pd.DataFrame:
    """Return one row per key, in the order of `row`; the zone is that of the last open, or the default if invalid."""
    names = frame["time_zone"]
    valid = {name: zone_or_default(name, default_zone) for name in names.unique()}
    zones = names.map(lambda name: valid.get(name, default_zone)).astype(object)
    keys = frame[KEY_COLUMNS].assign(time_zone=zones, row=row)
    return keys.groupby("row", sort=True).last().reset_index(drop=True)


def _events(frame: pd.DataFrame, row: npt.NDArray[Any], keys: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """Return, per key and local hour with an open: row, hour_of_week, minute, age of the hour's start in hours."""
    zones = pd.Series(keys["time_zone"].to_numpy(dtype=object)[row], dtype=object)
    local = _localize(frame["ts"], zones)
    age = (pd.Timestamp(until) - frame["ts"]).dt.total_seconds().to_numpy(np.float64) / 3600.0
    local["age"] = age + local["minute"].to_numpy(np.float64) / 60.0
    local["row"] = row
    return local.drop_duplicates(["row", "occurrence"], keep="first", ignore_index=True)


def _localize(moments: pd.Series, zones: pd.Series) -> pd.DataFrame:
    """Return `hour_of_week`, `minute` (with fractions) and `occurrence` of each UTC moment in its own zone."""
    # Two moments have the same `occurrence` when they fall into the same hour of the same local day.
    micros = moments.to_numpy("datetime64[us]").astype(np.int64)
    local = np.zeros(len(moments), np.int64)
    names = zones.to_numpy(dtype=object)
    for name in sorted(set(names)):
        rows = np.flatnonzero(names == name)
        local[rows] = to_local_micros(micros[rows], name)
    seconds = local // 1000 / 1000.0
    occurrence = local // HOUR_MICROS
    return pd.DataFrame({
        "hour_of_week": hours_of_week(occurrence).astype(np.int16),
        "minute": ((seconds - occurrence * 3600.0) / 60.0).astype(np.float32),
        "occurrence": occurrence,
    })


def _observed_spans(
    events: pd.DataFrame, first_open: pd.Series, since: datetime, until: datetime, keys: int
) -> tuple[Bools, Floats]:
    """Return, per key, whether it is a newcomer, and for how many hours it was observed."""
    # A key first opened in the first week most likely existed before: weekly opens can take a week to show up.
    newcomer = (first_open >= pd.Timestamp(since + timedelta(days=7))).to_numpy()
    whole = (until - since) / timedelta(hours=1)
    oldest: Floats = np.zeros(keys)
    np.maximum.at(oldest, events["row"].to_numpy(), events["age"].to_numpy())
    return newcomer, np.where(newcomer, oldest - 1.0, np.maximum(oldest, whole))


def _cells(events: pd.DataFrame, newcomer: Bools, strengths: PriorStrengths) -> pd.DataFrame:
    """Return `weight` and `opens` per hour of the week and key."""
    row = events["row"].to_numpy()
    weight = strengths.decay(events["age"].to_numpy())
    first = np.ones(len(row), bool)
    first[1:] = row[1:] != row[:-1]
    weight[first & newcomer[row]] = 0.0
    grouped = events.assign(weight=weight).groupby(["hour_of_week", "row"], sort=True)["weight"]
    return grouped.agg(weight="sum", opens="size").reset_index()


def early_minutes(events: pd.DataFrame, keys: int) -> tuple[Floats, Floats]:
    """Return early minutes of the first open in an hour, 0 to 60: per key, and per cell (hour of week, key), sorted.

    Args:
        events: row, hour_of_week and minute of each observed first open.
    """
    minute = events["minute"].to_numpy(np.float64)
    row = events["row"].to_numpy(np.int64)
    population = float(np.quantile(minute, EARLY_QUANTILE, method="lower")) if len(minute) else 0.0
    _, quantile, count = _grouped_quantile(row, minute)
    per_key = _shrink(quantile, count, np.full(keys, population))
    cell, quantile, count = _grouped_quantile(events["hour_of_week"].to_numpy(np.int64) * max(keys, 1) + row, minute)
    return per_key, _shrink(quantile, count, per_key[cell % max(keys, 1)])


def _shrink(own: Floats, count: Floats, wider: Floats) -> Floats:
    # The wider group's minute may only move a cell earlier: a minute too late costs a wait, one too early a minute.
    return (own * count + np.minimum(own, wider) * PRIOR_OPENS) / (count + PRIOR_OPENS)


def _grouped_quantile(group: npt.NDArray[Any], value: Floats) -> tuple[npt.NDArray[Any], Floats, Floats]:
    """Return each group (sorted), the lower `EARLY_QUANTILE` of its values, and its size."""
    order = np.lexsort((value, group))
    names, start, count = np.unique(group[order], return_index=True, return_counts=True)
    position = start + np.floor(EARLY_QUANTILE * (count - 1)).astype(np.int64)
    return names, value[order][position], count.astype(np.float64)
