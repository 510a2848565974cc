"""Earlier scores of fatigue, exactly as published, for comparison with the present one.

They are kept with their faults: steps, scores that fall when the ad gets worse, absolute levels that fit one market.
All have 100 for a fatigued ad. What a version reads and this data does not have counts as no sign of fatigue, as it did
there.

- A compares the means of the first three and the last three days, in steps; weights .35, .40, .25.
- B compares as C does, with ramps from trigger values, weights .3, .4, .3; a price counts in full for few clicks only.
- C ("v2") compares the last day with the median of the 30 days before, in pieces with jumps; weights .4, .3, .3. Known
  are its limits and its values around them; between them the pieces are lines, and beyond the last one the slope is an
  assumption.
- E has absolute levels of one day, in equal parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from adwarm.fatigue.panel import AdPanel, BoolArray, FloatArray
from adwarm.fatigue.usual import IndexArray, Timeline
from adwarm.foundation.errors import BadRequest

CompatVersion = Literal["A", "B", "C", "E"]
VERSIONS: Final = get_args(CompatVersion)
INDUSTRY_CTR: Final = 0.007
"""Version B's reference, as a share."""
_DAYS: Final = 30
_ENDS: Final = 3
_MIN_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Signals:
    """What the versions are computed from; arrays of one shape, nan where unknown.

    Attributes:
        ctr_decline: share of the reference click-through rate that was lost.
        cpm_rise: increase of the price of a thousand impressions, as a share of the reference.
        frequency: impressions per person in the week.
        ctr: click-through rate of the last days, as a share.
        cpm: price of a thousand impressions of the last days, in the account's currency.
        is_scored: whether the ad has delivery on the day, and on seven of the last thirty.
    """

    ctr_decline: FloatArray
    cpm_rise: FloatArray
    frequency: FloatArray
    ctr: FloatArray
    cpm: FloatArray
    is_scored: BoolArray


def compat_scores(panel: AdPanel, frequency: FloatArray, version: str) -> FloatArray:
    """Return the score of an earlier version for all ads on all days; nan before an ad has seven days with delivery.

    Args:
        panel: daily figures.
        frequency: ads x days, impressions per person in the week that ends on each day; nan where unknown.
        version: one of `VERSIONS`.

    Raises:
        BadRequest: there is no such version.
    """
    if version not in _SCORERS:
        raise BadRequest(f"there is no version {version[:20]!r} of the score; choose one of {', '.join(VERSIONS)}")
    measure, score = _SCORERS[version]
    scores = np.full(panel.impressions.shape, np.nan)
    for first in range(0, len(scores), 256):
        rows = slice(first, first + 256)
        part = panel.select_ads(first, min(first + 256, len(scores)))
        signals = measure(part, frequency[rows])
        scores[rows] = np.where(signals.is_scored, score(signals), np.nan)
    return scores


def score_a(signals: Signals) -> FloatArray:
    """Return version A."""
    creative = _steps(signals.ctr_decline, (0.15, 0.25, 0.40), (0, 40, 70, 100))
    audience = _steps(signals.frequency, (2.5, 3.0, 3.5), (0, 20, 35, 50))
    # Of first-time impressions the daily figures say nothing: their ratio counted as 1.
    algorithm = _steps(signals.cpm_rise, (0.20, 0.35, 0.50), (0, 40, 70, 100))
    return _blend((creative, audience, algorithm), (0.35, 0.40, 0.25))


def score_b(signals: Signals) -> FloatArray:
    """Return version B, without the ratio of first-time impressions: its weights are normalized by their sum."""
    decline = np.nan_to_num(signals.ctr_decline, neginf=0.0)  # no clicks before: any is an endless rise
    creative = np.where(decline < 0.25, 0.0, np.minimum(100.0, decline * 200))
    excess = np.nan_to_num(signals.frequency) - 3.5
    audience = np.where(excess <= 0, 0.0, np.minimum(100.0, excess / 3.5 * 150))
    rise = np.nan_to_num(signals.cpm_rise)
    full = np.where(rise < 0.20, 0.0, np.minimum(100.0, rise * 150))
    weak = np.nan_to_num(signals.ctr, nan=np.inf) < 0.75 * INDUSTRY_CTR
    algorithm = np.where(weak, full, np.minimum(30.0, full))
    return _blend((creative, audience, algorithm), (0.3, 0.4, 0.3))


def score_c(signals: Signals) -> FloatArray:
    """Return version C."""
    parts = creative_c(signals.ctr_decline), audience_c(signals.frequency), algorithm_c(signals.cpm_rise)
    return _blend(parts, (0.4, 0.3, 0.3))


def creative_c(decline: FloatArray) -> FloatArray:
    """Return version C's creative score; it falls at a decline of 25 %, and at one of 50 %."""
    percent = 100 * np.maximum(0.0, np.nan_to_num(decline))
    return _pieces(percent, (10, 25, 50), (2 * percent, 2.5 * percent, 60 + 1.6 * (percent - 25), 30 + percent))


def audience_c(frequency: FloatArray) -> FloatArray:
    """Return version C's audience score; it falls when the frequency passes 5."""
    seen = np.maximum(1.0, np.nan_to_num(frequency))
    parts = 20 * (seen - 1), 20 + 30 * (seen - 2), 65 + 20 * (seen - 3.5), 85 + 5 * (seen - 5)
    return _pieces(seen, tuple(np.nextafter((2.0, 3.5, 5.0), np.inf)), parts)


def algorithm_c(rise: FloatArray) -> FloatArray:
    """Return version C's algorithm score."""
    percent = 100 * np.maximum(0.0, np.nan_to_num(rise))
    parts = 2 * percent, 20 + 3 * (percent - 10), 50 + 2 * (percent - 20), 90 + 0.25 * (percent - 40)
    return _pieces(percent, (10, 20, 40), parts)


def score_e(signals: Signals) -> FloatArray:
    """Return version E; its levels are 2 % of clicks and a price of 30 to 80 in any currency."""
    creative = np.clip((2.0 - 100 * np.nan_to_num(signals.ctr, nan=1.0)) / 2.0, 0, 1) * 100
    audience = np.minimum(100.0, np.nan_to_num(signals.frequency) / 5 * 100)
    algorithm = np.clip((np.nan_to_num(signals.cpm) - 30) / 50, 0, 1) * 100
    return _blend((creative, audience, algorithm), (1, 1, 1))


def _blend(parts: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    total: FloatArray = np.zeros_like(parts[0])
    for part, weight in zip(parts, weights, strict=True):
        total = total + weight * part
    return total / sum(weights)


def _steps(values: FloatArray, limits: Sequence[float], scores: Sequence[float]) -> FloatArray:
    """Return the score of the last limit that a value reaches; the first score below all limits and for nan."""
    index = np.searchsorted(limits, np.nan_to_num(values), side="right")
    stepped: FloatArray = np.asarray(scores, np.float64)[index]
    return stepped


def _pieces(values: FloatArray, limits: Sequence[float], parts: Sequence[FloatArray]) -> FloatArray:
    """Return the part between two limits, of which the lower one belongs to it; a whole number of 0 to 100."""
    index = np.searchsorted(limits, values, side="right")
    chosen: FloatArray = np.choose(index, [np.clip(np.floor(part + 0.5), 0, 100) for part in parts])
    return chosen


def _ends_of_month(panel: AdPanel, frequency: FloatArray) -> Signals:
    """Compare the means of the first and the last three days with delivery of the last thirty days."""
    rates = _DailyRates(panel)
    first, last = [], []
    for values in (rates.ctr, rates.cpm):
        first.append(rates.mean_of_numbers(values, rates.first, np.minimum(rates.first + _ENDS, rates.last)))
        last.append(rates.mean_of_numbers(values, np.maximum(rates.last - _ENDS, rates.first), rates.last))
    return rates.signals(first, last, frequency)


def _day_against_median(panel: AdPanel, frequency: FloatArray) -> Signals:
    """Compare each day with the median of the thirty days before it."""
    rates = _DailyRates(panel)
    usual = [_median_before(values) for values in (rates.ctr, rates.cpm)]
    return rates.signals(usual, [rates.ctr, rates.cpm], frequency)


class _DailyRates:
    """Daily rates of ads, and the numbers of their days with delivery."""

    def __init__(self, panel: AdPanel) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            delivered = panel.impressions > 0
            self.ctr = np.where(delivered, panel.clicks / panel.impressions, np.nan)
            self.cpm = np.where(delivered, 1000 * panel.spend / panel.impressions, np.nan)
        self.timeline = Timeline.of(delivered, None)
        rank = self.timeline.rank
        self.last = rank[:, 1:]
        self.first = np.concatenate([np.zeros((len(rank), _DAYS), np.int64), rank], axis=1)[:, 1 : panel.days + 1]
        self.is_scored = (self.last - self.first >= _MIN_DAYS) & (self.last > rank[:, :-1])

    def mean_of_numbers(self, values: FloatArray, first: IndexArray, last: IndexArray) -> FloatArray:
        """Return the mean of the known values of the days numbered from `first` + 1 to `last`."""
        known = np.isfinite(values)
        sums = self.timeline.accumulate(np.where(known, values, 0.0))
        counts = self.timeline.accumulate(known.astype(np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            mean: FloatArray = (np.take_along_axis(sums, last, 1) - np.take_along_axis(sums, first, 1)) / (
                np.take_along_axis(counts, last, 1) - np.take_along_axis(counts, first, 1)
            )
        return mean

    def signals(self, usual: Sequence[FloatArray], now: Sequence[FloatArray], frequency: FloatArray) -> Signals:
        """Return the signals; all are nan on days that are not scored."""
        with np.errstate(divide="ignore", invalid="ignore"):
            decline, rise = 1 - now[0] / usual[0], now[1] / usual[1] - 1
        values = (decline, rise, frequency, now[0], now[1])
        return Signals(*values, is_scored=self.is_scored)


def _median_before(values: FloatArray) -> FloatArray:
    """Return the median of the known values of the thirty columns before each one."""
    padded = np.concatenate([np.full((len(values), _DAYS), np.nan), values[:, :-1]], axis=1)
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, _DAYS, axis=1), axis=2)  # nan last
    count = np.isfinite(windows).sum(axis=2, keepdims=True)
    middle = [np.take_along_axis(windows, np.maximum(0, position), 2) for position in ((count - 1) // 2, count // 2)]
    middle[1] = np.where(count > 0, middle[1], np.nan)
    median: FloatArray = ((middle[0] + middle[1]) / 2)[:, :, 0]
    return median


_SCORERS: Final[dict[str, tuple[Callable[[AdPanel, FloatArray], Signals], Callable[[Signals], FloatArray]]]] = {
    "A": (_ends_of_month, score_a),
    "B": (_day_against_median, score_b),
    "C": (_day_against_median, score_c),
    "E": (_day_against_median, score_e),
}
