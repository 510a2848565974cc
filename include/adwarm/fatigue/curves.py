"""Curves from a measured decline to a score, and the trend of a loss: its slope, and when it becomes critical."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import BoolArray, FloatArray

META_EXPONENT: Final = 0.43
"""Clicks fall as the power -0.43 of the exposures, attributed to a study of Meta."""
_POWER_LAW_EXPOSURES: Final = 60


@dataclass(frozen=True, slots=True)
class ScoreCurve:
    """Linear interpolation through `points`, constant before the first and after the last.

    Raises:
        ValueError: x does not increase, or y decreases, from one point to the next.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.points) < 2 or any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(self.points)):
            raise ValueError("a curve needs at least two points, each further right than the last and none lower")

    def __call__(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the score at each `x`; nan where it is nan."""
        xs, ys = zip(*self.points, strict=True)
        scores: npt.NDArray[np.float64] = np.interp(x, xs, ys)
        return scores


CREATIVE_CURVE: Final = ScoreCurve(((0.0, 0.0), (0.10, 20.0), (0.25, 60.0), (0.50, 90.0), (0.75, 100.0)))
"""By the share of its usual click-through rate that an ad lost."""

AUDIENCE_CURVE: Final = ScoreCurve(((1.0, 0.0), (2.0, 20.0), (3.5, 65.0), (5.0, 90.0), (8.0, 100.0)))
"""By frequency: how often a person saw the ad in the range."""

ALGORITHM_CURVE: Final = ScoreCurve(((0.0, 0.0), (0.10, 20.0), (0.20, 50.0), (0.40, 90.0), (0.80, 100.0)))
"""By the increase of the price of a thousand impressions, as a share of the usual price."""


def _power_law(exponent: float) -> ScoreCurve:
    """Return the curve of the mean loss of clicks over the exposures of a person, by their number.

    The k-th exposure earns `k ** -exponent` of the first one's clicks; the curve is 100 times one minus the mean of
    these over the exposures, linear between whole numbers.
    """
    exposures = np.arange(1, _POWER_LAW_EXPOSURES + 1)
    shares = np.cumsum(exposures**-exponent) / exposures
    return ScoreCurve(tuple((float(k), float(100 * (1 - share))) for k, share in zip(exposures, shares, strict=True)))


META_POWER_LAW: Final = _power_law(META_EXPONENT)
"""By frequency, like `AUDIENCE_CURVE`: the loss that the wear law of Meta's study implies."""

AUDIENCE_CURVES: Final = {"anchors": AUDIENCE_CURVE, "meta_power_law": META_POWER_LAW}
"""By the setting ADWARM_FATIGUE__AUDIENCE_CURVE."""


TREND_DAYS: Final = 7
"""Days in the slope, the day of the score included."""
MAX_DAYS_AHEAD: Final = 365.0
"""A score that needs longer at its pace is not heading for the limit."""
_MIN_POINTS: Final = 3
_T80: Final = 1.476
"""Quantile .90 of Student's t with five degrees of freedom: an 80 % interval has 10 % on either side."""


def measure_slopes(values: FloatArray, kinds: FloatArray, recent_days: int) -> tuple[FloatArray, FloatArray]:
    """Return the least-squares slope of daily values over the last seven days, and its standard error.

    Consecutive values share most of their `recent_days` days, so that they scatter less around a line than the line
    itself is uncertain. The standard error is corrected for that.

    Args:
        values: ads x days; nan where unknown.
        kinds: ads x days; only earlier values of the same kind as the last one are in a slope.
        recent_days: days that each value is a mean of.

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
    error = np.sqrt(_overlap_factor(recent_days) * residual / np.maximum(1.0, count - 2) / spread)
    return np.where(enough, slope, np.nan), np.where(enough, error, np.nan)


def _overlap_factor(recent_days: int) -> float:
    """Return how much larger the variance of the slope is than the usual formula says, for moving means.

    With `y = A e` for independent daily noise `e`, the slope has the variance of `a A e` and the residuals that of
    `M A e`, where `a` are the coefficients of the slope and `M` removes a line.
    """
    days = np.arange(TREND_DAYS) - (TREND_DAYS - 1) / 2
    mixing = np.zeros((TREND_DAYS, TREND_DAYS + recent_days - 1))
    for day in range(TREND_DAYS):
        mixing[day, day : day + recent_days] = 1 / recent_days
    spread = float((days**2).sum())
    line = np.full((TREND_DAYS, TREND_DAYS), 1 / TREND_DAYS) + np.outer(days, days) / spread
    residual = (np.eye(TREND_DAYS) - line) @ mixing
    usual = float((residual**2).sum()) / (TREND_DAYS - 2) / spread
    return float(((days @ mixing / spread) ** 2).sum()) / usual


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
