"""Sequential detectors of the fatigue benchmark: CUSUM, GLR and a Bayesian online change point, reset after each alarm.

A detector starts once per panel and then runs at any threshold: a larger statistic is more evidence of a lower
click-through rate, an alarm is a statistic that reaches the threshold, and after an alarm everything that the detector
learned about the ad is forgotten. Weekday, market and extra-binomial noise are those of `measure_signal`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from adwarm.fatigue.panel import FloatArray
from tests.benchmarks.fatigue_signals import BASELINE_DAYS, AdSeries, Signal, measure_signal

HAZARD: Final = 1 / 180
"""Probability of a change on a day, assumed by the Bayesian detector."""

GLR_WINDOW: Final = 21


@dataclass(frozen=True, slots=True)
class DetectorRun:
    """The outcome of a run: `statistic` and `alarms`, both ads x days."""

    statistic: FloatArray
    alarms: np.ndarray


Runner = Callable[[float], DetectorRun]


@dataclass(frozen=True, slots=True)
class Detector:
    """A way to raise alarms.

    Attributes:
        name: in tables.
        start: prepares a run of a series at any threshold.
        low: threshold at which nearly every ad has an alarm.
        high: threshold at which nearly none has.
        nominal: threshold in use; None when it has to be chosen by its false alarms.
    """

    name: str
    start: Callable[[AdSeries], Runner]
    low: float
    high: float
    nominal: float | None = None


@dataclass(frozen=True, slots=True)
class CusumSettings:
    """Tuning of a CUSUM.

    Attributes:
        kind: `log` and `count` sum standardised residuals, less `size`; `likelihood` sums the log-likelihood ratio of
            negative binomial clicks at a relative drop of `size`.
        size: the reference value.
        baseline: `growing` uses all days since the last alarm, `waiting` those before the sum last left zero, and
            `first` the first three weeks.
        noise_sd: the extra-binomial log-sd when it is given; None estimates it.
    """

    kind: str
    size: float
    baseline: str = "growing"
    noise_sd: float | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.size:g}, {self.baseline} baseline"


CUSUM_GRID: Final = tuple(
    CusumSettings(kind, size, baseline)
    for baseline in ("growing", "waiting", "first")
    for kind, sizes in (
        ("log", (0.25, 0.5, 0.75, 1.0)),
        ("count", (0.25, 0.5, 0.75, 1.0)),
        ("likelihood", (0.1, 0.15, 0.2, 0.25, 0.3)),
    )
    for size in sizes
)
"""What the best CUSUM is chosen from."""

_FIRST_DAYS: Final = 21


def cusum(settings: CusumSettings, name: str = "") -> Detector:
    """Return a CUSUM for a lower click-through rate, with an estimated baseline."""

    def start(series: AdSeries) -> Runner:
        signal = measure_signal(series.panel)
        return lambda threshold: _run_cusum(signal, settings, threshold)

    return Detector(name or f"CUSUM ({settings})", start, 0.5, 80.0)


def _run_cusum(signal: Signal, settings: CusumSettings, threshold: float) -> DetectorRun:
    ads, days = signal.log_ctr.shape
    noise = signal.noise if settings.noise_sd is None else np.full((ads, days), settings.noise_sd)
    weights = np.where(signal.impressions > 0, 1 / (noise**2 + 1 / signal.expected), 0.0)
    values = np.where(weights > 0, signal.log_ctr, 0.0)
    exposure = signal.impressions * np.exp(signal.shift)
    is_log = settings.kind == "log"
    # A baseline is two sums: of weighted log rates and weights, or of clicks and exposures; and a count of days.
    figures = (values * weights, weights) if is_log else (signal.clicks * weights, exposure * weights)
    total, part, count, precision = (np.zeros(ads) for _ in range(4))
    waiting = [np.zeros(ads) for _ in range(4)]
    evidence = np.zeros(ads)
    statistic, alarms = np.zeros((ads, days)), np.zeros((ads, days), bool)
    for day in range(days):
        is_ready = (count >= BASELINE_DAYS) & (weights[:, day] > 0)
        usual = total / np.where(part > 0, part, 1.0)
        uncertainty = noise[:, day] ** 2 + 1 / np.where(precision > 0, precision, 1.0)
        gain = _gain(settings, signal, day, (usual, uncertainty, exposure[:, day]))
        evidence = np.maximum(0.0, evidence + np.where(is_ready, gain, 0.0))
        statistic[:, day] = evidence
        alarms[:, day] = is_ready & (evidence >= threshold)
        today = [figures[0][:, day], figures[1][:, day], (weights[:, day] > 0).astype(float), weights[:, day]]
        if settings.baseline == "first":
            today = [np.where(count < _FIRST_DAYS, value, 0.0) for value in today]
        waiting = [old + new for old, new in zip(waiting, today, strict=True)]
        take = np.ones(ads, bool) if settings.baseline != "waiting" else (evidence <= 0) | (count < BASELINE_DAYS)
        total, part, count, precision = (
            old + np.where(take, new, 0.0) for old, new in zip((total, part, count, precision), waiting, strict=True)
        )
        waiting = [np.where(take, 0.0, value) for value in waiting]
        keep = ~alarms[:, day]
        total, part, count, precision, evidence = (
            np.where(keep, value, 0.0) for value in (total, part, count, precision, evidence)
        )
        waiting = [np.where(keep, value, 0.0) for value in waiting]
    return DetectorRun(statistic, alarms)


def ewma(weight: float = 0.2) -> Detector:
    """Return an exponentially weighted mean of standardized residuals from all days since the last alarm."""

    def start(series: AdSeries) -> Runner:
        signal = measure_signal(series.panel)
        return lambda threshold: _run_ewma(signal, weight, threshold)

    return Detector(f"EWMA ({weight:g})", start, 0.5, 20.0)


def _run_ewma(signal: Signal, weight: float, threshold: float) -> DetectorRun:
    ads, days = signal.log_ctr.shape
    precisions = np.where(signal.impressions > 0, 1 / (signal.noise**2 + 1 / signal.expected), 0.0)
    total, precision, count, mean = (np.zeros(ads) for _ in range(4))
    statistic, alarms = np.zeros((ads, days)), np.zeros((ads, days), bool)
    for day in range(days):
        known = precisions[:, day] > 0
        is_ready = (count >= BASELINE_DAYS) & known
        usual = total / np.where(precision > 0, precision, 1.0)
        variance = 1 / np.where(known, precisions[:, day], 1.0) + 1 / np.where(precision > 0, precision, 1.0)
        residual = np.where(is_ready, (usual - signal.log_ctr[:, day]) / np.sqrt(variance), 0.0)
        mean = np.where(is_ready, weight * residual + (1 - weight) * mean, mean)
        statistic[:, day] = mean / np.sqrt(weight / (2 - weight))
        alarms[:, day] = is_ready & (statistic[:, day] >= threshold)
        keep = ~alarms[:, day]
        total = np.where(keep, total + np.where(known, precisions[:, day] * signal.log_ctr[:, day], 0.0), 0.0)
        precision = np.where(keep, precision + precisions[:, day], 0.0)
        count, mean = np.where(keep, count + known, 0.0), np.where(keep, mean, 0.0)
    return DetectorRun(statistic, alarms)


def _gain(
    settings: CusumSettings, signal: Signal, day: int, state: tuple[FloatArray, FloatArray, FloatArray]
) -> FloatArray:
    """Return what a day adds to the sum, given the usual rate, the log-variance around it and the day's exposure."""
    usual, uncertainty, exposure = state
    if settings.kind == "log":
        score = (signal.log_ctr[:, day] - usual) / np.sqrt(uncertainty + 1 / signal.expected[:, day])
        return np.where(np.isfinite(score), -score - settings.size, 0.0)
    mean = np.maximum(1e-9, usual * exposure)
    clicks = signal.clicks[:, day]
    if settings.kind == "count":
        result: FloatArray = -(clicks - mean) / np.sqrt(mean + mean**2 * uncertainty) - settings.size
        return result
    return log_ratio(clicks, mean, 1 - settings.size, uncertainty)


def log_ratio(clicks: FloatArray, mean: FloatArray, factor: FloatArray | float, variance: FloatArray) -> FloatArray:
    """Return the log-likelihood ratio of clicks with mean `factor * mean` against `mean`.

    Clicks are negative binomial: Poisson with a gamma factor of this variance, about that of its logarithm. The
    dispersion is the same under both, which is why only the mean appears in the ratio.
    """
    shape = 1 / variance
    ratio: FloatArray = clicks * np.log(factor) - (clicks + shape) * np.log((factor * mean + shape) / (mean + shape))
    return ratio


def glr(window: int = GLR_WINDOW) -> Detector:
    """Return the generalised likelihood ratio of a lower mean since any of the last `window` days."""

    def start(series: AdSeries) -> Runner:
        signal = measure_signal(series.panel)
        return lambda threshold: _run_glr(signal, window, threshold)

    return Detector(f"GLR, {window} days", start, 0.5, 80.0)


def _prefix_sums(signal: Signal) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sums over the days before each column: of weights, of weighted log rates, and of days."""
    weights = np.where(signal.impressions > 0, 1 / (signal.noise**2 + 1 / signal.expected), 0.0)
    figures = (weights, weights * np.where(weights > 0, signal.log_ctr, 0.0), (weights > 0).astype(float))
    empty = np.zeros((len(weights), 1))
    weight, value, count = (np.concatenate([empty, np.cumsum(figure, axis=1)], axis=1) for figure in figures)
    return weight, value, count


def _run_glr(signal: Signal, window: int, threshold: float) -> DetectorRun:
    ads, days = signal.log_ctr.shape
    weight, value, count = _prefix_sums(signal)
    rows = np.arange(ads)
    begin = np.zeros(ads, int)
    statistic, alarms = np.zeros((ads, days)), np.zeros((ads, days), bool)
    for day in range(days):
        change = np.arange(max(0, day - window + 1), day + 1)
        before = weight[:, change] - weight[rows, begin][:, None]
        after = weight[:, [day + 1]] - weight[:, change]
        enough = (count[:, change] - count[rows, begin][:, None] >= BASELINE_DAYS) & (after > 0)
        enough &= change >= begin[:, None]
        usual = (value[:, change] - value[rows, begin][:, None]) / np.where(before > 0, before, 1.0)
        since = (value[:, [day + 1]] - value[:, change]) / np.where(after > 0, after, 1.0)
        drop = np.maximum(0.0, usual - since)
        ratio = np.where(
            enough, drop**2 / 2 / (1 / np.where(before > 0, before, 1) + 1 / np.where(enough, after, 1)), 0
        )
        statistic[:, day] = ratio.max(axis=1)
        alarms[:, day] = statistic[:, day] >= threshold
        begin = np.where(alarms[:, day], day + 1, begin)
    return DetectorRun(statistic, alarms)


def bayesian_change_point(hazard: float = HAZARD, level_sd: float = 0.4) -> Detector:
    """Return the online change point of Adams and MacKay with Gaussian log rates of known precision.

    The statistic is the log-odds that the mean has changed since the last alarm and is now lower.

    Args:
        hazard: probability of a change on a day.
        level_sd: log-sd of the level after a change, around the level of the ad before it.
    """

    def start(series: AdSeries) -> Runner:
        signal = measure_signal(series.panel)
        return lambda threshold: _run_bayesian(signal, hazard, level_sd, threshold)

    return Detector("Bayesian change point", start, -6.0, 80.0)


def _run_bayesian(signal: Signal, hazard: float, level_sd: float, threshold: float) -> DetectorRun:
    ads, days = signal.log_ctr.shape
    weight, value, count = _prefix_sums(signal)
    rows = np.arange(ads)
    begin = np.zeros(ads, int)
    # Column s: log-probability that the present level began on day s.
    log_mass = np.full((ads, days), -np.inf)
    statistic, alarms = np.full((ads, days), -np.inf), np.zeros((ads, days), bool)
    for day in range(days):
        starts = np.arange(day + 1)
        # The masses of the days before add up to 1.
        log_mass[:, day] = np.where(begin == day, 0.0, np.log(hazard))
        log_mass[:, :day] += np.log1p(-hazard)
        past = weight[rows, begin][:, None]
        usual_weight = np.maximum(weight[:, : day + 1] - past, 0.0)
        usual = (value[:, : day + 1] - value[rows, begin][:, None]) / np.where(usual_weight > 0, usual_weight, 1.0)
        since = weight[:, [day]] - weight[:, : day + 1]
        is_first = starts == begin[:, None]
        prior = np.where(is_first, 1e-4, 1 / level_sd**2)
        mean = (prior * usual + value[:, [day]] - value[:, : day + 1]) / (prior + since)
        observed, today = signal.log_ctr[:, [day]], weight[:, [day + 1]] - weight[:, [day]]
        spread = 1 / np.where(today > 0, today, 1.0) + 1 / (prior + since)
        step = -0.5 * (np.log(spread) + (np.where(today > 0, observed, 0.0) - mean) ** 2 / spread)
        log_mass[:, : day + 1] += np.where(today > 0, step, 0.0)
        log_mass[:, : day + 1] = np.where(starts >= begin[:, None], log_mass[:, : day + 1], -np.inf)
        log_mass[:, : day + 1] -= log_mass[:, : day + 1].max(axis=1, keepdims=True)
        mass = np.exp(log_mass[:, : day + 1])
        log_mass[:, : day + 1] -= np.log(mass.sum(axis=1, keepdims=True))
        after = weight[:, [day + 1]] - weight[:, : day + 1]
        level = (value[:, [day + 1]] - value[:, : day + 1]) / np.where(after > 0, after, 1.0)
        enough = count[:, : day + 1] - count[rows, begin][:, None] >= BASELINE_DAYS
        lower = np.where(enough & (after > 0) & (level < usual), mass, 0.0).sum(axis=1)
        share = np.clip(lower / mass.sum(axis=1), 1e-15, 1 - 1e-15)
        statistic[:, day] = np.log(share) - np.log1p(-share)
        alarms[:, day] = statistic[:, day] >= threshold
        begin = np.where(alarms[:, day], day + 1, begin)
    return DetectorRun(statistic, alarms)
