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
from itertools import pairwise
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
    bounds = [*panel.account_starts.tolist(), len(panel.ad_ids)]
    weekdays = (panel.first_day.weekday() + np.arange(start, end)) % 7
    priors = {}
    for first, last in pairwise(bounds):
        ads = slice(first, last)
        impressions = np.nan_to_num(panel.impressions[ads, start:end])
        clicks, spend = panel.clicks[ads, start:end], panel.spend[ads, start:end]
        priors[panel.account_ids[first]] = _measure(impressions, clicks, spend, weekdays)
    return priors


def _measure(
    impressions: FloatArray, clicks: FloatArray, spend: FloatArray, weekdays: npt.NDArray[np.int_]
) -> AccountPrior:
    """Return the prior of one account from ads x days."""
    rates = _Figure(impressions, clicks, weekdays, _MIN_AD_CLICKS)
    prices = _Figure(impressions, spend, weekdays, _MIN_AD_IMPRESSIONS, is_price=True)
    noise, lasting = rates.measure_memory()
    price_noise = prices.measure_price_noise()
    figures = {
        "ctr_mean": np.nan if rates.mean is None else rates.mean,
        "ctr_spread": rates.measure_spread(_CTR_SPREAD, noise),
        "noise_sd": noise,
        "lasting_share": lasting,
        "cpm_spread": prices.measure_spread(_CPM_SPREAD, price_noise),
        "price_noise_sd": price_noise,
    }
    rounded = round_figures(np.r_[list(figures.values()), rates.weekday_factors, prices.weekday_factors]).tolist()
    values: dict[str, Any] = {
        name: None if math.isnan(value) else value for name, value in zip(figures, rounded, strict=False)
    }
    return AccountPrior(
        **values,
        ctr_weekdays=tuple(rounded[-14:-7]),
        cpm_weekdays=tuple(rounded[-7:]),
    )


class _Figure:
    """A rate of one account: events (clicks, or spend) per impression, ads x days."""

    def __init__(
        self,
        impressions: FloatArray,
        events: FloatArray,
        weekdays: npt.NDArray[np.int_],
        min_total: float,
        *,
        is_price: bool = False,
    ) -> None:
        is_counted = (impressions > 0) & np.isfinite(events)
        self.impressions = np.where(is_counted, impressions, 0.0)
        self.events = np.where(is_counted, events, 0.0)
        self.weekdays, self.min_total, self.is_price = weekdays, min_total, is_price
        total, count = float(self.impressions.sum()), float(self.events.sum())
        self.mean = count / total if total and count else None
        self.weekday_factors = self._measure_weekdays()

    def _count_variance(self, impressions: FloatArray, expected: FloatArray) -> FloatArray:
        """Return the relative variance that remains without any noise by day."""
        base, events = (impressions, PRICE_DISPERSION) if self.is_price else (expected, 1.0)
        variance: FloatArray = events / np.maximum(base, 1e-9)
        return variance

    def _measure_weekdays(self) -> FloatArray:
        """Return the events of each weekday as a multiple of those expected from the week around each day."""
        days = self.events.shape[1]
        factors = np.ones(7)
        if days < 14 or self.mean is None:
            return factors
        events, impressions = self.events[:, 3 : days - 3], self.impressions[:, 3 : days - 3]
        is_full = _weekly(self.impressions > 0) == 7
        around = _weekly(self.impressions)
        expected = impressions * _weekly(self.events) / np.maximum(around, 1e-9)
        usable = is_full & (expected > 0)
        cells = np.count_nonzero(usable, axis=0)
        # Expected events, events, impressions, days of ads, and days, each by weekday.
        of_days = [np.where(usable, values, 0.0).sum(axis=0) for values in (expected, events, impressions)]
        weekdays = self.weekdays[3 : days - 3]
        of_day, seen, base, count, weeks = (
            np.bincount(weekdays, weights=values, minlength=7).astype(np.float64)
            for values in (*of_days, cells, cells > 0)
        )
        measured = of_day > 0
        of_day, seen, base, count, weeks = (values[measured] for values in (of_day, seen, base, count, weeks))
        noise = _PRICE_NOISE_SD if self.is_price else _NOISE_SD
        variance = self._count_variance(base, of_day) + noise**2 / count + 0.02**2 / weeks
        log = np.log(np.maximum(seen, 1e-12) / of_day)
        factors[measured] = np.exp(log * _WEEKDAY_SD**2 / (_WEEKDAY_SD**2 + variance))
        relative: FloatArray = factors / np.exp(np.log(factors).mean())
        return relative

    def measure_price_noise(self) -> float:
        """Return the daily sd of the price, averaged with its default.

        The relative deviation of a day from its two neighbors has the variance 1.5 * sd^2 plus that of the impressions.
        """
        adjusted = self.impressions * self.weekday_factors[self.weekdays]
        near_events = self.events[:, :-2] + self.events[:, 2:]
        near = adjusted[:, :-2] + adjusted[:, 2:]
        expected = adjusted[:, 1:-1] * near_events / np.maximum(near, 1e-9)
        complete = (self.impressions[:, :-2] > 0) & (self.impressions[:, 2:] > 0) & (self.impressions[:, 1:-1] > 0)
        usable = complete & (near >= _MIN_NEIGHBOR_IMPRESSIONS) & (expected > 0)
        counted = self._count_variance(self.impressions[:, 1:-1], expected)
        counted = counted + self._count_variance(self.impressions[:, :-2] + self.impressions[:, 2:], near_events)
        default = 1.5 * _PRICE_NOISE_SD**2
        weight = np.where(usable, 1 / (default + counted) ** 2, 0.0)
        deviation = np.where(usable, self.events[:, 1:-1] / np.where(usable, expected, 1.0) - 1, 0.0)
        variance = max(0.0, float((weight * (deviation**2 - counted)).sum()) / max(1.5 * float(weight.sum()), 1e-12))
        # The information about sd^2, relative to days without counting noise; neighbors overlap, so half of it.
        df = 0.5 * float((weight * default**2).sum())
        return float(np.sqrt((df * variance + _DEFAULT_DF * _PRICE_NOISE_SD**2) / (df + _DEFAULT_DF)))

    def measure_memory(self) -> tuple[float, float]:
        """Return the sd of a day beyond counting without a walk of the usual rate, and the share of it that lasts.

        Half the mean squared difference of the rates of two days, without counting, is the white part, plus the lasting
        part times `1 - MEMORY ** lag`, plus half the variance of the walk times the lag. The three are fitted at
        several lags by non-negative least squares, each lag averaged with its default by degrees of freedom.
        """
        default = np.array([(1 - _LASTING_SHARE) * _NOISE_SD**2, _LASTING_SHARE * _NOISE_SD**2, _WALK_SD**2])
        usual = self.events.sum(axis=1, keepdims=True) / np.maximum(self.impressions.sum(axis=1, keepdims=True), 1e-9)
        expected = self.impressions * self.weekday_factors[self.weekdays] * usual
        usable = expected >= _MIN_DAY_EVENTS
        counted = 1 / np.where(usable, expected, 1.0)
        relative = np.where(usable, self.events * counted, 1.0)
        relative, inflation = _without_moves(relative, usable, counted)
        lags = _LAGS[: int(np.searchsorted(_LAGS, relative.shape[1]))]
        target = []
        for lag, expect in zip(lags.tolist(), (_SHAPES[: len(lags)] @ default).tolist(), strict=True):
            both = usable[:, lag:] & usable[:, :-lag]
            noise = counted[:, lag:] + counted[:, :-lag]
            weight = np.where(both, 1 / (2 * _NOISE_SD**2 + noise) ** 2, 0.0)
            excess = ((relative[:, lag:] - relative[:, :-lag]) ** 2 * inflation - noise) * weight
            df = float(weight.sum()) * (2 * _NOISE_SD**2) ** 2 / (1 + lag)
            seen = float(excess.sum()) / max(2 * float(weight.sum()), 1e-12)
            target.append((df * max(0.0, seen) + _MEMORY_DF * expect) / (df + _MEMORY_DF))
        if len(lags) < _SHAPES.shape[1]:
            return _NOISE_SD, _LASTING_SHARE
        from scipy.optimize import nnls

        scale = 1 / np.sqrt(lags)
        (white, lasting, _), _ = nnls(_SHAPES[: len(lags)] * scale[:, None], np.array(target) * scale)
        variance = max(white + lasting, _LEAST_NOISE**2)
        return float(np.sqrt(variance)), lasting / variance

    def measure_spread(self, default: float, noise: float) -> float:
        """Return the sd between the usual rates of ads, averaged with `default`."""
        events, impressions = self.events.sum(axis=1), self.impressions.sum(axis=1)
        days = np.count_nonzero(self.impressions > 0, axis=1)
        usable = ((impressions if self.is_price else events) >= self.min_total) & (events > 0)
        if np.count_nonzero(usable) < 3:
            return default
        logs = np.log(events[usable] / impressions[usable])
        counted = self._count_variance(impressions[usable], events[usable]) + noise**2 / days[usable]
        variance = max(0.0, float(logs.var(ddof=1) - counted.mean()))
        df = float(len(logs) - 1)
        return float(np.sqrt((df * variance + _DEFAULT_DF * default**2) / (df + _DEFAULT_DF)))


def _without_moves(
    relative: FloatArray, usable: npt.NDArray[np.bool_], counted: FloatArray
) -> tuple[FloatArray, float]:
    """Return the relative rates without the moves that all ads share, and what that shrinks their variance by."""
    if len(relative) < _MIN_MARKET_ADS:
        return relative, 1.0
    weight = np.where(usable, 1 / (_NOISE_SD**2 + counted), 0.0)
    total = weight.sum(axis=0)
    move = (weight * (relative - 1)).sum(axis=0) / np.maximum(total, 1e-9)
    ads = np.count_nonzero(usable, axis=0)
    share = float((ads[ads > 1] - 1).sum() / max(1, ads[ads > 1].sum())) or 1.0
    return np.where(usable, relative - move, 1.0), 1 / share


def _weekly(values: npt.NDArray[Any]) -> FloatArray:
    """Return the sums of seven days around each day that has three on either side."""
    sums = np.cumsum(np.pad(values.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    around: FloatArray = sums[:, 7:] - sums[:, :-7]
    return around
