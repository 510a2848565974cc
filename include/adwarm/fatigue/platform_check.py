"""Compares scores and alarms with the platform's own notices: who was first, who was alone, and how far both agree.

A notice is no proof that an ad is fatigued: the platform does not publish how it decides. So the figures say how far
two opinions agree, and not which of them is right.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from adwarm.model import PLATFORM_LEVELS, PlatformLevel, PlatformNotice
from adwarm.store.score_signals import ScoreSignal

Signal = Literal["warning", "critical", "alarm"]
SIGNALS: Final[tuple[Signal, ...]] = ("warning", "critical", "alarm")
BEFORE_DAYS: Final = 28
"""How long before a notice a signal counts as being about the same fatigue."""
AFTER_DAYS: Final = 14
"""The same after it."""
FEW: Final = 10
"""Below this many ads with a notice, shares and ranks say nothing."""
_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval (Wilson).

    Attributes:
        count: how many.
        total: of how many.
        low: lower end of the interval of the share, 0 to 1; None without any.
        high: upper end of it.
    """

    count: int
    total: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SignalCheck:
    """How a signal of ours lies to the first notice about each ad.

    Attributes:
        signal: `warning` (or worse), `critical` or `alarm`.
        by_then: ads that had it on the day of the notice or up to 28 days before.
        later: ads that got it within 14 days after the notice.
        never: ads that did not.
        lead_days: median of days from the signal to the notice; negative when the notice came first. None without any.
            A lead of 28 days means 28 or more.
        lead_quartiles: its quartiles.
    """

    signal: Signal
    by_then: Share
    later: int
    never: int
    lead_days: float | None
    lead_quartiles: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class PlatformCheck:
    """The comparison of an account's scores with the platform's notices.

    Attributes:
        min_level: notices below this level do not count as notices of fatigue.
        since: first day of the comparison.
        until: its last day.
        ads: ads with a score on a day of it.
        noticed: scored ads with a notice.
        unscored: ads with a notice and without a score within 28 days before it.
        signals: how each signal lies to the first notice.
        alarms_without_notice: ads with an alarm since the account's first notice, and how many of them had no notice
            from 28 days before the alarm to 14 days after it, or to the end.
        concordance: of two ads with different levels (none, low, medium, high) on the last day, how often the one with
            the higher level has the higher score; .5 is chance. None when no two ads differ.
        concordance_low: lower end of its 95 % interval (jackknife over ads).
        concordance_high: upper end of it.
    """

    min_level: PlatformLevel
    since: date
    until: date
    ads: int
    noticed: int
    unscored: int
    signals: tuple[SignalCheck, ...]
    alarms_without_notice: Share
    concordance: float | None
    concordance_low: float | None
    concordance_high: float | None

    @property
    def is_meaningful(self) -> bool:
        """Whether there are enough ads with a notice."""
        return self.noticed >= FEW

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {**asdict(self), "is_meaningful": self.is_meaningful}


def check_against_platform(
    signals: Sequence[ScoreSignal], notices: Sequence[PlatformNotice], min_level: PlatformLevel = "medium"
) -> PlatformCheck:
    """Return the comparison of an account's scores with the platform's notices.

    Args:
        signals: what the scores of each ad and day said, at least one.
        notices: the account's notices of the same time.
        min_level: the mildest level that counts as a notice of fatigue. The platform also sends `low` when an ad
            recovers.
    """
    by_ad: dict[str, list[ScoreSignal]] = defaultdict(list)
    for signal in sorted(signals, key=lambda item: item.as_of):
        by_ad[signal.ad_id].append(signal)
    counted = PLATFORM_LEVELS[PLATFORM_LEVELS.index(min_level) :]
    days: dict[str, list[date]] = defaultdict(list)
    for notice in sorted(notices, key=lambda item: item.noticed_at):
        if notice.level in counted:
            days[notice.ad_id].append(notice.noticed_at.date())
    first = {ad: listed[0] for ad, listed in days.items()}
    scored = {ad: day for ad, day in first.items() if _is_scored(by_ad.get(ad, ()), day)}
    until = max(item.as_of for item in signals)
    concordance, low, high = _rank(by_ad, notices, until)
    return PlatformCheck(
        min_level=min_level,
        since=min(item.as_of for item in signals),
        until=until,
        ads=len(by_ad),
        noticed=len(scored),
        unscored=len(first) - len(scored),
        signals=tuple(_check_signal(signal, by_ad, scored) for signal in SIGNALS),
        alarms_without_notice=_count_alone(by_ad, days, min(first.values(), default=None)),
        concordance=concordance,
        concordance_low=low,
        concordance_high=high,
    )


def wilson(count: int, total: int) -> Share:
    """Return a share with its 95 % interval by Wilson (1927)."""
    if not total:
        return Share(count, total, None, None)
    share, square = count / total, _Z95**2
    middle = share + square / (2 * total)
    half = _Z95 * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    scale = 1 + square / total
    return Share(count, total, max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale))


def has_signal(item: ScoreSignal, signal: Signal) -> bool:
    """Return whether an ad had a signal on a day."""
    if signal == "alarm":
        return item.alarm == "alarm"
    return item.status == "critical" or (signal == "warning" and item.status == "warning")


def _is_scored(items: Sequence[ScoreSignal], day: date) -> bool:
    first = day - timedelta(days=BEFORE_DAYS)
    return any(first <= item.as_of <= day and item.status != "pending" for item in items)


def _check_signal(
    signal: Signal, by_ad: Mapping[str, Sequence[ScoreSignal]], noticed: Mapping[str, date]
) -> SignalCheck:
    leads: list[int] = []
    for ad, day in noticed.items():
        first, last = day - timedelta(days=BEFORE_DAYS), day + timedelta(days=AFTER_DAYS)
        days = [item.as_of for item in by_ad[ad] if first <= item.as_of <= last and has_signal(item, signal)]
        leads += [(day - days[0]).days] if days else []
    by_then = sum(lead >= 0 for lead in leads)
    quartiles = [float(value) for value in np.quantile(leads, (0.25, 0.5, 0.75))] if leads else None
    return SignalCheck(
        signal,
        wilson(by_then, len(noticed)),
        len(leads) - by_then,
        len(noticed) - len(leads),
        None if quartiles is None else quartiles[1],
        None if quartiles is None else (quartiles[0], quartiles[2]),
    )


def _count_alone(
    by_ad: Mapping[str, Sequence[ScoreSignal]], notices: Mapping[str, Sequence[date]], since: date | None
) -> Share:
    """Count the ads with an alarm, and those of them without a notice; before the first notice none could have come."""
    alarms = alone = 0
    for ad, items in by_ad.items():
        days = [item.as_of for item in items if since is not None and item.as_of >= since and has_signal(item, "alarm")]
        if not days:
            continue
        alarms += 1
        first, last = days[0] - timedelta(days=BEFORE_DAYS), days[0] + timedelta(days=AFTER_DAYS)
        alone += not any(first <= day <= last for day in notices.get(ad, ()))
    return wilson(alone, alarms)


def _rank(
    by_ad: Mapping[str, Sequence[ScoreSignal]], notices: Sequence[PlatformNotice], until: date
) -> tuple[float | None, float | None, float | None]:
    levels: dict[str, int] = {}
    for notice in sorted(notices, key=lambda item: item.noticed_at):
        if timedelta() <= until - notice.noticed_at.date() <= timedelta(days=BEFORE_DAYS):
            levels[notice.ad_id] = 1 + PLATFORM_LEVELS.index(notice.level)
    newest = {ad: items[-1] for ad, items in sorted(by_ad.items()) if items[-1].as_of == until}
    ads = [ad for ad, item in newest.items() if item.total is not None]
    totals = np.array([newest[ad].total for ad in ads], dtype=float)
    return concordance(np.array([levels.get(ad, 0) for ad in ads]), totals)


def concordance(
    levels: npt.NDArray[np.int64], totals: npt.NDArray[np.float64]
) -> tuple[float | None, float | None, float | None]:
    """Return how often the ad with the higher level has the higher total, and the 95 % interval; a tie counts half.

    Args:
        levels: level of each ad.
        totals: its score.

    Returns:
        The share of concordant pairs among those of different levels (Harrell's c), and its interval by the jackknife
        over ads. None where no two ads differ; an interval of None with fewer than three ads.
    """
    agree, pairs = np.zeros(len(levels)), np.zeros(len(levels))
    for index in np.flatnonzero(levels > (levels.min() if len(levels) else 0)):
        lower = levels < levels[index]
        points = np.where(lower, (totals < totals[index]) + 0.5 * (totals == totals[index]), 0.0)
        agree[index] += points.sum()
        pairs[index] += lower.sum()
        agree += points
        pairs += lower
    all_agree, all_pairs = agree.sum() / 2, pairs.sum() / 2
    if not all_pairs:
        return None, None, None
    value = float(all_agree / all_pairs)
    left = all_pairs - pairs
    if len(levels) < 3 or not left.all():
        return value, None, None
    without = (all_agree - agree) / left
    count = len(levels)
    error = math.sqrt((count - 1) / count * float(np.square(without - without.mean()).sum()))
    return value, max(0.0, value - _Z95 * error), min(1.0, value + _Z95 * error)
