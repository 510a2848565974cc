"""Sequential detectors of a lower click-through rate: the product's alarm, CUSUM and EWMA, and how good they are.

A detector starts once per panel and then runs at any threshold: a larger statistic is more evidence, an alarm is a
statistic that reaches the threshold, and after an alarm everything that the detector learned about the ad is forgotten.
The product runs as it does daily: the results of a calendar month come from one scan that begins `SCAN_DAYS` before it,
with the prior that each account's days before the month give, and with the alarms that last in the scan of the month
before; of the first month nothing is measured, so its prior is the default. CUSUM and EWMA see log rates without
weekday and market, by that day and earlier ones.

False alarms are those before the onset and on healthy ads, from `WARM_UP_DAYS` on, since no detector can compare
anything before.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final
from unittest.mock import patch

import numpy as np

from adwarm.fatigue import alarm
from adwarm.fatigue.alarm import detect
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior, measure_priors
from adwarm.fatigue.score import SCAN_DAYS
from adwarm.settings import FatigueSettings

BASELINE_DAYS: Final = 7
"""Days with delivery before a baseline compares anything with them."""
WEEKDAY_SD: Final = 0.05
MARKET_SD: Final = 0.07
"""Assumed log-sd of weekday factors and of account-wide moves, towards which estimates of them are shrunk."""
DEFAULT_NOISE: Final = 0.115
WARM_UP_DAYS: Final = 14
RUN_LENGTH: Final = 180
_NOISE_WEIGHT: Final = 10.0
_TRAILING: Final = 28
_SAMPLES: Final = 400


@dataclass(frozen=True, slots=True)
class AdSeries:
    """Ads to run detectors on; `onset` is, per ad, the index of the first day of fatigue, -1 for none."""

    panel: AdPanel
    onset: np.ndarray


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


def alarm_detector() -> Detector:
    """Return the product's alarm; its threshold is `ALARM_EVIDENCE`."""

    def start(series: AdSeries) -> Runner:
        months = list(monthly_scans(series.panel))

        def run(threshold: float) -> DetectorRun:
            with patch.object(alarm, "ALARM_EVIDENCE", threshold):
                return run_alarms(months, FatigueSettings())

        return run

    return Detector("adwarm alarm", start, 0.5, 60.0, alarm.ALARM_EVIDENCE)


def run_alarms(months: "list[MonthlyScan]", settings: FatigueSettings) -> DetectorRun:
    """Return the evidence and the raised alarms of every day."""
    evidence, raised = [], []
    for scan in months:
        table = detect(scan.panel, scan.priors, settings, scan.earlier, scan.since)
        evidence.append(np.nan_to_num(table.evidence[:, scan.since :], nan=0.0))
        raised.append(table.raised[:, scan.since :])
    return DetectorRun(np.concatenate(evidence, axis=1).astype(float), np.concatenate(raised, axis=1))


class MonthlyScan:
    """The scan of a calendar month.

    Attributes:
        panel: the columns that are scanned.
        priors: per account.
        since: first column of the panel that belongs to the month.
        column: the same in the whole panel.
        earlier: priors of the month before, with which the scan begins.
    """

    def __init__(self, whole: AdPanel, since: int, until: int, history: int) -> None:
        """Cut the month of columns `since` to `until` out of the whole panel, with the days that it looks back on."""
        month = (whole.first_day + timedelta(days=since)).replace(day=1)
        before = (month - timedelta(days=1)).replace(day=1)
        first = max(0, whole.column(before) - history)
        self.panel = cut_days(whole, first, until)
        self.since, self.column = since - first, since
        self.priors = _measure(whole, month)
        self.earlier = _measure(whole, before)


def _measure(whole: AdPanel, month: date) -> Mapping[str, AccountPrior]:
    if month <= whole.first_day:
        return dict.fromkeys(whole.account_ids, DEFAULT_PRIOR)
    return measure_priors(whole, month)


def monthly_scans(panel: AdPanel) -> Iterator[MonthlyScan]:
    """Yield the scan of each calendar month that the panel has days of."""
    since = 0
    while since < panel.days:
        day = panel.first_day + timedelta(days=since)
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        until = min(panel.days, panel.column(following))
        yield MonthlyScan(panel, since, until, SCAN_DAYS)
        since = until


def cut_days(panel: AdPanel, first: int, until: int) -> AdPanel:
    """Return columns `first` to `until`, the latter not included."""
    names = ("impressions", "clicks", "spend", "results", "is_stored")
    figures = {name: getattr(panel, name)[:, first:until] for name in names}
    return replace(panel, first_day=panel.first_day + timedelta(days=first), **figures)


def cusum(size: float = 0.5) -> Detector:
    """Return a CUSUM of standardized log rates, less `size`; its baseline is all days since the last alarm."""

    def start(series: AdSeries) -> Runner:
        signal = measure_signal(series.panel)
        return lambda threshold: _run_cusum(signal, size, threshold)

    return Detector("CUSUM", start, 0.5, 80.0)


def _run_cusum(signal: "Signal", size: float, threshold: float) -> DetectorRun:
    ads, days = signal.log_ctr.shape
    weights = np.where(signal.impressions > 0, 1 / (signal.noise**2 + 1 / signal.expected), 0.0)
    values = np.where(weights > 0, signal.log_ctr, 0.0)
    total, precision, count, evidence = (np.zeros(ads) for _ in range(4))
    statistic, alarms = np.zeros((ads, days)), np.zeros((ads, days), bool)
    for day in range(days):
        is_ready = (count >= BASELINE_DAYS) & (weights[:, day] > 0)
        usual = total / np.where(precision > 0, precision, 1.0)
        variance = signal.noise[:, day] ** 2 + 1 / np.where(precision > 0, precision, 1.0) + 1 / signal.expected[:, day]
        gain = (usual - values[:, day]) / np.sqrt(variance) - size
        evidence = np.maximum(0.0, evidence + np.where(is_ready, gain, 0.0))
        statistic[:, day] = evidence
        alarms[:, day] = is_ready & (evidence >= threshold)
        keep = ~alarms[:, day]
        total = np.where(keep, total + weights[:, day] * values[:, day], 0.0)
        precision = np.where(keep, precision + weights[:, day], 0.0)
        count, evidence = np.where(keep, count + (weights[:, day] > 0), 0.0), np.where(keep, evidence, 0.0)
    return DetectorRun(statistic, alarms)


def ewma(weight: float = 0.2) -> Detector:
    """Return an exponentially weighted mean of standardized residuals from all days since the last alarm."""

    def start(series: AdSeries) -> Runner:
        signal = measure_signal(series.panel)
        return lambda threshold: _run_ewma(signal, weight, threshold)

    return Detector(f"EWMA ({weight:g})", start, 0.5, 20.0)


def _run_ewma(signal: "Signal", weight: float, threshold: float) -> DetectorRun:
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


@dataclass(frozen=True, slots=True)
class Signal:
    """Log click-through rates of ads x days, adjusted for weekday and market.

    Attributes:
        log_ctr: adjusted; nan without impressions or clicks.
        impressions: 0 on days that have no `log_ctr`.
        expected: clicks expected from the ad's days before; at least .5.
        noise: estimated extra-binomial log-sd by day, pooled within the account.
    """

    log_ctr: FloatArray
    impressions: FloatArray
    expected: FloatArray
    noise: FloatArray


def measure_signal(panel: AdPanel) -> Signal:
    """Return the adjusted log click-through rates of a panel."""
    is_usable = (panel.impressions > 0) & np.isfinite(panel.clicks)
    impressions = np.where(is_usable, panel.impressions, 0.0)
    clicks = np.where(is_usable, panel.clicks, 0.0)
    rate = _rate_before(clicks, impressions)
    expected = np.maximum(0.5, impressions * rate)
    log_ctr = np.where(is_usable, np.log((clicks + 0.5) / (impressions + 1.0)), np.nan)
    starts = panel.account_starts
    noise = _account_noise(log_ctr, expected, starts)
    shift = _shared_moves(log_ctr, expected, noise, starts, panel.first_day.weekday())
    return Signal(log_ctr - shift, impressions, expected, noise)


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


def find_threshold(detector: Detector, healthy: AdSeries, per_run_length: float = 1.0) -> float:
    """Return the threshold with that many false alarms in 180 ad-days, by bisection."""
    run, groups = detector.start(healthy), np.array(healthy.panel.account_ids)
    low, high = detector.low, detector.high
    for _ in range(12):
        middle = (low + high) / 2
        rate = measure_false_alarms(run(middle).alarms, healthy.onset, groups).per_run_length
        low, high = (middle, high) if rate >= per_run_length else (low, middle)
    return low
