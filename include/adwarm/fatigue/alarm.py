"""Alarms of declining click-through rates, rare on ads that do not change.

docs/explanation/fatigue-alarm.md has the model of a day, the evidence, the limit of an account and the life of an
alarm, with their sources. `change_detector` has the state of the ads and its update by a day; this module raises and
ends alarms, day by day over arrays of ads.

**What is promised**: at most one alarm in 180 ad-days on ads that do not change. That is measured and not proven, in
each world of `make bench NAME=fatigue-worlds`.

**From month to month.** The scores of a month are one scan from a fixed number of days before it, so that they can be
computed from stored days alone. It begins two months before, with the priors of the month before, and goes on with
those of the month from its first day on (`earlier`). So baselines and alarms last over the first of a month.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.change_detector import LAGS, ChangeDetector, DayFigures, Flags, Indices
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior
from adwarm.settings import FatigueSettings

ALARM_EVIDENCE: Final = 100.0
"""Evidence of what is watched; chosen on the worlds of the benchmark."""
FALSE_SHARE: Final = 0.1
"""Share of false alarms that is allowed instead when an account raises many on a day."""
NEW_USUAL_DAYS: Final = 28
"""Days with delivery after which an alarm ends because the lower rate is the usual one now."""
_SMALLEST_DECLINE: Final = 0.1


@dataclass(frozen=True, slots=True)
class AlarmTable:
    """Alarms as arrays of ads x days; each column uses that day and those before it only.

    Attributes:
        evidence: value of the detector; nan while the baseline does not suffice.
        level: 0 none, 1 watch, 2 alarm.
        alarm_since: column of the first day of the alarm while it lasts; -1 for none.
        onset: estimated column in which the decline started, while there is a watch or an alarm; -1 otherwise.
    """

    evidence: npt.NDArray[np.float32]
    level: npt.NDArray[np.int8]
    alarm_since: npt.NDArray[np.int16]
    onset: npt.NDArray[np.int16]

    @property
    def raised(self) -> Flags:
        """Whether an alarm is raised that day."""
        raised: Flags = self.alarm_since == np.arange(self.alarm_since.shape[1])
        return raised


def detect(
    panel: AdPanel,
    priors: Mapping[str, AccountPrior],
    settings: FatigueSettings,
    earlier: Mapping[str, AccountPrior] | None = None,
    since: int = 0,
) -> AlarmTable:
    """Return the alarms of each ad on each day of the panel.

    Args:
        panel: daily figures of whole accounts.
        priors: by account id; an account without one has the default prior.
        earlier: for a scan of one month, the priors of the month before; they hold up to the column `since`.
        since: first column of the month; those before it are not meant to be used.
    """
    shape = panel.impressions.shape
    table = AlarmTable(
        np.full(shape, np.nan, np.float32), np.zeros(shape, np.int8), *(np.zeros(shape, np.int16) for _ in range(2))
    )
    if not len(panel.ad_ids):
        return table
    scan = _Scan(panel, priors if earlier is None else earlier, settings)
    scan.run(table, 0, since)
    if earlier is not None:
        scan.change_priors(priors)
    scan.run(table, since, panel.days)
    return table


class _Scan:
    """Scans the days of a panel in order.

    Attributes:
        alarms: those that last.
    """

    def __init__(self, panel: AdPanel, priors: Mapping[str, AccountPrior], settings: FatigueSettings) -> None:
        ads = len(panel.ad_ids)
        self._starts = panel.account_starts
        self._settings = settings
        self._account = np.repeat(np.arange(len(self._starts)), np.diff(np.r_[self._starts, ads]))
        self._account_ids = [panel.account_ids[start] for start in self._starts]
        self._detector = ChangeDetector(self._starts, ads, self._choose(priors))
        self._panel = panel
        self._watched = np.zeros((LAGS, len(self._starts)))
        self.alarms = _OpenAlarms(ads)
        self._levels = np.full((LAGS + 1, ads), np.nan)

    def _choose(self, priors: Mapping[str, AccountPrior]) -> list[AccountPrior]:
        return [priors.get(account_id, DEFAULT_PRIOR) for account_id in self._account_ids]

    def change_priors(self, priors: Mapping[str, AccountPrior]) -> None:
        """Go on with other priors; what the ads have shown by themselves stays."""
        self._detector.change_priors(self._choose(priors))

    def run(self, table: AlarmTable, first: int, last: int) -> None:
        """Fill the table in the columns from `first` up to `last`, `last` excluded."""
        panel = self._panel
        for day in range(first, last):
            impressions = panel.impressions[:, day].copy()
            clicks = np.where(panel.is_stored[:, day], panel.clicks[:, day], np.nan)
            if panel.changed is not None:
                self._detector.restart(panel.changed[:, day])
                self.alarms.close(panel.changed[:, day])
            figures = self._detector.step(day, (panel.first_day.weekday() + day) % 7, impressions, clicks)
            self._levels[day % len(self._levels)] = self._detector.level
            self._day(day, figures, impressions, table)

    def _day(self, day: int, figures: DayFigures, impressions: FloatArray, table: AlarmTable) -> None:
        detector, alarms = self._detector, self.alarms
        evidence = detector.evidence
        table.evidence[:, day] = np.where(detector.armed, evidence, np.nan)
        watch = np.flatnonzero(evidence >= ALARM_EVIDENCE)
        raised = self._raise(day, figures.usable & detector.armed)
        alarms.follow(figures, detector.level, math.log(ALARM_EVIDENCE))
        onset, decline, usual = np.full(len(raised), -1), np.zeros(len(raised)), detector.level.copy()
        if len(watch):
            age, decline[watch] = detector.estimate(day, watch)
            onset[watch] = day - age
            usual[watch] = self._levels[(day - age - 1) % len(self._levels), watch]
            alarms.open(day, raised, onset, usual=usual, decline=decline, variance=detector.level_variance)
            detector.level[raised] = usual[raised] * (1 - decline[raised])
        detector.restart(raised | alarms.recovered)
        paused = detector.pause(impressions == 0, figures.usable, impressions > 0)
        alarms.close(paused)
        lasting, is_watched = alarms.since >= 0, evidence >= ALARM_EVIDENCE
        table.evidence[:, day][~lasting & ~is_watched & (paused | alarms.recovered)] = np.nan
        table.level[:, day] = np.where(lasting, 2, is_watched)
        table.alarm_since[:, day] = alarms.since
        table.onset[:, day] = np.where(lasting, alarms.onset, np.where(is_watched, onset, -1))

    def _raise(self, day: int, watched: Flags) -> Flags:
        """Return the ads whose evidence passes the limit of their account."""
        settings = self._settings
        self._watched[day % LAGS] = np.add.reduceat(watched, self._starts, dtype=np.int64)
        evidence = self._detector.evidence
        raised = np.zeros(len(evidence), bool)
        candidates = np.flatnonzero(watched & (evidence >= ALARM_EVIDENCE))
        if not len(candidates):
            return raised
        account = self._account[candidates]
        order = np.lexsort((-evidence[candidates], account))
        candidates, account = candidates[order], account[order]
        firsts = np.flatnonzero(np.r_[True, account[1:] != account[:-1]])
        rank = np.arange(len(account)) - np.repeat(firsts, np.diff(np.r_[firsts, len(account)])) + 1
        ads = self._watched.max(axis=0)[account]
        limit = 7 * ads / np.maximum(settings.false_alarms_per_account_week, FALSE_SHARE * rank)
        steps = np.where(evidence[candidates] >= limit, rank, 0)
        largest = np.maximum.reduceat(steps, firsts)
        raised[candidates[rank <= np.repeat(largest, np.diff(np.r_[firsts, len(account)]))]] = True
        return raised


class _OpenAlarms:
    """The alarms that last, per ad."""

    def __init__(self, ads: int) -> None:
        self.since, self.onset = np.full(ads, -1), np.full(ads, -1)
        self.usual, self.usual_variance, self._decline = np.full(ads, np.nan), np.zeros(ads), np.zeros(ads)
        self._days, self._recovery = np.zeros(ads, np.int32), np.zeros(ads)
        self.recovered = np.zeros(ads, bool)

    def open(
        self, day: int, raised: Flags, onset: Indices, usual: FloatArray, decline: FloatArray, variance: FloatArray
    ) -> None:
        """Open the raised ones; an alarm that lasts already goes on with its first day."""
        new = raised & (self.since < 0)
        self.since[new] = day
        self.onset[new], self.usual[new], self.usual_variance[new] = onset[new], usual[new], variance[new]
        self._decline[new] = np.maximum(decline[new], _SMALLEST_DECLINE)
        self._days[raised] = 0
        self._recovery[raised] = 0
        self.recovered &= ~raised

    def follow(self, figures: DayFigures, level: FloatArray, threshold: float) -> None:
        """Count a usable day, and end the alarms of ads that are back at their usual rate or used to the new one."""
        counted = (self.since >= 0) & figures.usable
        expected = np.where(counted, figures.impressions * figures.factor * self.usual, 1.0)
        relative = np.where(counted, figures.clicks / (expected * figures.move), 1.0)
        variance = 1 / expected + figures.noise + figures.lasting + self.usual_variance
        limit = 3 * np.sqrt(variance)
        gain = self._decline * (np.clip(relative - 1, -limit, limit) + self._decline / 2) / variance
        self._recovery = np.where(counted, np.maximum(0.0, self._recovery + gain), self._recovery)
        self._days = self._days + counted
        self.recovered = self._recovery >= threshold
        self.close(self.recovered | (self._days >= NEW_USUAL_DAYS))
        self.recovered &= level < (1 - self._decline / 2) * self.usual

    def close(self, ads: Flags) -> None:
        """End the alarms of these ads."""
        self.since[ads], self.onset[ads], self._days[ads], self._recovery[ads] = -1, -1, 0, 0
