"""The product's alarm and score as detectors, run as they run daily.

The results of a calendar month come from one scan that begins `SCAN_DAYS` before it, with the prior that
each account's days before the month give, and with the alarms that last in the scan of the month before; of the first
month nothing is measured, so its prior is the default.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Final
from unittest.mock import patch

import numpy as np

from adwarm.fatigue import alarm
from adwarm.fatigue.alarm import detect
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior, measure_priors
from adwarm.fatigue.score import SCAN_DAYS, score_panel
from adwarm.settings import FatigueSettings
from tests.benchmarks.fatigue_detectors import Detector, DetectorRun, Runner
from tests.benchmarks.fatigue_signals import AdSeries

_SMALLEST: Final = 1e-9
_LARGEST: Final = 700.0
_UNLIMITED: Final = 1e12


def alarm_detector(name: str = "adwarm alarm", *, limited: bool = True) -> Detector:
    """Return the product's alarm; its threshold is the logarithm of `ALARM_EVIDENCE`.

    Args:
        name: in tables.
        limited: False removes the limit of false alarms of an account and week, which thresholds below the default
            would otherwise not get past.
    """

    def start(series: AdSeries) -> Runner:
        months = list(monthly_scans(series.panel))

        def run(threshold: float) -> DetectorRun:
            budget = {} if limited else {"false_alarms_per_account_week": _UNLIMITED}
            with patch.object(alarm, "ALARM_EVIDENCE", math.exp(min(threshold, _LARGEST))):
                return run_alarms(months, FatigueSettings(**budget))

        return run

    return Detector(name, start, 0.5, 60.0, math.log(alarm.ALARM_EVIDENCE))


def run_alarms(months: "list[MonthlyScan]", settings: FatigueSettings) -> DetectorRun:
    """Return the log evidence and the raised alarms of every day."""
    evidence, raised = [], []
    for scan in months:
        table = detect(scan.panel, scan.priors, settings, scan.earlier, scan.since)
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


def score_totals(series: AdSeries) -> FloatArray:
    """Return the product's total score of each ad and day, scanned by month; nan where it is pending."""
    totals = []
    for scan in monthly_scans(series.panel):
        first = scan.column - scan.since
        frequency = series.frequency[:, first : first + scan.panel.days]
        table = score_panel(scan.panel, scan.priors, frequency, FatigueSettings())
        totals.append(np.asarray(table.figures["total"], float)[:, scan.since :])
    total: FloatArray = np.concatenate(totals, axis=1)
    return total
