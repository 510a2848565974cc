"""Profiles when reports are opened: hours of the reader's week, peak and quiet hours, weekdays, popular ranges.

Counts are of first opens and rates are per observed hour, so neither reloads nor a log that ends in the middle of a
week bias them. An hour is a peak or quiet only if the difference is statistically significant; uniform traffic has
neither.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import pdtr, pdtrc

from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.load_slots import first_opens

_SIGNIFICANCE = 0.05 / WEEK_HOURS  # Bonferroni: one false positive in 20 profiles, over all hours of the week
_PEAK_RATIO, _QUIET_RATIO = 1.5, 0.5


@dataclass(frozen=True, slots=True)
class AccessProfile:
    """A profile of opens. Hours of the week run from 0, Monday 00:00 in the reader's zone, to 167.

    Attributes:
        days: observed days.
        peak_hours: hours of the week with a rate significantly above the mean.
        quiet_hours: hours of the week with a rate significantly below the mean.
        hour_of_week: first opens in each hour of the week.
        rate: first opens per observed hour, for each hour of the week.
        weekday: first opens per observed day, Monday first.
        popular_ranges: date range, first opens and their fraction of all; the most popular first.
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
    """Return the profile of `slots` (see `load_slots`), observed from their first to their last day."""
    first = first_opens(slots)
    counts, exposure = np.zeros(WEEK_HOURS), np.zeros(WEEK_HOURS)
    span = pd.DatetimeIndex([first["ts"].min(), first["ts"].max()])
    for zone_name, moments in first.groupby("time_zone", sort=True)["ts"]:
        counts += hour_of_week_counts(moments, str(zone_name))
        exposure += len(moments) / len(first) * _observed_hours(span, str(zone_name))
    rate = np.divide(counts, exposure, out=np.zeros(WEEK_HOURS), where=exposure > 0)
    peaks, quiet = _extremes(counts, exposure)
    days = exposure.reshape(7, 24).sum(axis=1) / 24
    weekday = np.divide(counts.reshape(7, 24).sum(axis=1), days, out=np.zeros(7), where=days > 0)
    ranges = first["date_range"].value_counts()
    return AccessProfile(
        first_opens=len(first),
        keys=len(first[["account_id", "date_range", "report"]].drop_duplicates()),
        days=round(float(exposure.sum()) / 24, 2),
        time_zones=sorted(first["time_zone"].unique().tolist()),
        hour_of_week=counts.astype(int).tolist(),
        rate=rate.round(4).tolist(),
        peak_hours=peaks,
        quiet_hours=quiet,
        weekday=weekday.round(3).tolist(),
        popular_ranges=[(str(name), int(n), round(int(n) / len(first), 4)) for name, n in ranges.items()],
    )


def hour_of_week_counts(moments: pd.Series, zone_name: str) -> Floats:
    """Return how many of the UTC moments fall in each hour of the week of the zone."""
    return _count_hours(pd.DatetimeIndex(moments), zone_name)


def _observed_hours(span: pd.DatetimeIndex, zone_name: str) -> Floats:
    """Return how often each hour of the week occurred from the first to the last local day of `span`."""
    first, last = span.tz_convert(zone_name).normalize()
    return _count_hours(pd.date_range(first, last + pd.DateOffset(days=1), freq="h", inclusive="left"), zone_name)


def _count_hours(moments: pd.DatetimeIndex, zone_name: str) -> Floats:
    micros = moments.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    hours = hours_of_week(to_local_micros(micros, zone_name) // HOUR_MICROS)
    return np.bincount(hours, minlength=WEEK_HOURS).astype(np.float64)


def _extremes(counts: Floats, exposure: Floats) -> tuple[list[int], list[int]]:
    """Return the hours of the week whose rate is significantly above, and below, the mean of all."""
    if not counts.sum():
        return [], []
    expected = exposure * counts.sum() / exposure.sum()
    # pdtr and pdtrc are the tails of the Poisson distribution: chances of at most, and of more than, a count.
    is_peak = (counts > _PEAK_RATIO * expected) & (pdtrc(counts - 1, expected) < _SIGNIFICANCE)
    is_quiet = (counts < _QUIET_RATIO * expected) & (pdtr(counts, expected) < _SIGNIFICANCE)
    return np.flatnonzero(is_peak).tolist(), np.flatnonzero(is_quiet).tolist()
