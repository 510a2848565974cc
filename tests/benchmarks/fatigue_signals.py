"""What the baselines of the fatigue benchmark see: log click-through rates without weekday and market, day by day.

Everything is causal: the value of a day uses that day and earlier ones. The adjustment is the same for every baseline,
so that they differ in how they decide and not in what they know.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from adwarm.fatigue.panel import AdPanel, FloatArray
from tests.benchmarks.fatigue_ads import SimulatedAds

BASELINE_DAYS: Final = 7
"""Days with delivery before a baseline compares anything with them."""

WEEKDAY_SD: Final = 0.05
MARKET_SD: Final = 0.07
"""Assumed log-sd of weekday factors and of account-wide moves, towards which estimates of them are shrunk."""

DEFAULT_NOISE: Final = 0.115
_NOISE_WEIGHT: Final = 10.0
_TRAILING: Final = 28


@dataclass(frozen=True, slots=True)
class AdSeries:
    """Ads to run detectors on.

    Attributes:
        panel: daily figures.
        frequency: ads x days, impressions per person in the week up to each day; nan where unknown.
        onset: per ad, index of the first day of fatigue; -1 for none.
        truth: how the ads were simulated; None for real ones.
    """

    panel: AdPanel
    frequency: FloatArray
    onset: np.ndarray
    truth: SimulatedAds | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """Log click-through rates of ads x days, adjusted for weekday and market.

    Attributes:
        log_ctr: adjusted; nan without impressions or clicks.
        shift: the adjustment, which expected clicks have to be multiplied by on the log scale.
        impressions: 0 on days that have no `log_ctr`.
        clicks: the same.
        expected: clicks expected from the ad's days before; at least .5.
        noise: estimated extra-binomial log-sd by day, pooled within the account.
    """

    log_ctr: FloatArray
    shift: FloatArray
    impressions: FloatArray
    clicks: FloatArray
    expected: FloatArray
    noise: FloatArray


def from_simulation(ads: SimulatedAds) -> AdSeries:
    """Return simulated ads as a series."""
    return AdSeries(ads.panel, ads.frequency, ads.onset, ads)


def measure_signal(panel: AdPanel, adjust: bool = True) -> Signal:
    """Return the adjusted log click-through rates of a panel.

    Args:
        panel: daily figures.
        adjust: False leaves weekday and market in.
    """
    is_usable = (panel.impressions > 0) & np.isfinite(panel.clicks)
    impressions = np.where(is_usable, panel.impressions, 0.0)
    clicks = np.where(is_usable, panel.clicks, 0.0)
    rate = _rate_before(clicks, impressions)
    expected = np.maximum(0.5, impressions * rate)
    log_ctr = np.where(is_usable, np.log((clicks + 0.5) / (impressions + 1.0)), np.nan)
    starts = panel.account_starts
    noise = _account_noise(log_ctr, expected, starts)
    shift = np.zeros_like(log_ctr)
    if adjust:
        shift = _shared_moves(log_ctr, expected, noise, starts, panel.first_day.weekday())
    return Signal(log_ctr - shift, shift, impressions, clicks, expected, noise)


def _rate_before(clicks: FloatArray, impressions: FloatArray) -> FloatArray:
    """Return each ad's rate over the days before each day; over the first day itself on the first."""
    total_clicks, total = np.cumsum(clicks, axis=1), np.cumsum(impressions, axis=1)
    rate: FloatArray = (total_clicks + 0.5) / (total + 50.0)
    return np.concatenate([rate[:, :1], rate[:, :-1]], axis=1)


def _account_noise(log_ctr: FloatArray, expected: FloatArray, starts: np.ndarray) -> FloatArray:
    """Return the extra-binomial log-sd from differences of successive days, up to and including each day."""
    difference = np.diff(log_ctr, axis=1, prepend=np.nan)
    binomial = 1 / expected
    binomial = (binomial + np.concatenate([binomial[:, :1], binomial[:, :-1]], axis=1)) / 2
    weight = np.where(np.isfinite(difference), 1 / (DEFAULT_NOISE**2 + binomial) ** 2, 0.0)
    excess = np.where(weight > 0, difference**2 / 2 - binomial, 0.0)
    scale = DEFAULT_NOISE**4
    sums = np.cumsum(np.add.reduceat(weight * excess, starts, axis=0), axis=1) * scale
    weights = np.cumsum(np.add.reduceat(weight, starts, axis=0), axis=1) * scale
    pooled = (sums + _NOISE_WEIGHT * DEFAULT_NOISE**2) / (weights + _NOISE_WEIGHT)
    noise = np.sqrt(np.clip(pooled, 0.03**2, 0.5**2))
    return noise[_account_of(starts, len(log_ctr))]


def _account_of(starts: np.ndarray, ads: int) -> np.ndarray:
    return np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, ads]))


def _shared_moves(
    log_ctr: FloatArray, expected: FloatArray, noise: FloatArray, starts: np.ndarray, first_weekday: int
) -> FloatArray:
    """Return the account-wide part of each day: the median deviation of its ads, split into weekday and market.

    An ad deviates from its own mean over the four weeks before, so that a fatigued ad stops pulling on the account
    after a while; the median keeps it from pulling much until then.
    """
    ads, days = log_ctr.shape
    account = _account_of(starts, ads)
    weekday_sum, weekday_weight = np.zeros((len(starts), 7)), np.zeros((len(starts), 7))
    medians = np.full((len(starts), days), np.nan)
    shift, adjusted = np.zeros_like(log_ctr), np.full_like(log_ctr, np.nan)
    for day in range(days):
        weekday = (first_weekday + day) % 7
        earlier = adjusted[:, max(0, day - _TRAILING) : day]
        count = np.isfinite(earlier).sum(axis=1)
        usual = np.nansum(earlier, axis=1) / np.maximum(count, 1)
        deviation = np.where(count >= BASELINE_DAYS, log_ctr[:, day] - usual, np.nan)
        variance = noise[:, day] ** 2 + 1 / expected[:, day]
        median, number, spread = _medians(deviation, variance, starts)
        medians[:, day] = median
        error = 1.57 * spread / np.maximum(number - 1, 1e-9)
        factor = weekday_sum[:, weekday] / (weekday_weight[:, weekday] + 1 / WEEKDAY_SD**2)
        market = np.where(number > 1, (median - factor) * MARKET_SD**2 / (MARKET_SD**2 + error), 0.0)
        shift[:, day] = (factor + market)[account]
        adjusted[:, day] = log_ctr[:, day] - shift[:, day]
        week = medians[:, max(0, day - 6) : day + 1]
        if day >= 6:
            # The middle of a week is complete three days later; its weekday factor is its distance from the week.
            middle, is_full = week[:, 3], np.isfinite(week).all(axis=1)
            precision = np.where(is_full, 1 / (error + 0.03**2), 0.0)
            of = (first_weekday + day - 3) % 7
            weekday_sum[:, of] += precision * np.where(is_full, middle - week.mean(axis=1), 0.0)
            weekday_weight[:, of] += precision
    return shift


def _medians(values: FloatArray, variance: FloatArray, starts: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return per account the median of the known values, their number, and their mean variance."""
    ads = len(values)
    account = _account_of(starts, ads)
    is_known = np.isfinite(values)
    order = np.lexsort((np.where(is_known, values, np.inf), account))
    number = np.add.reduceat(is_known.astype(float), starts)
    ordered = values[order]
    low = starts + np.maximum((number - 1) // 2, 0).astype(int)
    high = starts + (number // 2).astype(int)
    last = np.r_[starts[1:], ads] - 1
    median = (ordered[low] + ordered[np.minimum(high, last)]) / 2
    spread = np.add.reduceat(np.where(is_known, variance, 0.0), starts) / np.maximum(number, 1)
    return np.where(number > 0, median, np.nan), number, spread
