"""What is usual in one account, measured on its days before a month: the prior that scores and alarms shrink towards.

All figures come from the account's own ads. They are estimated by the method of moments: an observed variance minus
the part that counting alone explains (1 / expected clicks for a rate). Each variance is then averaged with its
documented default, weighted by degrees of freedom, so that an account with little data has the default.

The noise of click-through rates has memory, which neighboring days alone do not show: it is taken from the variogram,
half the mean squared difference of two days by the days between them, of 1 to 28 days. The noise of a price is the
deviation of a day from the mean of its two neighbors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import AdPanel, FloatArray, round_figures

PRIOR_DAYS: Final = 90
"""Days before the month that a prior is measured on, at most."""
PRICE_DISPERSION: Final = 4.0
"""Relative variance of the price of one impression; a convention, such that the price of 1,000 varies by 6 %."""
MEMORY: Final = 0.5
"""Correlation from one day to the next of the noise that lasts."""
_NOISE_SD, _LASTING_SHARE, _WALK_SD = 0.13, 0.73, 0.038
_PRICE_NOISE_SD = 0.08
_CTR_SPREAD, _CPM_SPREAD = 0.25, 0.30
_WEEKDAY_SD = 0.05
_DEFAULT_DF: Final = 20.0
"""Degrees of freedom that a default is worth."""
_MIN_AD_CLICKS = 30.0
_MIN_NEIGHBOR_IMPRESSIONS, _MIN_AD_IMPRESSIONS = 500.0, 1_000.0
_MIN_DAY_EVENTS: Final = 3.0
"""Clicks expected on a day below which it says nothing about the noise."""
_MIN_MARKET_ADS: Final = 3
_LEAST_NOISE: Final = 0.03
_MEMORY_DF: Final = 4.0
"""Degrees of freedom that the default of each lag is worth."""
_LAGS: Final = np.array([1, 2, 3, 4, 5, 7, 9, 11, 14, 17, 21, 24, 28])
"""Days between two days that are compared."""
_SHAPES: Final = np.stack([np.ones(len(_LAGS)), 1 - MEMORY**_LAGS, _LAGS / 2], axis=1)
_NO_EFFECT: Final = (1.0,) * 7


@dataclass(frozen=True, slots=True)
class AccountPrior:
    """What is usual in an account. Standard deviations are of natural logarithms.

    Attributes:
        ctr_mean: clicks per impression of all ads together; None when unknown.
        ctr_spread: sd between the usual click-through rates of ads.
        noise_sd: sd of an ad's daily click-through rate beyond counting (over-dispersion), without the walk.
        lasting_share: share of that variance that lasts, correlated `MEMORY` from day to day.
        ctr_weekdays: factors on the click-through rate from Monday to Sunday, shrunk towards 1.
        cpm_spread: sd between the usual prices of ads.
        price_noise_sd: sd of an ad's daily price.
        cpm_weekdays: factors on the price from Monday to Sunday, shrunk towards 1.
    """

    ctr_mean: float | None = None
    ctr_spread: float = _CTR_SPREAD
    noise_sd: float = _NOISE_SD
    lasting_share: float = _LASTING_SHARE
    ctr_weekdays: tuple[float, ...] = _NO_EFFECT
    cpm_spread: float = _CPM_SPREAD
    price_noise_sd: float = _PRICE_NOISE_SD
    cpm_weekdays: tuple[float, ...] = _NO_EFFECT

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def noise_factor(self) -> float:
        """The variance of a mean of many days, times their number, as a multiple of that of a day."""
        return 1 + self.lasting_share * 2 * MEMORY / (1 - MEMORY)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AccountPrior":
        """Return the prior with these JSON values; others are left out."""
        figures: dict[str, Any] = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        figures |= {name: tuple(value) for name, value in figures.items() if isinstance(value, list)}
        return cls(**figures)


DEFAULT_PRIOR: Final = AccountPrior()
"""The noise and its memory are those of 40 real daily series of an advertiser; the spread is that of creatives."""


def measure_priors(panel: AdPanel, until: date) -> dict[str, AccountPrior]:
    """Return the prior of each account of the panel, by account id, from its days before `until`.

    An account's prior depends on its own rows only.

    Args:
        panel: daily figures; the last 90 columns before `until` are used.
        until: first day that is not used, such as the first of a month.
    """
    end = min(max(panel.column(until), 0), panel.days)
    start = max(0, end - PRIOR_DAYS)
    if not len(panel.ad_ids):
        return {}
    rates = _Figure(panel, panel.clicks, slice(start, end), _MIN_AD_CLICKS)
    prices = _Figure(panel, panel.spend, slice(start, end), _MIN_AD_IMPRESSIONS, is_price=True)
    noise, lasting = rates.measure_memory()
    price_noise = prices.measure_price_noise()
    figures = {
        "ctr_mean": rates.measure_mean(),
        "ctr_spread": rates.measure_spread(_CTR_SPREAD, noise),
        "noise_sd": noise,
        "lasting_share": lasting,
        "ctr_weekdays": rates.weekday_factors,
        "cpm_spread": prices.measure_spread(_CPM_SPREAD, price_noise),
        "price_noise_sd": price_noise,
        "cpm_weekdays": prices.weekday_factors,
    }
    rounded = {name: round_figures(values).tolist() for name, values in figures.items()}
    rounded["ctr_mean"] = [None if math.isnan(rate) else rate for rate in rounded["ctr_mean"]]
    accounts = (panel.account_ids[first] for first in panel.account_starts)
    return {
        account_id: AccountPrior.from_dict(dict(zip(rounded, values, strict=True)))
        for account_id, *values in zip(accounts, *rounded.values(), strict=True)
    }


class _Figure:
    """A rate: events (clicks, or spend) per impression, ads x days; what is measured of it has a row per account."""

    def __init__(
        self, panel: AdPanel, events: FloatArray, days: slice, min_total: float, *, is_price: bool = False
    ) -> None:
        events, impressions = events[:, days], panel.impressions[:, days]
        is_counted = (impressions > 0) & np.isfinite(events)
        self.impressions = np.where(is_counted, impressions, 0.0)
        self.events = np.where(is_counted, events, 0.0)
        self.min_total, self.is_price, self._starts = min_total, is_price, panel.account_starts
        self._account = np.repeat(np.arange(len(self._starts)), np.diff([*self._starts, len(events)]))
        self._weekdays = (panel.first_day.weekday() + days.start + np.arange(events.shape[1])) % 7
        self.weekday_factors = self._measure_weekdays()
        self._adjusted = self.impressions * self.weekday_factors[self._account][:, self._weekdays]

    def _sum(self, values: npt.NDArray[Any]) -> FloatArray:
        """Return the sums of the ads of each account: of values of ads, or of ads x days."""
        sums: FloatArray = np.add.reduceat(values, self._starts, dtype=np.float64)
        return sums

    def _count_variance(self, impressions: FloatArray, expected: FloatArray) -> FloatArray:
        """Return the relative variance that remains without any noise by day."""
        base, events = (impressions, PRICE_DISPERSION) if self.is_price else (expected, 1.0)
        variance: FloatArray = events / np.maximum(base, 1e-9)
        return variance

    def measure_mean(self) -> FloatArray:
        """Return the events per impression of all ads together; nan without events."""
        events, impressions = self._sum(self.events.sum(axis=1)), self._sum(self.impressions.sum(axis=1))
        return np.where(events > 0, events / np.where(impressions > 0, impressions, 1.0), np.nan)

    def _measure_weekdays(self) -> FloatArray:
        """Return the events of each weekday as a multiple of those expected from the week around each day."""
        days = self.events.shape[1]
        if days < 14:
            return np.ones((len(self._starts), 7))
        events, impressions = self.events[:, 3 : days - 3], self.impressions[:, 3 : days - 3]
        expected = impressions * _weekly(self.events) / np.maximum(_weekly(self.impressions), 1e-9)
        usable = (_weekly(self.impressions > 0) == 7) & (expected > 0)
        cells = self._sum(usable)
        # Expected events, events, impressions, days of ads, and days, each by weekday.
        of_days = [self._sum(np.where(usable, values, 0.0)) for values in (expected, events, impressions)]
        first = int(self._weekdays[3])
        of_day, seen, base, count, weeks = (
            np.stack([values[:, (day - first) % 7 :: 7].sum(axis=1) for day in range(7)], axis=1)
            for values in (*of_days, cells, cells > 0)
        )
        measured = of_day > 0
        of_day, count, weeks = (np.where(measured, values, 1.0) for values in (of_day, count, weeks))
        noise = _PRICE_NOISE_SD if self.is_price else _NOISE_SD
        variance = self._count_variance(base, of_day) + noise**2 / count + 0.02**2 / weeks
        log = np.where(measured, np.log(np.maximum(seen, 1e-12) / of_day), 0.0)
        factors = np.exp(log * _WEEKDAY_SD**2 / (_WEEKDAY_SD**2 + variance))
        relative: FloatArray = factors / np.exp(np.log(factors).mean(axis=1, keepdims=True))
        return relative

    def measure_price_noise(self) -> FloatArray:
        """Return the daily sd of the price, averaged with its default.

        The relative deviation of a day from its two neighbors has the variance 1.5 * sd^2 plus that of the impressions.
        """
        near_events = self.events[:, :-2] + self.events[:, 2:]
        near = self._adjusted[:, :-2] + self._adjusted[:, 2:]
        expected = self._adjusted[:, 1:-1] * near_events / np.maximum(near, 1e-9)
        complete = (self.impressions[:, :-2] > 0) & (self.impressions[:, 2:] > 0) & (self.impressions[:, 1:-1] > 0)
        usable = complete & (near >= _MIN_NEIGHBOR_IMPRESSIONS) & (expected > 0)
        counted = self._count_variance(self.impressions[:, 1:-1], expected)
        counted = counted + self._count_variance(self.impressions[:, :-2] + self.impressions[:, 2:], near_events)
        default = 1.5 * _PRICE_NOISE_SD**2
        weight = np.where(usable, 1 / (default + counted) ** 2, 0.0)
        deviation = np.where(usable, self.events[:, 1:-1] / np.where(usable, expected, 1.0) - 1, 0.0)
        excess, weights = (self._sum(values.sum(axis=1)) for values in (weight * (deviation**2 - counted), weight))
        variance = np.maximum(0.0, excess / np.maximum(1.5 * weights, 1e-12))
        # The information about sd^2, relative to days without counting noise; neighbors overlap, so half of it.
        return _average(variance, 0.5 * weights * default**2, _PRICE_NOISE_SD)

    def measure_memory(self) -> tuple[FloatArray, FloatArray]:
        """Return the sd of a day beyond counting without a walk of the usual rate, and the share of it that lasts.

        Half the mean squared difference of the rates of two days, without counting, is the white part, plus the lasting
        part times `1 - MEMORY ** lag`, plus half the variance of the walk times the lag. The three are fitted at
        several lags by non-negative least squares, each lag averaged with its default by degrees of freedom.
        """
        lags = _LAGS[: int(np.searchsorted(_LAGS, self.events.shape[1]))]
        shapes, accounts = _SHAPES[: len(lags)], len(self._starts)
        if len(lags) < shapes.shape[1]:
            return np.full(accounts, _NOISE_SD), np.full(accounts, _LASTING_SHARE)
        default = np.array([(1 - _LASTING_SHARE) * _NOISE_SD**2, _LASTING_SHARE * _NOISE_SD**2, _WALK_SD**2])
        usual = self.events.sum(axis=1, keepdims=True) / np.maximum(self.impressions.sum(axis=1, keepdims=True), 1e-9)
        expected = self._adjusted * usual
        usable = expected >= _MIN_DAY_EVENTS
        counted = 1 / np.where(usable, expected, 1.0)
        relative, inflation = self._without_moves(np.where(usable, self.events * counted, 1.0), usable, counted)
        targets = []
        for lag, expect in zip(lags.tolist(), (shapes @ default).tolist(), strict=True):
            both = usable[:, lag:] & usable[:, :-lag]
            noise = counted[:, lag:] + counted[:, :-lag]
            weight = np.where(both, 1 / (2 * _NOISE_SD**2 + noise) ** 2, 0.0)
            excess = ((relative[:, lag:] - relative[:, :-lag]) ** 2 * inflation - noise) * weight
            excesses, weights = self._sum(excess.sum(axis=1)), self._sum(weight.sum(axis=1))
            df = weights * (2 * _NOISE_SD**2) ** 2 / (1 + lag)
            seen = np.maximum(0.0, excesses / np.maximum(2 * weights, 1e-12))
            targets.append((df * seen + _MEMORY_DF * expect) / (df + _MEMORY_DF))
        from scipy.optimize import nnls

        scale = 1 / np.sqrt(lags)
        fitted = np.array([nnls(shapes * scale[:, None], target * scale)[0] for target in np.array(targets).T])
        variance = np.maximum(fitted[:, 0] + fitted[:, 1], _LEAST_NOISE**2)
        return np.sqrt(variance), fitted[:, 1] / variance

    def _without_moves(
        self, relative: FloatArray, usable: npt.NDArray[np.bool_], counted: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the relative rates without the moves that all ads share, and what that shrinks their variance by."""
        weight = np.where(usable, 1 / (_NOISE_SD**2 + counted), 0.0)
        move = self._sum(weight * (relative - 1)) / np.maximum(self._sum(weight), 1e-9)
        ads = self._sum(usable)
        several = np.where(ads > 1, ads, 0.0).sum(axis=1)
        share = np.where(several > 0, np.where(ads > 1, ads - 1, 0.0).sum(axis=1) / np.maximum(several, 1.0), 1.0)
        are_many = np.bincount(self._account) >= _MIN_MARKET_ADS
        moves = np.where(are_many[:, None], move, 0.0)[self._account]
        return np.where(usable, relative - moves, 1.0), np.where(are_many, 1 / share, 1.0)[self._account, None]

    def measure_spread(self, default: float, noise: FloatArray) -> FloatArray:
        """Return the sd between the usual rates of ads, averaged with `default`."""
        events, impressions = self.events.sum(axis=1), self.impressions.sum(axis=1)
        days = np.count_nonzero(self.impressions > 0, axis=1)
        usable = ((impressions if self.is_price else events) >= self.min_total) & (events > 0)
        ads = self._sum(usable)
        logs = np.log(np.where(usable, events / np.where(usable, impressions, 1.0), 1.0))
        counted = self._count_variance(impressions, events) + noise[self._account] ** 2 / np.maximum(days, 1)
        mean = self._sum(logs) / np.maximum(ads, 1)
        squares = self._sum(np.where(usable, (logs - mean[self._account]) ** 2, 0.0)) / np.maximum(ads - 1, 1)
        variance = np.maximum(0.0, squares - self._sum(np.where(usable, counted, 0.0)) / np.maximum(ads, 1))
        return np.where(ads < 3, default, _average(variance, ads - 1, default))


def _average(variance: FloatArray, df: FloatArray, default: float) -> FloatArray:
    """Return the sd of a variance averaged with that of `default`, by degrees of freedom."""
    averaged: FloatArray = np.sqrt((df * variance + _DEFAULT_DF * default**2) / (df + _DEFAULT_DF))
    return averaged


def _weekly(values: npt.NDArray[Any]) -> FloatArray:
    """Return the sums of seven days around each day that has three on either side."""
    sums = np.cumsum(np.pad(values.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    around: FloatArray = sums[:, 7:] - sums[:, :-7]
    return around
