"""The usual level of a rate, the curves from a measured decline to a score, and the trend of a loss.

The usual level is that of the ad's own good weeks, estimated with shrinkage; docs/explanation/fatigue.md has the
formulas. A week is seven days with delivery in a row; days without delivery do not count, so that a pause changes
nothing. Neither usual rate falls when events are added: the sd of a week then shrinks, and with `w` the weight of a
week and `g` the month's rate, the derivative of the mean by `g` is at least `(1 - w)^2`, because `g w'` is at most
`w (1 - w)`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import BoolArray, FloatArray

TREND_DAYS: Final = 7
"""Days in the slope, the day of the score included."""
MAX_DAYS_AHEAD: Final = 365.0
"""A score that needs longer at its pace is not heading for the limit."""
_MIN_POINTS: Final = 3
_OVERLAP: Final = 25 / 3
"""How much larger the variance of a slope is than the usual formula says, for seven means of seven days each."""
_T80: Final = 1.476
"""Quantile .90 of Student's t with five degrees of freedom: an 80 % interval has 10 % on either side."""
WEEK: Final = 7
BASELINE_DAYS: Final = 60
"""Days with delivery before the recent ones, whose good weeks are what is usual, also for an ad worn for a month."""
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


Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Values, and the score at each: linear between them, constant before the first and after the last."""
CREATIVE_CURVE: Final[Curve] = (0.0, 0.10, 0.25, 0.50, 0.75), (0.0, 20.0, 60.0, 90.0, 100.0)
"""By the share of its usual click-through rate that an ad lost."""
AUDIENCE_CURVE: Final[Curve] = (1.0, 2.0, 3.5, 5.0, 8.0), (0.0, 20.0, 65.0, 90.0, 100.0)
"""By frequency: how often a person saw the ad in the range."""
ALGORITHM_CURVE: Final[Curve] = (0.0, 0.10, 0.20, 0.40, 0.80), (0.0, 20.0, 50.0, 90.0, 100.0)
"""By the increase of the price of a thousand impressions, as a share of the usual price."""


def measure_slopes(values: FloatArray, kinds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least-squares slope of daily values over the last seven days, and its standard error.

    Consecutive values are means of seven days and share most of them, so that they scatter less around a line than the
    line itself is uncertain. The standard error is corrected for that.

    Args:
        values: ads x days; nan where unknown.
        kinds: ads x days; only earlier values of the same kind as the last one are in a slope.

    Returns:
        Two arrays of ads x days, per day; nan with fewer than three values.
    """
    shape = values.shape
    has_value = np.isfinite(values)
    count, sum_t, sum_tt, sum_y, sum_yy, sum_ty = (np.zeros(shape) for _ in range(6))
    for back in range(min(TREND_DAYS, shape[1])):
        late, early = slice(back, None), slice(None, shape[1] - back)
        used: BoolArray = has_value[:, early] & has_value[:, late] & (kinds[:, early] == kinds[:, late])
        # Relative to the last value, so that equal values give exactly no slope.
        y = np.where(used, values[:, early] - values[:, late], 0.0)
        count[:, late] += used
        sum_t[:, late] -= back * used
        sum_tt[:, late] += back**2 * used
        sum_y[:, late] += y
        sum_yy[:, late] += y * y
        sum_ty[:, late] -= back * y
    enough = count >= _MIN_POINTS
    count = np.where(enough, count, 3.0)
    spread = np.where(enough, sum_tt - sum_t**2 / count, 1.0)
    slope = (sum_ty - sum_t * sum_y / count) / spread
    residual = np.maximum(0.0, sum_yy - sum_y**2 / count - slope**2 * spread)
    error = np.sqrt(_OVERLAP * residual / np.maximum(1.0, count - 2) / spread)
    return np.where(enough, slope, np.nan), np.where(enough, error, np.nan)


def project(
    losses: FloatArray, slopes: FloatArray, errors: FloatArray, limit: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return in how many days a loss reaches `limit` at its pace, and the ends of the 80 % interval.

    The interval covers the uncertainty of the slope alone. All three are 0 from the limit on.

    Returns:
        Three arrays: the days, nan if it does not within a year; the earliest, nan when the first is; the latest,
        nan if it may not do so within a year.
    """
    gap = limit - losses
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [
            np.where((pace > 0) & (gap <= pace * MAX_DAYS_AHEAD), gap / pace, np.nan)
            for pace in (slopes, slopes + _T80 * errors, slopes - _T80 * errors)
        ]
    days, earliest, latest = (np.where(gap <= 1e-9, 0.0, end) for end in ends)
    return days, np.where(np.isnan(days), np.nan, earliest), latest


@dataclass(frozen=True, slots=True)
class Timeline:
    """The days with delivery of some ads, numbered from 1 in order; ads x (days + 1), column `t` is after `t` days.

    Attributes:
        rank: number of the last day with delivery.
        cells: flat index of each day with delivery in ads x (days + 1), by its number.
        delivered: ads x days, whether there is delivery.
        start: ads x days, the last number before the ad's last change; nothing before it is comparable.
        segment_start: the same by number.
    """

    rank: IndexArray
    cells: IndexArray
    delivered: BoolArray
    start: IndexArray
    segment_start: IndexArray

    @classmethod
    def of(cls, delivered: BoolArray, changed: BoolArray | None) -> "Timeline":
        """Return the timeline of ads x days; a change is before the delivery of its day."""
        ads, days = delivered.shape
        rank = np.zeros((ads, days + 1), np.int64)
        np.cumsum(delivered, axis=1, out=rank[:, 1:])
        cells = (rank[:, 1:] + np.arange(ads)[:, None] * (days + 1))[delivered]
        start, segment_start = np.zeros((ads, days), np.int64), np.zeros((ads, days + 1), np.int64)
        if changed is not None and changed.any():
            np.maximum.accumulate(np.where(changed, rank[:, :-1], 0), axis=1, out=start)
            segment_start.reshape(-1)[cells] = start[delivered]
            np.maximum.accumulate(segment_start, axis=1, out=segment_start)
        return cls(rank, cells, delivered, start, segment_start)

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
        row = np.arange(len(self.days))[:, None] * self.days.shape[1]
        start, end = row + first, row + last
        parts = (values.take(end) - values.take(start) for values in (self.events, self.impressions, self.days))
        return Sums(*parts)

    @property
    def rate(self) -> FloatArray:
        """Events per impression; nan without impressions."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rate: FloatArray = self.events / self.impressions
        return rate


def measure_usual(
    timeline: Timeline, sums: Sums, prior: RatePrior, numbers: IndexArray, *, is_price: bool
) -> FloatArray:
    """Return the usual rate after some numbered days: of the weeks of the last `BASELINE_DAYS` with delivery.

    With fewer than seven days, all of them are the week.

    Args:
        sums: accumulated by number, see `Timeline.accumulate`.
        numbers: ads x any number of columns: numbers of days.
        is_price: whether the usual rate is the median week, instead of the upper quartile of cautious ones.

    Returns:
        An array like `numbers`, nan without a day with delivery or without events.
    """
    number = np.broadcast_to(np.arange(sums.events.shape[1]), sums.events.shape)
    start = timeline.segment_start
    month = sums.between(np.maximum(start, number - BASELINE_DAYS), number)
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
    used = numbers - np.take_along_axis(start, numbers, 1)
    of_weeks = _quantile_of_weeks(rates, numbers, used, 0.5 if is_price else 0.75)
    usual = np.where(used >= WEEK, of_weeks, np.take_along_axis(rates, numbers, 1))
    return np.where(np.isfinite(usual) & (used > 0), usual, np.nan)


def _quantile_of_weeks(rates: FloatArray, numbers: IndexArray, used: IndexArray, quantile: float) -> FloatArray:
    """Return a quantile of the rates of the whole weeks that end with each number, of its last `used` days."""
    weeks = np.full((BASELINE_DAYS // WEEK, *numbers.shape), np.nan)
    for back in range(len(weeks)):
        ends = np.take_along_axis(rates, np.maximum(numbers - back * WEEK, 0), 1)
        weeks[back] = np.where(used >= (back + 1) * WEEK, ends, np.nan)
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

    One of two standard errors counts half, a large one in full; `FEW_CLICKS` is for a few clicks, of which none may be
    left by chance.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = prior.variance(recent.impressions, recent.days, usual)
        change = recent.rate / usual - 1
        shrunk = change**3 / (change**2 + NOISE_INFLATION * variance * (1 + FEW_CLICKS * variance))
    return np.where(change == 0, 0.0, shrunk)
