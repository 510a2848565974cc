"""What the log says, boiled down: per key and hour of the week, how often it was first opened, and since when.

At most one open counts per key, hour and week, so a share of these is a probability. Nothing at or after
`trained_until` is looked at.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.forecast.open_minute import early_minutes
from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.clock import utc
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import hours_into_week, zone_or_default
from adwarm.settings import Settings


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
        at = np.array([hours_into_week(str(name), self.trained_until) for name in zones], np.float64)
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
    local = _localize(frame["ts"], zones)
    age = (pd.Timestamp(until) - frame["ts"]).dt.total_seconds().to_numpy(np.float64) / 3600.0
    local["age"] = age + local["minute"].to_numpy(np.float64) / 60.0
    local["row"] = row
    return local.drop_duplicates(["row", "occurrence"], keep="first", ignore_index=True)


def _localize(moments: pd.Series, zones: pd.Series) -> pd.DataFrame:
    """Return `hour_of_week`, `minute` (with fractions) and `occurrence` of each UTC moment in its own zone.

    Two moments have the same `occurrence` when they fall into the same hour of the same local day.
    """
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
