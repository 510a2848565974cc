"""The usual level of a rate: that of the ad's own good weeks, estimated with shrinkage.

A week is seven days with delivery in a row; days without delivery do not count, so that a pause changes nothing. The
log rate of `n` impressions on `k` days has the sampling variance `v = c / n + f * sd^2 / k`: counting (for clicks `c =
1 / rate`), and the noise of a day beyond counting, times the factor `f` of its memory, as measured in the account. With
a prior variance `s^2` the weight of an observation against its prior is `w = s^2 / (s^2 + v)`, and the posterior sd is
`s sqrt(1 - w)` (normal approximation of the Beta and Gamma posteriors). Rates are shrunk twice: the ad's rate of the
month towards that of the account, and each week towards the ad's month. The rate in `c` is that of the prior, not of
the observation.

The weeks are those that follow one another back from the compared days. The usual click-through rate is their upper
quartile, each less half a posterior sd; the usual price is their median. Both are continuous, and neither falls when
events are added: the sd of a week then shrinks, and with `w` the weight of a week and `g` the month's rate, the
derivative of the mean by `g` is at least `(1 - w)^2`, because `g w'` is at most `w (1 - w)`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import FloatArray

WEEK: Final = 7
WEEK_SPREAD: Final = 0.15
"""Sd of the log rates of an ad's weeks around its month, for shrinkage; a convention."""
STABLE_SHARE: Final = 0.25
"""A week with less than this share of the month's impressions a day counts for less, in proportion."""
NOISE_INFLATION: Final = 4.0
"""Multiple of the sampling variance in the weight of a change, so that ads that do not change stay healthy."""
FEW_CLICKS: Final = 5.0
ERROR_SHARE: Final = 0.5
"""Posterior sd that is taken from each week's click-through rate, because the upper ones gain by chance."""
IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The days with delivery of some ads, numbered from 1 in order; ads x (days + 1), column `t` is after `t` days.

    Attributes:
        rank: number of the last day with delivery.
        cells: flat index of each day with delivery in ads x (days + 1), by its number.
        delivered: ads x days, whether there is delivery.
        segment_start: by number, the last number before the ad's last change; nothing before it is comparable.
    """

    rank: IndexArray
    cells: IndexArray
    delivered: npt.NDArray[np.bool_]
    segment_start: IndexArray

    @classmethod
    def of(cls, delivered: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_] | None) -> "Timeline":
        """Return the timeline of ads x days; a change is before the delivery of its day."""
        ads, days = delivered.shape
        rank = np.zeros((ads, days + 1), np.int64)
        np.cumsum(delivered, axis=1, out=rank[:, 1:])
        cells = (rank[:, 1:] + np.arange(ads)[:, None] * (days + 1))[delivered]
        start = np.zeros((ads, days + 1), np.int64)
        if changed is not None and changed.any():
            since = np.maximum.accumulate(np.where(changed, rank[:, :-1], 0), axis=1)
            start.reshape(-1)[cells] = since[delivered]
            np.maximum.accumulate(start, axis=1, out=start)
        return cls(rank, cells, delivered, start)

    def accumulate(self, values: FloatArray) -> FloatArray:
        """Return the sums of daily values up to each day's end, by its number; ads x (days + 1)."""
        ads, days = values.shape
        sums = np.zeros((ads, days + 1))
        sums.reshape(-1)[self.cells] = values[self.delivered]
        return np.cumsum(sums, axis=1, out=sums)


@dataclass(frozen=True, slots=True)
class RatePrior:
    """What is usual for a rate, per ad; columns of shape (ads, 1).

    Attributes:
        mean: rate of the account; nan when unknown, and then rates are not shrunk towards it.
        spread: sd between the log rates of ads.
        noise: sd of a day's log rate beyond counting; for the mean of several days, with the factor of its memory.
        dispersion: variance of the log rate of one impression; None for counts, where it is one over the rate.
    """

    mean: FloatArray
    spread: FloatArray
    noise: FloatArray
    dispersion: float | None = None

    def variance(self, impressions: FloatArray, days: FloatArray, rate: FloatArray) -> FloatArray:
        """Return the sampling variance of a log rate when `rate` is expected; infinite without impressions."""
        counting = 1 / rate if self.dispersion is None else self.dispersion
        sampling: FloatArray = counting / impressions + self.noise**2 / days
        return sampling


@dataclass(frozen=True, slots=True)
class Sums:
    """Events, impressions and days of each ad, accumulated over days."""

    events: FloatArray
    impressions: FloatArray
    days: FloatArray

    def between(self, first: IndexArray, last: IndexArray) -> "Sums":
        """Return the sums after the day `first` up to `last`."""
        parts = (
            np.take_along_axis(values, last, 1) - np.take_along_axis(values, first, 1)
            for values in (self.events, self.impressions, self.days)
        )
        return Sums(*parts)

    @property
    def rate(self) -> FloatArray:
        """Events per impression; nan without impressions."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rate: FloatArray = self.events / self.impressions
        return rate


def measure_usual(
    timeline: Timeline, sums: Sums, prior: RatePrior, baseline_days: int, *, is_price: bool
) -> FloatArray:
    """Return the usual rate after each numbered day: of the weeks of the last `baseline_days` with delivery.

    With fewer than seven days, all of them are the week.

    Args:
        timeline: the days with delivery.
        sums: accumulated by number, see `Timeline.accumulate`.
        prior: what is usual in the account.
        baseline_days: days with delivery that weeks are taken from.
        is_price: whether the usual rate is the median week, instead of the upper quartile of cautious ones.

    Returns:
        ads x (days + 1), nan without a day with delivery or without events.
    """
    number = np.broadcast_to(np.arange(sums.events.shape[1]), sums.events.shape)
    start = timeline.segment_start
    month = sums.between(np.maximum(start, number - baseline_days), number)
    week = sums.between(np.maximum(start, number - WEEK), number)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = 1 / (1 + prior.variance(month.impressions, month.days, prior.mean) / prior.spread**2)
        level = np.where(np.isnan(prior.mean), month.rate, weight * month.rate + (1 - weight) * prior.mean)
        level = np.where(month.events > 0, level, np.nan)
        variance = prior.variance(week.impressions, week.days, level)
        share = (week.impressions / week.days) / (month.impressions / month.days)
        weight = np.minimum(1.0, share / STABLE_SHARE) / (1 + variance / WEEK_SPREAD**2)
        weight = np.where(week.impressions > 0, weight, 0.0)
        rate = np.where(week.impressions > 0, week.rate, 0.0)
        error = 0.0 if is_price else ERROR_SHARE * WEEK_SPREAD * np.sqrt(1 - weight)
    rates = (weight * rate + (1 - weight) * level) * np.exp(-error)
    is_full = number - start >= WEEK
    usual = np.where(is_full, _quantile_of_weeks(rates, start, baseline_days, 0.5 if is_price else 0.75), rates)
    return np.where(np.isfinite(usual) & (number > start), usual, np.nan)


def _quantile_of_weeks(rates: FloatArray, start: IndexArray, baseline_days: int, quantile: float) -> FloatArray:
    """Return a quantile of the rates of the whole weeks that end with each number, of the same segment."""
    number = np.arange(rates.shape[1])
    weeks = np.full((max(1, baseline_days // WEEK), *rates.shape), np.nan)
    for back in range(min(len(weeks), -(-rates.shape[1] // WEEK))):
        first = back * WEEK
        is_whole = number[first:] - first - WEEK >= start[:, first:]
        weeks[back][:, first:] = np.where(is_whole, rates[:, : rates.shape[1] - first], np.nan)
    weeks.sort(axis=0)  # nan last
    place = quantile * np.maximum(np.isfinite(weeks).sum(axis=0) - 1, 0)
    low = np.floor(place).astype(np.int64)
    below, above = (
        np.take_along_axis(weeks, np.minimum(index, len(weeks) - 1)[None], 0)[0] for index in (low, low + 1)
    )
    share = place - low
    value: FloatArray = np.where(share > 0, below + share * (np.where(share > 0, above, 0.0) - below), below)
    return value


def shrink_change(recent: Sums, usual: FloatArray, prior: RatePrior) -> FloatArray:
    """Return the change of the recent rate against the usual one, as a share, shrunk towards none.

    A change `c` has the weight `c^2 / (c^2 + 4 v (1 + 5 v))`: one of two standard errors counts half, a large one in
    full. The term `5 v` is for a few clicks, of which none may be left by chance.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = prior.variance(recent.impressions, recent.days, usual)
        change = recent.rate / usual - 1
        shrunk = change**3 / (change**2 + NOISE_INFLATION * variance * (1 + FEW_CLICKS * variance))
    return np.where(change == 0, 0.0, shrunk)
