"""Figures of alarms against the truth: delay, recall, false alarms with intervals, precision, and ROC-AUC.

An alarm is true when it is raised on the day of the onset or later, and false before the onset or on a healthy ad.
False alarms are counted from `WARM_UP_DAYS` on, since no detector can compare anything before; the days of an ad count
until the day before its onset, or the last day of the series. A fatigued ad without an alarm has an infinite delay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from adwarm.fatigue.panel import FloatArray
from tests.benchmarks.fatigue_detectors import Detector, Runner

WARM_UP_DAYS: Final = 14
RUN_LENGTH: Final = 180
MONTH: Final = 30
WITHIN: Final = 14
"""Days after the onset within which an alarm counts as a detection: at most this many days later."""

_SAMPLES: Final = 400


@dataclass(frozen=True, slots=True)
class Rate:
    """Alarms in some ad-days, with a 95 % interval of the rate per 180 ad-days by resampling whole accounts."""

    alarms: int
    ad_days: float
    low: float
    high: float

    @property
    def per_run_length(self) -> float:
        """Alarms per 180 ad-days."""
        return RUN_LENGTH * self.alarms / max(self.ad_days, 1)

    @property
    def per_month(self) -> float:
        """Alarms per ad-month of 30 days."""
        return MONTH * self.alarms / max(self.ad_days, 1)

    def __str__(self) -> str:
        return f"{self.per_run_length:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True, slots=True)
class AlarmMetrics:
    """How good alarms are.

    Attributes:
        recall_7: share of the fatigued ads with an alarm within seven days of the onset.
        recall_14: the same within fourteen days.
        median_delay: days from onset to alarm, half of the fatigued ads are faster; infinite when more are missed.
        false_alarms: before the onset and on healthy ads.
        precision: share of all alarms that are the first one of a fatigued ad from its onset on.
    """

    recall_7: float
    recall_14: float
    median_delay: float
    false_alarms: Rate
    precision: float


def measure_delays(alarms: np.ndarray, onset: np.ndarray) -> FloatArray:
    """Return for each fatigued ad the days from onset to the first alarm since then, infinite without one."""
    fatigued = onset >= 0
    since = alarms[fatigued] & (np.arange(alarms.shape[1]) >= onset[fatigued, None])
    delays = since.argmax(axis=1) - onset[fatigued]
    return np.where(since.any(axis=1), delays, np.inf)


def measure_false_alarms(
    alarms: np.ndarray, onset: np.ndarray, groups: np.ndarray, at_risk: np.ndarray | None = None
) -> Rate:
    """Return the rate of false alarms.

    Args:
        alarms: ads x days.
        onset: per ad; -1 for a healthy one.
        groups: per ad, what is resampled as a whole for the interval: its account, or the ad itself.
        at_risk: ads x days that count, such as those with delivery; None for all from `WARM_UP_DAYS` on.
    """
    days = np.arange(alarms.shape[1])
    counts = (onset[:, None] < 0) | (days < onset[:, None])
    counts = counts & (at_risk if at_risk is not None else days >= WARM_UP_DAYS)
    _, group = np.unique(groups, return_inverse=True)
    hits = np.bincount(group, (alarms & counts).sum(axis=1))
    exposure = np.bincount(group, counts.sum(axis=1))
    low, high = bootstrap_rate(hits, exposure)
    return Rate(int(hits.sum()), float(exposure.sum()), low, high)


def bootstrap_rate(hits: FloatArray, exposure: FloatArray, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of alarms per 180 ad-days: groups resampled, and at least that of a Poisson count."""
    rng = np.random.default_rng(seed)
    total = max(float(exposure.sum()), 1.0)
    # The normal approximation of the square root is good enough for a Poisson count, and right at zero.
    root = np.sqrt(hits.sum())
    low, high = max(0.0, root - 0.98) ** 2 / total, (root + 0.98) ** 2 / total
    if len(hits) > 1:
        weights = rng.multinomial(len(hits), np.full(len(hits), 1 / len(hits)), _SAMPLES)
        rates = weights @ hits / np.maximum(weights @ exposure, 1)
        low, high = min(low, float(np.quantile(rates, 0.025))), max(high, float(np.quantile(rates, 0.975)))
    return float(RUN_LENGTH * low), float(RUN_LENGTH * high)


def measure_alarms(
    alarms: np.ndarray, onset: np.ndarray, groups: np.ndarray, at_risk: np.ndarray | None = None
) -> AlarmMetrics:
    """Return recall, delay, false alarms and precision; without fatigued ads, recall and delay are nan."""
    delays = measure_delays(alarms, onset)
    false_alarms = measure_false_alarms(alarms, onset, groups, at_risk)
    detected = int(np.isfinite(delays).sum())
    raised = detected + false_alarms.alarms
    has_onsets = len(delays) > 0
    return AlarmMetrics(
        float((delays <= 7).mean()) if has_onsets else np.nan,
        float((delays <= WITHIN).mean()) if has_onsets else np.nan,
        float(np.median(delays)) if has_onsets else np.nan,
        false_alarms,
        detected / raised if raised else np.nan,
    )


def recall_interval(hits: np.ndarray, groups: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of a share, by resampling groups."""
    _, group = np.unique(groups, return_inverse=True)
    total, count = np.bincount(group, hits.astype(float)), np.bincount(group)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), _SAMPLES)
    shares = weights @ total / np.maximum(weights @ count, 1)
    return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))


def roc_auc(positive: FloatArray, negative: FloatArray) -> float:
    """Return the probability that a positive value is above a negative one, ties half; unknown values are left out."""
    positive, negative = positive[~np.isnan(positive)], negative[~np.isnan(negative)]
    if not len(positive) or not len(negative):
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / 2 / len(negative))


def matched_auc(statistic: FloatArray, onset: np.ndarray, after: int = WITHIN, seed: int = 0) -> float:
    """Return the ROC-AUC of fatigued ads, `after` days from their onset, against healthy ads on the same days.

    Each healthy ad takes the day of a fatigued one drawn at random.
    """
    fatigued, healthy = np.flatnonzero(onset >= 0), np.flatnonzero(onset < 0)
    if not len(fatigued) or not len(healthy):
        return float("nan")
    days = np.minimum(onset[fatigued] + after, statistic.shape[1] - 1)
    drawn = np.random.default_rng(seed).choice(days, len(healthy))
    return roc_auc(statistic[fatigued, days], statistic[healthy, drawn])


def solve_threshold(
    measure: Callable[[float], float], target: float, low: float, high: float, steps: int = 12
) -> float:
    """Return the threshold at which a figure that falls with the threshold crosses a target, by bisection."""
    for _ in range(steps):
        middle = (low + high) / 2
        if measure(middle) >= target:
            low = middle
        else:
            high = middle
    return low


def alarms_at_recall(
    detector: Detector, run: Runner, onset: np.ndarray, groups: np.ndarray, recall: float = 0.8
) -> tuple[float, AlarmMetrics]:
    """Return the highest threshold with that recall within fourteen days, and the metrics at it."""

    def measure(threshold: float) -> float:
        return float((measure_delays(run(threshold).alarms, onset) <= WITHIN).mean())

    threshold = solve_threshold(measure, recall, detector.low, detector.high)
    return threshold, measure_alarms(run(threshold).alarms, onset, groups)


def alarms_at_rate(
    detector: Detector, run: Runner, onset: np.ndarray, groups: np.ndarray, per_run_length: float = 1.0
) -> tuple[float, AlarmMetrics]:
    """Return the threshold with that many false alarms per 180 ad-days, and the metrics at it."""

    def measure(threshold: float) -> float:
        return measure_false_alarms(run(threshold).alarms, onset, groups).per_run_length

    threshold = solve_threshold(measure, per_run_length, detector.low, detector.high)
    return threshold, measure_alarms(run(threshold).alarms, onset, groups)
