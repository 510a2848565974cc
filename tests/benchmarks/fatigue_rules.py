"""Rules of practice as detectors: falling click-through rate, frequency, and scores that cross a limit."""

from collections.abc import Callable
from typing import Final

import numpy as np

from adwarm.fatigue.panel import AdPanel, FloatArray
from tests.benchmarks.fatigue_detectors import Detector, DetectorRun, Runner
from tests.benchmarks.fatigue_signals import BASELINE_DAYS, AdSeries

RECENT_DAYS: Final = 3
HOLD_DAYS: Final = 14
"""Days after an alarm in which a rule without a reset raises no other; others need about that for a new baseline."""

_BASELINE_WINDOW: Final = 30


def drop_rule() -> Detector:
    """Return the rule of a click-through rate 25 % below the ad's baseline on each of three days."""
    return Detector("3-day drop rule", lambda series: _drop_runner(series.panel, pooled=False), -0.2, 0.9, 0.25)


def ctr_rule() -> Detector:
    """Return the rule of a click-through rate of three days together 25 % below the ad's baseline."""
    return Detector("CTR only", lambda series: _drop_runner(series.panel, pooled=True), -0.2, 0.9, 0.25)


def frequency_rule() -> Detector:
    """Return the rule of a weekly frequency of 3.5."""
    return Detector("frequency only", lambda series: level_runner(series.frequency), 1.0, 8.0, 3.5)


def score_rule(name: str, score: Callable[[AdSeries], FloatArray], limit: float) -> Detector:
    """Return a detector that raises an alarm when a score from 0 to 100 reaches a limit."""
    return Detector(name, lambda series: level_runner(score(series)), 0.0, 100.0, limit)


def level_runner(level: FloatArray) -> Runner:
    """Return a run that raises an alarm when a level comes to reach the threshold, not again for `HOLD_DAYS`."""

    def run(threshold: float) -> DetectorRun:
        is_above = np.nan_to_num(level, nan=-np.inf) >= threshold
        alarms = np.zeros(level.shape, bool)
        last = np.full(len(level), -HOLD_DAYS - 1)
        for day in range(level.shape[1]):
            before = is_above[:, day - 1] if day else np.zeros(len(level), bool)
            alarms[:, day] = is_above[:, day] & ~before & (day - last > HOLD_DAYS)
            last = np.where(alarms[:, day], day, last)
        return DetectorRun(level, alarms)

    return run


def _drop_runner(panel: AdPanel, *, pooled: bool) -> Runner:
    """Return a run over relative drops below the days before the recent ones, with a new baseline after an alarm."""
    is_usable = (panel.impressions > 0) & np.isfinite(panel.clicks)
    impressions, clicks = np.where(is_usable, panel.impressions, 0.0), np.where(is_usable, panel.clicks, 0.0)
    rate = clicks / np.where(is_usable, impressions, 1.0)
    empty = np.zeros((len(rate), 1))
    shown, clicked, count = (
        np.concatenate([empty, np.cumsum(values, axis=1)], axis=1) for values in (impressions, clicks, is_usable)
    )

    def run(threshold: float) -> DetectorRun:
        ads, days = rate.shape
        rows, begin = np.arange(ads), np.zeros(ads, int)
        statistic, alarms = np.full((ads, days), -1.0), np.zeros((ads, days), bool)
        for day in range(RECENT_DAYS, days):
            split = day - RECENT_DAYS + 1
            first = np.minimum(np.maximum(begin, split - _BASELINE_WINDOW), split)
            total = shown[:, split] - shown[rows, first]
            usual = (clicked[:, split] - clicked[rows, first]) / np.where(total > 0, total, 1.0)
            is_ready = (count[:, split] - count[rows, first] >= BASELINE_DAYS) & (usual > 0)
            is_ready &= count[:, day + 1] - count[:, split] >= RECENT_DAYS
            recent = rate[:, split : day + 1].max(axis=1)
            if pooled:
                delivered = shown[:, day + 1] - shown[:, split]
                recent = (clicked[:, day + 1] - clicked[:, split]) / np.where(delivered > 0, delivered, 1.0)
            statistic[:, day] = np.where(is_ready, 1 - recent / np.where(usual > 0, usual, 1.0), -1.0)
            alarms[:, day] = is_ready & (statistic[:, day] >= threshold)
            begin = np.where(alarms[:, day], day + 1, begin)
        return DetectorRun(statistic, alarms)

    return run
