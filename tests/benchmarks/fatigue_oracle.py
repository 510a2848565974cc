"""The likelihood-ratio oracle: how early an alarm can be when only the day of the onset is unknown.

It knows the healthy rate of each ad and day, with weekday and market, the noise, the exponent and the growth of
exposures. Nothing that sees data alone can do as well.
"""

import math

import numpy as np

from adwarm.fatigue.panel import FloatArray
from tests.benchmarks.fatigue_ads import SimulatedAds
from tests.benchmarks.fatigue_detectors import Detector, DetectorRun, Runner, log_ratio
from tests.benchmarks.fatigue_metrics import RUN_LENGTH
from tests.benchmarks.fatigue_signals import AdSeries


def oracle(form: str) -> Detector:
    """Return the oracle as `sum` (Shiryaev-Roberts: over all days the onset may be) or `maximum` (CUSUM)."""

    def start(series: AdSeries) -> Runner:
        if series.truth is None:
            raise ValueError("the oracle needs simulated ads, whose healthy rate is known")
        truth = series.truth
        gains = _gains(truth)
        return lambda threshold: _run(gains, form, threshold)

    return Detector(
        f"oracle, {'Shiryaev-Roberts' if form == 'sum' else 'CUSUM'}",
        start,
        0.0,
        80.0,
        math.log(RUN_LENGTH) if form == "sum" else None,
    )


def _gains(truth: SimulatedAds) -> FloatArray:
    """Return days x ads x ages: the log-likelihood ratio of a day's clicks when wear is `age` days old."""
    panel, settings = truth.panel, truth.settings
    ads, days = panel.impressions.shape
    mean = (panel.impressions * truth.healthy_rate)[:, :, None]
    variance = np.array(np.expm1(settings.noise_sd**2))
    factor = (1 + _growth(truth)[:, None] * np.arange(1, days + 1)) ** settings.exponent
    gains = np.empty((days, ads, days), np.float32)
    for day in range(days):
        ages = slice(0, day + 1)
        gains[day, :, ages] = log_ratio(panel.clicks[:, [day]], mean[:, day], factor[:, ages], variance)
    return gains


def _growth(truth: SimulatedAds) -> FloatArray:
    """Return the exposures per person and day of each ad: from its wear, or for a healthy ad drawn as they are."""
    ads = len(truth.onset)
    is_fatigued = truth.onset >= 0
    first = truth.wear[np.arange(ads), np.where(is_fatigued, truth.onset, 0)]
    growth = first ** (1 / truth.settings.exponent) - 1
    drawn = np.random.default_rng(ads).uniform(*truth.settings.growth, ads)
    return np.where(is_fatigued, growth, drawn)


def _run(gains: FloatArray, form: str, threshold: float) -> DetectorRun:
    days, ads, _ = gains.shape
    paths = np.full((ads, days), -np.inf)
    statistic, alarms = np.zeros((ads, days)), np.zeros((ads, days), bool)
    for day in range(days):
        paths[:, day] = 0.0
        # Column s of `paths` is the log-likelihood ratio of an onset on day s.
        paths[:, : day + 1] += gains[day, :, day::-1]
        largest = paths[:, : day + 1].max(axis=1)
        if form == "sum":
            largest = largest + np.log(np.exp(paths[:, : day + 1] - largest[:, None]).sum(axis=1))
        statistic[:, day] = largest
        alarms[:, day] = largest >= threshold
        paths[alarms[:, day], : day + 1] = -np.inf
    return DetectorRun(statistic, alarms)
