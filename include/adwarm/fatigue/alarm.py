"""Alarms of declining click-through rates, with a bounded rate of false ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.change_detector import LAGS, BlockPriors, ChangeDetector, DayFigures, Flags, Indices
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.settings import FatigueSettings

BLOCK_ADS: Final = 512
"""Ads that are scanned together, at least; more when an account has more."""
NEW_USUAL_DAYS: Final = 28
"""Days with delivery after which an alarm ends because the lower rate is the usual one now."""
SMALLEST_DECLINE: Final = 0.1
Z_80: Final = 1.2816


class CtrPrior(Protocol):
    """What the detector reads of an account's prior; see `adwarm.fatigue.prior`."""

    @property
    def noise_sd(self) -> float:
        """Daily log-sd of the click-through rate beyond counting."""

    @property
    def ctr_weekdays(self) -> tuple[float, ...]:
        """Factors from Monday to Sunday."""

    @property
    def market_sd(self) -> float:
        """Log-sd of the account's daily moves."""


@dataclass(frozen=True, slots=True)
class AlarmTable:
    """Alarms as arrays of ads x days; each column uses that day and those before it only.

    Attributes:
        evidence: value of the detector; nan while the baseline does not suffice.
        level: 0 none, 1 watch, 2 alarm.
        raised: whether an alarm is raised that day.
        alarm_since: column of the first day of the alarm while it lasts; -1 for none.
        onset: estimated column in which the decline started, while there is a watch or an alarm; -1 otherwise.
        usual_ctr: usual rate: of the time before the decline while an alarm lasts; nan before the first usable day.
        decline: estimated current loss as a share of the usual rate, while there is a watch or an alarm; nan otherwise.
        decline_low: lower end of its 80 % interval.
        decline_high: upper end of it.
    """

    evidence: npt.NDArray[np.float32]
    level: npt.NDArray[np.int8]
    raised: Flags
    alarm_since: npt.NDArray[np.int32]
    onset: npt.NDArray[np.int32]
    usual_ctr: npt.NDArray[np.float32]
    decline: npt.NDArray[np.float32]
    decline_low: npt.NDArray[np.float32]
    decline_high: npt.NDArray[np.float32]


def detect(panel: AdPanel, priors: Mapping[str, CtrPrior], settings: FatigueSettings) -> AlarmTable:
    """Return the alarms of each ad on each day of the panel.

    Args:
        panel: daily figures of whole accounts.
        priors: of each account, by account id.
        settings: the wanted mean days between false alarms, and the limit of an account.

    Raises:
        KeyError: an account has no prior.
    """
    table = _empty_table(*panel.impressions.shape)
    bounds = np.r_[panel.account_starts, len(panel.ad_ids)]
    first = 0
    while first < len(bounds) - 1:
        last = first + 1
        while last < len(bounds) - 1 and bounds[last + 1] - bounds[first] <= BLOCK_ADS:
            last += 1
        _BlockScan(panel, bounds[first : last + 1], priors, settings).run(table)
        first = last
    return table


def _empty_table(ads: int, days: int) -> AlarmTable:
    shape = (ads, days)
    unknown = [np.full(shape, np.nan, np.float32) for _ in range(5)]
    evidence, usual, decline, low, high = unknown
    since, onset = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
    return AlarmTable(
        evidence, np.zeros(shape, np.int8), np.zeros(shape, bool), since, onset, usual, decline, low, high
    )


class _BlockScan:
    """Scans the days of a block of whole accounts in order."""

    def __init__(
        self, panel: AdPanel, bounds: Indices, priors: Mapping[str, CtrPrior], settings: FatigueSettings
    ) -> None:
        self._rows = slice(int(bounds[0]), int(bounds[-1]))
        ads = int(bounds[-1] - bounds[0])
        self._starts = bounds[:-1] - bounds[0]
        self._settings = settings
        self._account = np.repeat(np.arange(len(self._starts)), np.diff(bounds))
        accounts = [priors[panel.account_ids[start]] for start in bounds[:-1]]
        self._detector = ChangeDetector(
            self._starts,
            ads,
            BlockPriors(
                np.array([prior.noise_sd for prior in accounts]),
                np.array([prior.ctr_weekdays for prior in accounts]),
                np.array([prior.market_sd for prior in accounts]),
            ),
        )
        self._impressions = np.ascontiguousarray(panel.impressions[self._rows].T)
        self._clicks = np.ascontiguousarray(np.where(panel.is_stored[self._rows], panel.clicks[self._rows], np.nan).T)
        self._weekday = panel.first_day.weekday()
        self._watched = np.zeros((LAGS, len(self._starts)))
        self._alarms = _OpenAlarms(ads)
        self._levels = np.full(self._impressions.shape, np.nan)

    def run(self, table: AlarmTable) -> None:
        """Fill the block's rows of the table."""
        for day, (impressions, clicks) in enumerate(zip(self._impressions, self._clicks, strict=True)):
            figures = self._detector.step(day, (self._weekday + day) % 7, impressions, clicks)
            self._levels[day] = self._detector.level
            self._day(day, figures, impressions, table)

    def _day(self, day: int, figures: DayFigures, impressions: FloatArray, table: AlarmTable) -> None:
        detector, alarms, rows = self._detector, self._alarms, self._rows
        evidence = detector.evidence
        table.evidence[rows, day] = np.where(detector.armed, evidence, np.nan)
        watch = np.flatnonzero(evidence >= self._settings.alarm_days)
        raised = self._raise(day, figures.usable & detector.armed)
        alarms.follow(figures, detector.level, math.log(self._settings.alarm_days))
        onset, decline, sd = np.full(len(raised), -1), np.full(len(raised), np.nan), np.full(len(raised), np.nan)
        usual = detector.level.copy()
        if len(watch):
            estimate = detector.estimate(day, watch)
            onset[watch], decline[watch], sd[watch] = day - estimate.age, estimate.mean, estimate.sd
            usual[watch] = self._levels[np.maximum(day - estimate.age - 1, 0), watch]
            alarms.open(day, raised, onset, usual, decline, detector.level_variance)
        detector.restart(raised | alarms.recovered)
        alarms.close(detector.pause(impressions == 0, impressions > 0))
        lasting = alarms.since >= 0
        after = lasting & ~raised & ~(evidence >= self._settings.alarm_days)
        decline = np.where(after, np.clip(1 - detector.level / alarms.usual, -1, 1), decline)
        sd = np.where(after, np.sqrt(detector.level_variance + alarms.usual_variance), sd)
        table.level[rows, day] = np.where(lasting, 2, evidence >= self._settings.alarm_days)
        table.raised[rows, day] = raised
        table.alarm_since[rows, day] = alarms.since
        table.onset[rows, day] = np.where(lasting, alarms.onset, onset)
        table.usual_ctr[rows, day] = np.where(lasting, alarms.usual, usual)
        table.decline[rows, day] = decline
        table.decline_low[rows, day] = decline - Z_80 * sd
        table.decline_high[rows, day] = decline + Z_80 * sd

    def _raise(self, day: int, watched: Flags) -> Flags:
        """Return the ads whose evidence passes the limit of their account."""
        settings = self._settings
        self._watched[day % LAGS] = np.add.reduceat(watched, self._starts, dtype=np.int64)
        evidence = self._detector.evidence
        raised = np.zeros(len(evidence), bool)
        candidates = np.flatnonzero(watched & (evidence >= settings.alarm_days))
        if not len(candidates):
            return raised
        account = self._account[candidates]
        order = np.lexsort((-evidence[candidates], account))
        candidates, account = candidates[order], account[order]
        firsts = np.flatnonzero(np.r_[True, account[1:] != account[:-1]])
        rank = np.arange(len(account)) - np.repeat(firsts, np.diff(np.r_[firsts, len(account)])) + 1
        ads = self._watched.max(axis=0)[account]
        limit = 7 * ads / np.maximum(settings.false_alarms_per_account_week, settings.alarm_false_share * rank)
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
        self._decline[new] = np.maximum(decline[new], SMALLEST_DECLINE)
        self._days[raised] = 0
        self._recovery[raised] = 0
        self.recovered &= ~raised

    def follow(self, figures: DayFigures, level: FloatArray, threshold: float) -> None:
        """Count a usable day, and end the alarms of ads that are back at their usual rate or used to the new one."""
        counted = (self.since >= 0) & figures.usable & (figures.expected > 0)
        expected = np.where(counted, figures.expected / level * self.usual, 1.0)
        relative = np.where(counted, figures.clicks / (expected * figures.move), 1.0)
        variance = 1 / expected + figures.noise + self.usual_variance
        limit = 3 * np.sqrt(variance)
        gain = self._decline * (np.clip(relative - 1, -limit, limit) + self._decline / 2) / variance
        self._recovery = np.where(counted, np.maximum(0.0, self._recovery + gain), self._recovery)
        self._days = self._days + counted
        self.recovered = (self.since >= 0) & (self._recovery >= threshold)
        self.close(self.recovered | (self._days >= NEW_USUAL_DAYS))
        self.recovered &= level < (1 - self._decline / 2) * self.usual

    def close(self, ads: Flags) -> None:
        """End the alarms of these ads."""
        self.since[ads], self.onset[ads], self._days[ads], self._recovery[ads] = -1, -1, 0, 0
