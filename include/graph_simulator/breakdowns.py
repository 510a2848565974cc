"""Breakdowns: how the figures of an ad's day are divided into groups that add up to them exactly.

Each ad has shares of its own (seed, ad, breakdowns), so they do not depend on earlier calls or on the requested days. A
group without impressions has no other figure. People are not divided: the reach of a group is estimated from its own
impressions, as that of an ad is.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from graph_simulator.ads import Ad, Days, Floats, Metric
from graph_simulator.date_ranges import local_time

HOURS = ("hourly_stats_aggregated_by_advertiser_time_zone", "hourly_stats_aggregated_by_audience_time_zone")
_EQUAL = 1.0
_REGIONS = ("Alaska", "Ohio", "Georgia", "Illinois", "New York", "Florida", "Texas", "California", "Ontario")
_HOURLY = {
    f"{hour:02}:00:00 - {hour:02}:59:59": (1.2 + math.sin((hour - 9) * math.pi / 12), _EQUAL) for hour in range(24)
}
_DEVICES = {
    "iphone": (5.0, 1.1),
    "android_smartphone": (4.0, 1.0),
    "desktop": (1.2, 0.7),
    "ipad": (0.6, 0.9),
    "android_tablet": (0.3, 0.8),
    "other": (0.05, 0.3),
}
_VALUES: dict[str, dict[str, tuple[float, float]]] = {
    "age": {
        "18-24": (2.0, 0.8),
        "25-34": (4.0, 1.0),
        "35-44": (3.0, 1.1),
        "45-54": (2.0, 1.2),
        "55-64": (1.2, 1.3),
        "65+": (0.8, 1.4),
        "Unknown": (0.05, 0.5),
    },
    "gender": {"female": (5.0, 1.1), "male": (4.5, 0.9), "unknown": (0.3, 0.8)},
    "country": {"US": (6.0, 1.0), "GB": (1.5, 1.1), "CA": (1.0, 0.9), "DE": (0.6, 0.8), "unknown": (0.05, 0.6)},
    "region": {
        **{name: (1.0 + 0.4 * index, 0.8 + 0.04 * index) for index, name in enumerate(_REGIONS)},
        "Unknown": (0.1, 0.6),
    },
    "comscore_market": {"Los Angeles": (2.0, 1.0), "New York": (3.0, 1.0), "Chicago": (1.0, 0.9)},
    "publisher_platform": {
        "facebook": (5.0, 0.9),
        "instagram": (4.0, 1.0),
        "audience_network": (1.0, 2.2),
        "messenger": (0.2, 0.5),
        "unknown": (0.02, 0.4),
    },
    "impression_device": _DEVICES,
    "device_platform": {"mobile_app": (8.0, 1.0), "mobile_web": (0.5, 0.8), "desktop": (1.2, 0.7)},
    "product_id": {f"{1000 + number}, Product {number}": (1.0 + number % 5, 0.7 + 0.1 * number) for number in range(8)},
    **dict.fromkeys(HOURS, _HOURLY),
}
"""By value of a breakdown: its usual share of impressions (they need not add up to anything), and of clicks per one."""
_POSITIONS: dict[str, dict[str, tuple[float, float]]] = {
    "facebook": {
        "feed": (6.0, 1.1),
        "facebook_reels": (2.0, 0.6),
        "facebook_stories": (1.0, 0.7),
        "right_hand_column": (0.4, 0.2),
        "instream_video": (0.6, 0.5),
    },
    "instagram": {"feed": (4.0, 0.9), "instagram_reels": (4.0, 0.8), "instagram_stories": (3.0, 1.3)},
    "audience_network": {"an_classic": (2.0, 1.0), "rewarded_video": (1.0, 1.5)},
    "messenger": {"messenger_inbox": (1.0, 1.0)},
    "unknown": {"unknown": (1.0, 1.0)},
}
NAMES = (*_VALUES, "platform_position")


@dataclass(frozen=True)
class Groups:
    """The groups of some breakdowns.

    Attributes:
        values: the value of each breakdown, by group.
        shares: the usual share of impressions, by group.
        click_rates: the usual number of clicks per impression relative to other groups, by group.
    """

    values: tuple[dict[str, str], ...]
    shares: Floats
    click_rates: Floats


@lru_cache(maxsize=64)
def groups_of(names: tuple[str, ...]) -> Groups:
    """Return the groups of breakdowns; positions are those of each platform."""
    plain = [name for name in names if name not in {"publisher_platform", "platform_position"}]
    axes: list[list[tuple[dict[str, str], float, float]]] = [
        [({name: value}, share, rate) for value, (share, rate) in _VALUES[name].items()] for name in plain
    ]
    if "publisher_platform" in names:
        axes.append(_placements(by_position="platform_position" in names))
    cells = list(product(*axes))
    return Groups(
        tuple({name: value for part, _, _ in cell for name, value in part.items()} for cell in cells),
        np.array([np.prod([share for _, share, _ in cell]) for cell in cells]),
        np.array([np.prod([rate for _, _, rate in cell]) for cell in cells]),
    )


def _placements(*, by_position: bool) -> list[tuple[dict[str, str], float, float]]:
    cells = []
    for platform, (share, rate) in _VALUES["publisher_platform"].items():
        positions = _POSITIONS[platform] if by_position else {"": (1.0, 1.0)}
        total = sum(part for part, _ in positions.values())
        for position, (part, own_rate) in positions.items():
            value = {"publisher_platform": platform} | ({"platform_position": position} if by_position else {})
            cells.append((value, share * part / total, rate * own_rate))
    return cells


def counted_hours(groups: Groups, first_day: int, days: int, zone: str, now: datetime) -> npt.NDArray[np.bool_]:
    """Return by group and day whether its hour of the advertiser's zone has begun, and is not left out by the clock."""
    local = local_time(now, zone)
    is_counted = np.ones((len(groups.values), days), dtype=np.bool_)
    for index, value in enumerate(groups.values if HOURS[0] in groups.values[0] else ()):
        for number in range(days):
            day = date.fromordinal(first_day + number)
            begin = datetime.combine(day, time(int(value[HOURS[0]][:2])), local.tzinfo)
            is_skipped = begin.astimezone(UTC).astimezone(local.tzinfo).hour != begin.hour
            is_counted[index, number] = not is_skipped and (day != local.date() or begin <= local)
    return is_counted


def divide(
    daily: Days, ads: Sequence[Ad], groups: Groups, is_counted: npt.NDArray[np.bool_], *, first_day: int, seed: int
) -> Days:
    """Return figures of shape (metric, ad and group, day), whose sums over the groups of an ad are those of `daily`.

    Args:
        daily: figures of shape (metric, ad, day).
        is_counted: by group and day; every other one has no figures.
        first_day: ordinal of the first day.
    """
    count = len(groups.values)
    divided = np.zeros((Metric.COUNT, len(ads), count, daily.shape[2]), dtype=np.int64)
    days = first_day + np.arange(daily.shape[2])
    name = zlib.crc32(repr(groups.values).encode())
    for index, ad in enumerate(ads):
        draws = np.random.default_rng([seed, int(ad.truth.ad_id), name])
        shares = groups.shares * draws.lognormal(0.0, 0.6, count)
        clicked = shares * groups.click_rates * draws.lognormal(0.0, 0.25, count)
        paid = shares * draws.lognormal(0.0, 0.2, count)
        # Rounding falls on another group each day; otherwise every single click would be in the last one.
        phases = (days * 0.6180339887 + draws.random(Metric.COUNT)[:, None]) % 1.0
        own = divided[:, index]
        for metric in range(Metric.COUNT):
            weights = {Metric.IMPRESSIONS: shares, Metric.FRESH: shares, Metric.SPEND_CENTS: paid}.get(metric, clicked)
            most = _most(own, metric, daily[:, index], is_counted)
            own[metric] = _divide_counts(daily[metric, index], weights[:, None] * is_counted, phases[metric], most)
        fresh = own[Metric.FRESH]
        own[Metric.FRESH] = np.maximum(fresh, np.minimum(own[Metric.IMPRESSIONS], 1))
    return divided.reshape(Metric.COUNT, len(ads) * count, -1)


def _most(own: Days, metric: int, whole: Days, is_counted: npt.NDArray[np.bool_]) -> Days:
    """Return the largest number that each group and day may have of a metric."""
    if metric == Metric.IMPRESSIONS:
        shown: Days = whole[metric] * is_counted
        return shown
    if metric in {Metric.FRESH, Metric.CLICKS}:
        most: Days = own[Metric.IMPRESSIONS]
        return most
    if metric == Metric.LINK_CLICKS:
        clicks: Days = own[Metric.CLICKS]
        return clicks
    delivered: Days = np.where(own[Metric.IMPRESSIONS] > 0, whole[metric], 0)
    return delivered


def _divide_counts(counts: Days, weights: Floats, phases: Floats, most: Days) -> Days:
    """Return the counts of each day by group and day: in the ratio of the weights, at most `most`, and no one lost."""
    ends = np.cumsum(weights, axis=0) / weights.sum(axis=0)
    ends[-1] = 1.0
    marks = np.floor(counts * ends + phases).astype(np.int64)
    parts = np.minimum(np.diff(marks, axis=0, prepend=0), most)
    room = most - parts
    left = counts - parts.sum(axis=0)
    parts += np.clip(left - (np.cumsum(room, axis=0) - room), 0, room)
    parts[np.argmax(weights, axis=0), np.arange(len(counts))] += counts - parts.sum(axis=0)
    result: Days = parts
    return result
