"""Evidence for a decline of click-through rates: the state of a block of ads and its update by one day.

The model and its assumptions are in `adwarm.fatigue.alarm`. Every operation is elementwise over ads or a sum over the
ads of one account, so an ad's figures do not depend on the other accounts of the block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import FloatArray
from adwarm.fatigue.prior import AccountPrior

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
States = npt.NDArray[np.float32]

LAGS: Final = 32
"""Possible starts of a decline that are followed: those of the last 32 days."""
MIN_DAYS: Final = 10
"""Days of a baseline before a decline from it is detected."""
MIN_CLICKS: Final = 30.0
"""Clicks of a baseline before that."""
PAUSE_DAYS: Final = 7
"""Days without delivery after which an ad begins anew."""
UNKNOWN_DAYS: Final = 14
"""Days in a row of which nothing is known, after which an ad begins anew as well."""
GROWTH: Final = 0.6
"""Exposures per person and day that the ramp assumes."""
WEAR: Final = 0.2
"""Wear exponent that the ramp assumes; a within-user analysis of 16.5 million impressions gives about this."""
EFFECTS: Final = ((0.5, 0.3), (1.0, 0.4), (1.7, 0.3))
"""Multiples of the ramp that are mixed, with their weights."""
EFFECT_SD: Final = 1.0
"""Sd of the prior of that multiple around 1, where the size of a decline is estimated."""
CLIP: Final = 3.0
"""Standardized residuals are limited to plus and minus this, so that a single bad day cannot raise an alarm."""
SKEWNESS_SHARE: Final = 0.6
"""Share of the third moment of a gamma-Poisson count that the detector uses; less is more cautious."""
OWN_DF: Final = 4.0
"""Degrees of freedom that the account's noise is worth as a prior of the noise of one ad."""
MARKET_MEMORY: Final = 0.9
"""Correlation of an account's moves from one day to the next."""
WALK_DAYS: Final = 4.0
"""Days of the account's walk that count as noise of a day in the evidence; chosen on the worlds of the benchmark."""
WALK_SHARE: Final = 0.1
"""Share of the walk that the usual rate follows; with all of it a slow decline would be the usual rate soon."""
WEEKDAY_SD: Final = 0.05
"""Uncertainty of the prior's weekday factors."""
HALF_WEIGHT_EVIDENCE: Final = 10.0
"""Evidence at which an ad's weight in the account's move is halved, since its decline is its own."""
_LOWEST_NOISE_SHARE: Final = 0.05
_LOWEST_MOVE: Final = 0.2
_MIN_MARKET_CLICKS: Final = 10.0
_LEAST_WEIGHT: Final = 1e-3
_NEVER: Final = np.float32(-1e9)
_LARGEST_EXPONENT: Final = np.float32(60)
_GRID: Final = 2.0**20


@dataclass(frozen=True, slots=True)
class DayFigures:
    """What a day says about each ad.

    Attributes:
        usable: whether the ad delivered and its clicks are known.
        impressions: of the day; 0 where not usable.
        expected: clicks expected at the usual rate, with the weekday and without the account's move.
        clicks: clicks of the day; 0 where not usable.
        noise: relative variance of the day's rate apart from counting: over-dispersion and the error of the move.
        lasting: what is added to that where days are summed up, because the noise of neighboring days is alike.
        move: the account's move of the day, 1 for none, measured without the ad itself.
        factor: the weekday's factor.
    """

    usable: Flags
    impressions: FloatArray
    expected: FloatArray
    clicks: FloatArray
    noise: FloatArray
    lasting: FloatArray
    move: FloatArray
    factor: FloatArray


class ChangeDetector:
    """Follows every possible start of a decline of each ad of a block of whole accounts.

    Attributes:
        evidence: per ad, Shiryaev-Roberts sum of the likelihood ratios of all starts; 0 before there is a baseline.
        armed: per ad, whether the baseline suffices.
        level: per ad, the usual rate; nan before the first usable day.
        level_variance: its variance, relative to its square.
    """

    def __init__(self, starts: Indices, ads: int, priors: Sequence[AccountPrior]) -> None:
        """Start without any history.

        Args:
            starts: index of the first ad of each account.
        """
        self._starts = starts
        self._account = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, ads]))
        self._noise_sum, self._noise_weight = np.zeros(ads), np.zeros(ads)
        self._weekday_weight = np.full((len(starts), 7), WEEKDAY_SD**-2)
        self._weekday_sum = np.zeros((len(starts), 7))
        self._use(priors)
        self._move, self._move_variance = np.zeros(ads), self._market_variance.copy()
        self._ramp = (1 - (1 + GROWTH * np.arange(1, LAGS + 1)) ** -WEAR).astype(np.float32)
        self._level_shift = np.zeros((LAGS, ads), np.float32)
        self._score = np.full((LAGS, ads), _NEVER)
        self._information = np.zeros((LAGS, ads), np.float32)
        self._skewness = np.zeros((LAGS, ads), np.float32)
        self._clicks, self._expected, self._expected_squares = np.zeros(ads), np.zeros(ads), np.zeros(ads)
        self._days, self._idle_days, self._unknown_days = (np.zeros(ads, np.int32) for _ in range(3))
        self.level, self.level_variance = np.full(ads, np.nan), np.ones(ads)
        self.evidence = np.zeros(ads)
        self.armed = np.zeros(ads, bool)

    def change_priors(self, priors: Sequence[AccountPrior]) -> None:
        """Go on with other priors in place of those before; what was learned since stays."""
        self._noise_sum = self._noise_sum - OWN_DF / self._noise
        self._noise_weight = self._noise_weight - OWN_DF / self._noise**2
        self._weekday_sum = self._weekday_sum - self._weekdays * WEEKDAY_SD**-2
        self._use(priors)

    def _use(self, priors: Sequence[AccountPrior]) -> None:
        noise_sd, factor, walk_sd, market_sd = (
            np.array([getattr(prior, name) for prior in priors])
            for name in ("noise_sd", "noise_factor", "walk_sd", "market_sd")
        )
        self._weekdays = np.array([prior.ctr_weekdays for prior in priors])
        self._noise = noise_sd[self._account] ** 2
        walk = walk_sd[self._account] ** 2
        self._lasting = factor[self._account] - 1 + WALK_DAYS * walk / self._noise
        self._walk = WALK_SHARE * walk
        self._market_variance = market_sd[self._account] ** 2
        self._account_market_variance = market_sd**2
        self._noise_sum = self._noise_sum + OWN_DF / self._noise
        self._noise_weight = self._noise_weight + OWN_DF / self._noise**2
        self._weekday_sum = self._weekday_sum + self._weekdays * WEEKDAY_SD**-2

    def step(self, day: int, weekday: int, impressions: FloatArray, clicks: FloatArray) -> DayFigures:
        """Take in one day; a figure that is not known is nan.

        Args:
            day: number of the day, one more than that of the call before.
            weekday: 0 is Monday.
            impressions: per ad.
            clicks: per ad.
        """
        usable = (impressions > 0) & (clicks >= 0)
        impressions, clicks = np.where(usable, impressions, 0.0), np.where(usable, clicks, 0.0)
        figures, relative, ready = self._adjust(weekday, usable, impressions, clicks)
        counting = np.where(ready, 1 / (figures.expected * figures.move), 1.0)
        self.level_variance = self.level_variance + self._walk * (ready & self.armed)
        day_total = counting + figures.noise + self.level_variance
        residual = np.where(ready, relative / figures.move - 1, 0.0)
        limit = CLIP * np.sqrt(day_total)
        clipped = np.clip(residual, -limit, limit)
        active = ready & self.armed
        total = day_total + figures.lasting
        gain = np.where(active, self.level_variance / total, 0.0)
        dispersion = figures.noise - self._move_variance
        third = SKEWNESS_SHARE * (counting**2 + 3 * counting * dispersion + 2 * dispersion**2)
        self._follow_starts(day, active, gain, clipped, (total, third))
        self._learn_noise(ready, clipped, day_total, figures)
        self.level = np.where(active, self.level * (1 + gain * clipped), self.level)
        self.level_variance = np.where(active, self.level_variance * (1 - gain), self.level_variance)
        self._extend_baseline(usable, impressions, clicks, figures)
        return figures

    def restart(self, ads: Flags) -> None:
        """Forget the baseline of these ads; the next one begins with the next day."""
        if not ads.any():
            return
        self._score[:, ads] = _NEVER
        for values in (self._clicks, self._expected, self._expected_squares, self._days, self.evidence):
            values[ads] = 0
        self.armed[ads] = False

    def pause(self, idle: Flags, usable: Flags, delivered: Flags) -> Flags:
        """Count the days without delivery or figures, restart the ads that pause, and return which these are."""
        self._idle_days = np.where(delivered, 0, self._idle_days + idle)
        self._unknown_days = np.where(usable | idle, 0, self._unknown_days + 1)
        paused = (self._idle_days >= PAUSE_DAYS) | (self._unknown_days >= UNKNOWN_DAYS)
        self.restart(paused)
        return paused

    def estimate(self, day: int, ads: Indices) -> tuple[Indices, FloatArray]:
        """Return, for ads with evidence, the days since the most likely start and the share of the rate lost by now."""
        age = (day - np.arange(LAGS)) % LAGS
        score = self._score[:, ads].astype(float)
        by_start = self._likelihoods(ads).astype(float)
        precision = self._information[:, ads].astype(float) + EFFECT_SD**-2
        lost = self._ramp[age].astype(float)[:, None]
        mean = lost * (np.maximum(score, -1e6) + EFFECT_SD**-2) / precision
        first = age[by_start.argmax(axis=0)]
        return first, _sum_rows(by_start * mean) / _sum_rows(by_start)

    def _adjust(
        self, weekday: int, usable: Flags, impressions: FloatArray, clicks: FloatArray
    ) -> tuple[DayFigures, FloatArray, Flags]:
        """Return the day's figures, the rate relative to the usual one, and which ads have a usual rate."""
        factor = self._weekday_factor(weekday)
        noise = np.maximum(self._noise_sum / self._noise_weight, _LOWEST_NOISE_SHARE * self._noise)
        ready = usable & (self._clicks >= _MIN_MARKET_CLICKS)
        expected = np.where(ready, impressions * self.level * factor[self._account], 1.0)
        relative = np.where(ready, clicks / expected, 1.0)
        self._move = MARKET_MEMORY * self._move
        self._move_variance = MARKET_MEMORY**2 * self._move_variance + (1 - MARKET_MEMORY**2) * self._market_variance
        variance = (1 + self._move) / expected + noise + self.level_variance
        weight = np.where(ready, 1 / (variance * (1 + self.evidence / HALF_WEIGHT_EVIDENCE)), 0.0)
        limit = CLIP * np.sqrt(variance)
        deviation = np.clip(relative - 1 - self._move, -limit, limit) + self._move
        weights, deviations = self._account_sum(weight), self._account_sum(weight * deviation)
        self._learn_weekday(weekday, weights, deviations, factor)
        others = np.maximum(weights[self._account] - weight, 0.0)
        others = np.where(others > _LEAST_WEIGHT, others, 0.0)
        observed = (deviations[self._account] - weight * deviation) / np.where(others > 0, others, 1.0)
        gain = self._move_variance * others / (self._move_variance * others + 1)
        self._move = self._move + gain * (observed - self._move)
        self._move_variance = self._move_variance * (1 - gain)
        move = np.maximum(1 + self._move, _LOWEST_MOVE)
        total_noise, factor = noise + self._move_variance, factor[self._account]
        return (
            DayFigures(
                usable=usable,
                impressions=impressions,
                expected=expected,
                clicks=clicks,
                noise=total_noise,
                lasting=self._lasting * noise + self._move_variance,
                move=move,
                factor=factor,
            ),
            relative,
            ready,
        )

    def _weekday_factor(self, weekday: int) -> FloatArray:
        """Return the factor of a weekday per account; the seven have mean 1."""
        factors = self._weekday_sum / self._weekday_weight
        mean = _sum_rows(factors.T.copy()) / 7
        factor: FloatArray = factors[:, weekday] / mean
        return factor

    def _account_sum(self, values: FloatArray) -> FloatArray:
        """Return the sum by account; in fixed point, so that the order of the ads does not matter."""
        sums: FloatArray = np.add.reduceat(np.rint(values * _GRID), self._starts) / _GRID
        return sums

    def _learn_weekday(self, weekday: int, weights: FloatArray, deviations: FloatArray, factor: FloatArray) -> None:
        """Update the weekday factor by the account's deviation, which has the day's move as error."""
        present = weights > _LEAST_WEIGHT
        error = 1 / np.where(present, weights, 1.0)
        weight = np.where(present, 1 / (error + self._account_market_variance), 0.0)
        self._weekday_sum[:, weekday] += weight * factor * (1 + deviations * error)
        self._weekday_weight[:, weekday] += weight

    def _learn_noise(self, ready: Flags, residual: FloatArray, total: FloatArray, figures: DayFigures) -> None:
        """Update the ad's over-dispersion by the method of moments."""
        scale = (1 / figures.expected + self._noise) ** -2
        own = self._noise_sum / self._noise_weight
        self._noise_sum += np.where(ready, (residual**2 - total + own) * scale, 0.0)
        self._noise_weight += np.where(ready, scale, 0.0)

    def _follow_starts(
        self, day: int, active: Flags, gain: FloatArray, residual: FloatArray, moments: tuple[FloatArray, FloatArray]
    ) -> None:
        """Update the likelihood ratio of each start, begin that of this day, and sum them.

        Args:
            day: its row replaces the one that began `LAGS` days ago.
            active: ads with a usable day and a sufficient baseline.
            gain: by which the usual rate follows this day's residual.
            residual: of the rate, relative to the usual one.
            moments: its variance and its third moment.
        """
        row = day % LAGS
        for values in (self._level_shift, self._information, self._skewness):
            values[row] = 0
        self._score[row] = np.where(active, np.float32(0), _NEVER)
        variance, third = moments
        # What of a decline is left in the residual: the usual rate has followed the rest.
        shift = self._ramp[(day - np.arange(LAGS)) % LAGS, None] - self._level_shift
        self._level_shift += gain.astype(np.float32) * shift
        shift *= np.where(active, 1 / variance, 0.0).astype(np.float32)
        self._score -= residual.astype(np.float32) * shift
        power = shift * shift
        self._information += variance.astype(np.float32) * power
        power *= shift
        self._skewness += third.astype(np.float32) * power
        self.evidence = np.where(self.armed, _sum_rows(self._likelihoods(slice(None))).astype(float), 0.0)

    def _likelihoods(self, ads: Indices | slice) -> States:
        """Return lags x ads: the likelihood ratio of each start, mixed over the effects."""
        total = np.zeros_like(self._score[:, ads])
        for effect, weight in EFFECTS:
            ratio = np.float32(effect) * self._score[:, ads]
            ratio -= np.float32(effect**2 / 2) * self._information[:, ads]
            ratio += np.float32(effect**3 / 6) * self._skewness[:, ads]
            np.exp(np.minimum(ratio, _LARGEST_EXPONENT, out=ratio), out=ratio)
            ratio *= np.float32(weight)
            total += ratio
        return total

    def _extend_baseline(self, usable: Flags, impressions: FloatArray, clicks: FloatArray, figures: DayFigures) -> None:
        """Add the day to the baselines that are not yet sufficient."""
        new = usable & ~self.armed
        effective = np.where(new, impressions * figures.factor * figures.move, 0.0)
        self._clicks += clicks
        self._days += usable
        self._expected += effective
        self._expected_squares += effective**2
        whole = np.where(self._expected > 0, self._expected, 1.0)
        self.level = np.where(new, self._clicks / whole, self.level)
        noise = figures.noise + figures.lasting
        spread = 1 / np.maximum(self._clicks, 1.0) + noise * self._expected_squares / whole**2
        self.level_variance = np.where(new, spread, self.level_variance)
        self.armed = self.armed | (usable & (self._days >= MIN_DAYS) & (self._clicks >= MIN_CLICKS))


def _sum_rows(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the sum over the first axis, in the same order for any width; `values` is overwritten."""
    rows = len(values)
    while rows > 1:
        half = rows // 2
        values[:half] += values[rows - half : rows]
        rows -= half
    total: npt.NDArray[Any] = values[0]
    return total
