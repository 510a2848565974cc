"""The product's alarm and score as detectors, run as they run daily.

The results of a calendar month come from one scan that begins `fatigue.history_days` before it, with the prior that
each account's days before the month give; of the first month nothing is measured, so its prior is the default.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import numpy as np

from adwarm.fatigue.alarm import detect
from adwarm.fatigue.compat import compat_scores
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior, measure_priors
from adwarm.fatigue.score import score_panel
from adwarm.settings import FatigueSettings
from tests.benchmarks.fatigue_detectors import Detector, DetectorRun, Runner
from tests.benchmarks.fatigue_signals import AdSeries

_SMALLEST: Final = 1e-9
_LARGEST: Final = 700.0
_UNLIMITED: Final = 1e12


def alarm_detector(name: str = "adwarm alarm", *, limited: bool = True) -> Detector:
    """Return the product's alarm; its threshold is the logarithm of `fatigue.alarm_days`.

    Args:
        name: in tables.
        limited: False removes the limit of false alarms of an account and week, which thresholds below the default
            would otherwise not get past.
    """

    def start(series: AdSeries) -> Runner:
        months = list(monthly_scans(series.panel))

        def run(threshold: float) -> DetectorRun:
            changes: dict[str, Any] = {"alarm_days": math.exp(min(threshold, _LARGEST))}
            if not limited:
                changes["false_alarms_per_account_week"] = _UNLIMITED
            # Thresholds below the smallest setting are part of a sweep, so the bounds are not checked.
            return run_alarms(months, FatigueSettings().model_copy(update=changes))

        return run

    return Detector(name, start, 0.5, 60.0, math.log(FatigueSettings().alarm_days))


def run_alarms(months: "list[MonthlyScan]", settings: FatigueSettings) -> DetectorRun:
    """Return the log evidence and the raised alarms of every day."""
    evidence, raised = [], []
    for scan in months:
        table = detect(scan.panel, scan.priors, settings)
        evidence.append(np.log(np.nan_to_num(table.evidence[:, scan.since :], nan=0.0) + _SMALLEST))
        raised.append(table.raised[:, scan.since :])
    return DetectorRun(np.concatenate(evidence, axis=1).astype(float), np.concatenate(raised, axis=1))


class MonthlyScan:
    """The scan of a calendar month.

    Attributes:
        panel: the columns that are scanned.
        priors: per account.
        since: first column of the panel that belongs to the month.
        column: the same in the whole panel.
    """

    def __init__(self, whole: AdPanel, first: int, since: int, until: int) -> None:
        """Cut columns `first` to `until` out of the whole panel; the month begins with `since`."""
        self.panel = cut_days(whole, first, until)
        self.since, self.column = since - first, since
        self.priors: Mapping[str, AccountPrior] = (
            measure_priors(whole, whole.first_day + timedelta(days=since))
            if since
            else dict.fromkeys(whole.account_ids, DEFAULT_PRIOR)
        )


def monthly_scans(panel: AdPanel) -> Iterator[MonthlyScan]:
    """Yield the scan of each calendar month that the panel has days of."""
    history = FatigueSettings().history_days
    since = 0
    while since < panel.days:
        day = panel.first_day + timedelta(days=since)
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        until = min(panel.days, panel.column(following))
        begin = max(0, panel.column(day.replace(day=1)) - history)
        yield MonthlyScan(panel, begin, since, until)
        since = until


def cut_days(panel: AdPanel, first: int, until: int) -> AdPanel:
    """Return columns `first` to `until`, the latter not included."""
    names = ("impressions", "clicks", "spend", "results", "is_stored")
    figures = {name: getattr(panel, name)[:, first:until] for name in names}
    return replace(panel, first_day=panel.first_day + timedelta(days=first), **figures)


def score_totals(series: AdSeries) -> FloatArray:
    """Return the product's total score of each ad and day, scanned by month; nan where it is pending."""
    totals = []
    for scan in monthly_scans(series.panel):
        first = scan.column - scan.since
        frequency = series.frequency[:, first : first + scan.panel.days]
        table = score_panel(scan.panel, scan.priors, frequency, FatigueSettings())
        totals.append(np.asarray(table.total, float)[:, scan.since :])
    total: FloatArray = np.concatenate(totals, axis=1)
    return total


def earlier_score(version: str) -> Callable[[AdSeries], FloatArray]:
    """Return the score of an earlier version: A, B, C or E."""

    def score(series: AdSeries) -> FloatArray:
        return compat_scores(series.panel, series.frequency, version)

    return score
