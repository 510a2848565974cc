"""When reports are opened: hour of the week in the reader's zone, peaks, quiet hours, weekdays, popular ranges.

Counts are of first opens, and rates are per observed hour, so that neither reloads nor a log that ends on a Tuesday
bends them. An hour is a peak or quiet only where chance would hardly make it so; even traffic has neither.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.load_slots import first_opens

_SURE = 0.05 / WEEK_HOURS  # one false alarm in twenty profiles, over all hours of the week
_PEAK_RATIO, _QUIET_RATIO = 1.5, 0.5


@dataclass(frozen=True, slots=True)
class AccessProfile:
    """The pattern of some opens. Hours of the week start on Monday 00:00 in the reader's zone and run from 0 to 167.

    Attributes:
        hour_of_week: first opens in each hour of the week.
        rate: first opens per observed hour, for each hour of the week.
        weekday: first opens per observed day, Monday first.
        popular_ranges: date range, first opens, share of all; the most popular first.
    """

    first_opens: int
    keys: int
    days: float
    time_zones: list[str]
    hour_of_week: list[int]
    rate: list[float]
    peak_hours: list[int]
    quiet_hours: list[int]
    weekday: list[float]
    popular_ranges: list[tuple[str, int, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain values, ready for JSON."""
        return asdict(self)


def build_profile(slots: pd.DataFrame) -> AccessProfile:
    """Return the profile of `slots`, over the span from the first to the last day they touch."""
    firsts = first_opens(slots)
    counts, exposure = np.zeros(WEEK_HOURS), np.zeros(WEEK_HOURS)
    span = pd.DatetimeIndex([firsts["ts"].min(), firsts["ts"].max()])
    for zone_name, moments in firsts.groupby("time_zone", sort=True)["ts"]:
        counts += hour_of_week_counts(moments, str(zone_name))
        exposure += len(moments) / len(firsts) * _observed_hours(span, str(zone_name))
    rate = np.divide(counts, exposure, out=np.zeros(WEEK_HOURS), where=exposure > 0)
    peaks, quiet = _extremes(counts, exposure)
    days = exposure.reshape(7, 24).sum(axis=1) / 24
    weekday = np.divide(counts.reshape(7, 24).sum(axis=1), days, out=np.zeros(7), where=days > 0)
    ranges = firsts["date_range"].value_counts()
    return AccessProfile(
        first_opens=len(firsts),
        keys=len(firsts[["account_id", "date_range", "report"]].drop_duplicates()),
        days=round(float(exposure.sum()) / 24, 2),
        time_zones=sorted(firsts["time_zone"].unique().tolist()),
        hour_of_week=counts.astype(int).tolist(),
        rate=rate.round(4).tolist(),
        peak_hours=peaks,
        quiet_hours=quiet,
        weekday=weekday.round(3).tolist(),
        popular_ranges=[(str(name), int(n), round(int(n) / len(firsts), 4)) for name, n in ranges.items()],
    )


def hour_of_week_counts(moments: pd.Series, zone_name: str) -> Floats:
    """Return how many of the UTC moments fall in each hour of the week of the zone."""
    return _count_hours(pd.DatetimeIndex(moments), zone_name)


def _observed_hours(span: pd.DatetimeIndex, zone_name: str) -> Floats:
    """Return how often each hour of the week came in the zone's days from the first moment to the last."""
    first, last = span.tz_convert(zone_name).normalize()
    return _count_hours(pd.date_range(first, last + pd.DateOffset(days=1), freq="h", inclusive="left"), zone_name)


def _count_hours(moments: pd.DatetimeIndex, zone_name: str) -> Floats:
    micros = moments.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    hours = hours_of_week(to_local_micros(micros, zone_name) // HOUR_MICROS)
    return np.bincount(hours, minlength=WEEK_HOURS).astype(np.float64)


def _extremes(counts: Floats, exposure: Floats) -> tuple[list[int], list[int]]:
    """Return the hours of the week whose rate is surely and clearly above, and below, the mean of all."""
    if not counts.sum():
        return [], []
    expected = exposure * counts.sum() / exposure.sum()
    peaks = [
        h for h in range(WEEK_HOURS) if counts[h] > _PEAK_RATIO * expected[h] and _above(counts[h], expected[h]) < _SURE
    ]
    quiet = [
        h
        for h in range(WEEK_HOURS)
        if counts[h] < _QUIET_RATIO * expected[h] and _below(counts[h], expected[h]) < _SURE
    ]
    return peaks, quiet


def _above(count: float, mean: float) -> float:
    """Return the chance that a Poisson count with this mean is `count` or more."""
    return max(0.0, 1.0 - _below(count - 1, mean))


def _below(count: float, mean: float) -> float:
    """Return the chance that a Poisson count with this mean is `count` or less."""
    return min(1.0, math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(int(count) + 1)))
