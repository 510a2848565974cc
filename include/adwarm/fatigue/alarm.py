"""Alarms of declining click-through rates, rare on ads that do not change.

**Model.** On day `t` an ad has `n` impressions and `c` clicks. Without a decline, `c` has mean `n * p * w * m` with
its usual rate `p`, the weekday's factor `w` and the account's move `m`; the rate relative to that, `x`, has variance
`1 / (n * p * w * m) + phi + var(m)`, where `phi` is the over-dispersion. With a decline since day `s` the mean of `x`
is `1 - d * r(t - s)`, with the ramp `r(j) = 1 - (1 + 0.6 * (j + 1)) ** -0.2` of the wear law and `d` one of .5, 1, 1.7.

**Noise with memory.** Days of real ads are alike: a part of the noise lasts, and the usual rate walks. So a sum of days
says less than independent days would. Evidence and baseline therefore use the long-run variance

    v = 1 / (n * p * w * m) + f * phi + 2 * var(m),   f = (variance of a mean of many days * days) / (that of a day)

where `f` is 1 plus twice the share of the noise that lasts, plus four days of the walk over the noise of a day, as the
account's prior has them. A tenth of the walk's variance is added to that of the baseline every day.

- `p` is estimated from all usable days since the last alarm or pause (a growing baseline of at least 10 days and 30
  clicks): the residuals `e = x - 1` have the variance `F = v + var(p)`, and the ramp leaves in them what the baseline
  has not followed.
- `m` is filtered from the other ads of the account (a first-order autoregression with the prior's sd); it is 1 for a
  single ad. Ads with evidence of a decline of their own weigh less. `w` starts at the prior and is updated by the
  account.
- `phi` starts at the account's noise, worth 4 degrees of freedom, and is updated by the ad's own residuals.
- All of these use days before `t` only, but `m` uses the other ads on day `t`.

**Evidence.** For each start `s`, `L(s, t)` is the product over days of `exp(d * z - d**2 * i / 2 + d**3 * k / 6)`,
with `z = -h * e / F` for the shift `h` that a decline leaves in `e`, `i` its variance and `k` .6 of the third moment
of a gamma-Poisson count, averaged over `d`. The evidence is the sum of `L(s, t)` over the starts of the last 32 days:
a Shiryaev-Roberts sum (Shin, Ramdas and Rinaldo, E-detectors, 2024). Residuals are limited to three sd of a day, so
that one bad day raises no alarm.

**What is promised.** At most one alarm in 180 ad-days on ads that do not change. That is measured and not proven: in
each world of `make bench NAME=fatigue-worlds`, among them ads with memory, heavy tails, gaps, a market of their own
and a walk. For independent days the sum is an e-detector, whose mean days to reach `A` are at least `A`; nothing of the
kind holds for days that depend on each other.

**Levels.** `watch`: evidence of at least `A = ALARM_EVIDENCE`. `alarm`: evidence of at least `max(A, 7 * N / max(B,
share * k))` for the `k` ads of the account with the most evidence, with the largest such `k`; `N` is the number of ads
with a baseline and a usable day, the largest of the last 32 days. This is the e-BH procedure (Wang and Ramdas, False
discovery rate control with e-values, 2022) with a budget of `B` false alarms: for independent days the mean of `V /
max(B, share * R)` per account and week is at most 1, where `R` ads alarm on a day and `V` of them falsely.

**After an alarm** a new baseline begins on the next day. The alarm lasts until the ad is back at its usual rate (a
CUSUM of the log-likelihood ratio of the usual rate against the reduced one reaches `log(ALARM_EVIDENCE)`), until 28
usable days have passed without new evidence (the lower rate is the usual one now), until a pause of seven days
without delivery, or until another creative or audience. Evidence that passes the limit while an alarm lasts prolongs
it and begins a new baseline, but raises no second one. Days that are not stored, and unknown clicks, change nothing;
an ad of which nothing is known for fourteen days begins anew, like after a pause.

**From month to month.** The scores of a month are one scan from a fixed number of days before it, so that they can be
computed from stored days alone. It begins two months before, with the priors of the month before, and goes on with
those of the month from its first day on (`EarlierPriors`). So baselines and alarms last over the first of a month.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.change_detector import LAGS, BlockPriors, ChangeDetector, DayFigures, Flags, Indices
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior
from adwarm.settings import FatigueSettings

ALARM_EVIDENCE: Final = 100.0
"""Evidence of what is watched; chosen on the worlds of the benchmark."""
FALSE_SHARE: Final = 0.1
"""Share of false alarms that is allowed instead when an account raises many on a day."""
BLOCK_ADS: Final = 1024
"""Ads that are scanned together; more when an account has more."""
NEW_USUAL_DAYS: Final = 28
"""Days with delivery after which an alarm ends because the lower rate is the usual one now."""
_SMALLEST_DECLINE: Final = 0.1
_Z_80: Final = 1.2816
"""Normal quantile of an 80 % interval."""


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
    alarm_since: npt.NDArray[np.int16]
    onset: npt.NDArray[np.int16]
    usual_ctr: npt.NDArray[np.float32]
    decline: npt.NDArray[np.float32]
    decline_low: npt.NDArray[np.float32]
    decline_high: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EarlierPriors:
    """What was usual in the accounts before the month that is scanned.

    Attributes:
        until: first column of the month.
        priors: those of the month before, by account id.
    """

    until: int
    priors: Mapping[str, AccountPrior]


def detect(
    panel: AdPanel, priors: Mapping[str, AccountPrior], settings: FatigueSettings, earlier: EarlierPriors | None = None
) -> AlarmTable:
    """Return the alarms of each ad on each day of the panel.

    Args:
        panel: daily figures of whole accounts.
        priors: by account id; an account without one has the default prior.
        settings: the limit of an account.
        earlier: for a scan of one month; the columns before the month are not meant to be used then.
    """
    table = _empty_table(*panel.impressions.shape)
    bounds = np.r_[panel.account_starts, len(panel.ad_ids)]
    first = 0
    while first < len(bounds) - 1:
        last = first + 1
        while last < len(bounds) - 1 and bounds[last + 1] - bounds[first] <= BLOCK_ADS:
            last += 1
        block = bounds[first : last + 1]
        scan = _BlockScan(panel, block, priors if earlier is None else earlier.priors, settings)
        if earlier is not None:
            scan.run(table, 0, earlier.until)
            scan.change_priors(priors)
        scan.run(table, 0 if earlier is None else earlier.until, panel.days)
        first = last
    return table


def _empty_table(ads: int, days: int) -> AlarmTable:
    shape = (ads, days)
    unknown = [np.full(shape, np.nan, np.float32) for _ in range(5)]
    evidence, usual, decline, low, high = unknown
    since, onset = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
    return AlarmTable(
        evidence=evidence,
        level=np.zeros(shape, np.int8),
        raised=np.zeros(shape, bool),
        alarm_since=since,
        onset=onset,
        usual_ctr=usual,
        decline=decline,
        decline_low=low,
        decline_high=high,
    )


class _BlockScan:
    """Scans the days of a block of whole accounts in order.

    Attributes:
        alarms: those that last.
    """

    def __init__(
        self, panel: AdPanel, bounds: Indices, priors: Mapping[str, AccountPrior], settings: FatigueSettings
    ) -> None:
        self._rows = slice(int(bounds[0]), int(bounds[-1]))
        ads = int(bounds[-1] - bounds[0])
        self._starts = bounds[:-1] - bounds[0]
        self._settings = settings
        self._account = np.repeat(np.arange(len(self._starts)), np.diff(bounds))
        self._account_ids = [panel.account_ids[start] for start in bounds[:-1]]
        self._detector = ChangeDetector(self._starts, ads, self._choose(priors))
        self._impressions = np.ascontiguousarray(panel.impressions[self._rows].T)
        self._clicks = np.ascontiguousarray(np.where(panel.is_stored[self._rows], panel.clicks[self._rows], np.nan).T)
        never = np.zeros(self._impressions.shape, bool)
        self._changed = never if panel.changed is None else panel.changed[self._rows].T
        self._weekday = panel.first_day.weekday()
        self._watched = np.zeros((LAGS, len(self._starts)))
        self.alarms = _OpenAlarms(ads)
        self._levels = np.full(self._impressions.shape, np.nan)

    def _choose(self, priors: Mapping[str, AccountPrior]) -> BlockPriors:
        accounts = [priors.get(account_id, DEFAULT_PRIOR) for account_id in self._account_ids]
        return BlockPriors(
            np.array([prior.noise_sd for prior in accounts]),
            np.array([prior.noise_factor for prior in accounts]),
            np.array([prior.walk_sd**2 for prior in accounts]),
            np.array([prior.ctr_weekdays for prior in accounts]),
            np.array([prior.market_sd for prior in accounts]),
        )

    def change_priors(self, priors: Mapping[str, AccountPrior]) -> None:
        """Go on with other priors; what the ads have shown by themselves stays."""
        self._detector.change_priors(self._choose(priors))

    def run(self, table: AlarmTable, first: int, last: int) -> None:
        """Fill the block's rows of the table in the columns from `first` up to `last`, `last` excluded."""
        for day in range(first, last):
            impressions, clicks = self._impressions[day], self._clicks[day]
            self._detector.restart(self._changed[day])
            self.alarms.close(self._changed[day])
            figures = self._detector.step(day, (self._weekday + day) % 7, impressions, clicks)
            self._levels[day] = self._detector.level
            self._day(day, figures, impressions, table)

    def _day(self, day: int, figures: DayFigures, impressions: FloatArray, table: AlarmTable) -> None:
        detector, alarms, rows = self._detector, self.alarms, self._rows
        evidence = detector.evidence
        table.evidence[rows, day] = np.where(detector.armed, evidence, np.nan)
        watch = np.flatnonzero(evidence >= ALARM_EVIDENCE)
        raised = self._raise(day, figures.usable & detector.armed)
        alarms.follow(figures, detector.level, math.log(ALARM_EVIDENCE))
        onset, decline, sd = np.full(len(raised), -1), np.full(len(raised), np.nan), np.full(len(raised), np.nan)
        usual = detector.level.copy()
        if len(watch):
            estimate = detector.estimate(day, watch)
            onset[watch], decline[watch], sd[watch] = day - estimate.age, estimate.mean, estimate.sd
            usual[watch] = self._levels[day - estimate.age - 1, watch]
            alarms.open(day, raised, onset, usual=usual, decline=decline, variance=detector.level_variance)
            detector.level[raised] = usual[raised] * (1 - decline[raised])
        detector.restart(raised | alarms.recovered)
        paused = detector.pause(impressions == 0, figures.usable, impressions > 0)
        alarms.close(paused)
        lasting = alarms.since >= 0
        quiet = ~lasting & ~(evidence >= ALARM_EVIDENCE)
        onset[quiet], decline[quiet], sd[quiet] = -1, np.nan, np.nan
        table.evidence[rows, day][quiet & (paused | alarms.recovered)] = np.nan
        after = lasting & ~raised & ~(evidence >= ALARM_EVIDENCE)
        decline = np.where(after, np.clip(1 - detector.level / alarms.usual, -1, 1), decline)
        sd = np.where(after, np.sqrt(detector.level_variance + alarms.usual_variance), sd)
        table.level[rows, day] = np.where(lasting, 2, evidence >= ALARM_EVIDENCE)
        table.raised[rows, day] = raised & (alarms.since == day)
        table.alarm_since[rows, day] = alarms.since
        table.onset[rows, day] = np.where(lasting, alarms.onset, onset)
        table.usual_ctr[rows, day] = np.where(lasting, alarms.usual, usual)
        table.decline[rows, day] = decline
        table.decline_low[rows, day] = decline - _Z_80 * sd
        table.decline_high[rows, day] = decline + _Z_80 * sd

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
