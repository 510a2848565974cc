"""Alarms of declining click-through rates, rare on ads that do not change: a CUSUM of what each day is below the usual.

docs/explanation/fatigue-alarm.md has the model of a day, the limit of an account and the life of an alarm, with their
sources. Every operation is elementwise over ads or a sum over the ads of one account, so an ad's alarms do not depend
on the other accounts.

**What is promised**: at most one alarm in 180 ad-days on ads that do not change. That is measured and not proven, in
each world of `make bench NAME=fatigue-worlds`; docs/reference/measured.md has the table.

**From month to month.** The scores of a month are one scan from a fixed number of days before it, so that they can be
computed from stored days alone. It begins two months before, with the priors of the month before, and goes on with
those of the month from its first day on (`earlier`). So baselines and alarms last over the first of a month.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import AdPanel, BoolArray, FloatArray
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior
from adwarm.settings import FatigueSettings

ALARM_EVIDENCE: Final = 4.2
"""Sum of declines at which an ad is watched; chosen on the worlds of the benchmark."""
SLACK: Final = 0.5
"""Standard deviations below the usual rate that add nothing: the CUSUM is the best one for a decline of twice that."""
CLIP: Final = 3.0
"""Limit of a day in standard deviations, so that a single bad day cannot raise an alarm."""
LAG_DAYS: Final = 7
"""The baseline ends so many days before, so that a decline is not compared with itself."""
DECAY: Final = 0.985
"""Weight of a day in the baseline as a share of that of the day after, so that it follows a rate that drifts."""
BASELINE_DAYS: Final = 3
"""Usable days of a baseline before anything is compared with it, and the clicks since it began."""
MIN_CLICKS: Final = 30.0
OWN_DAYS: Final = 10.0
"""Days that the account's noise is worth beside an ad's own."""
LEAST_NOISE: Final = 0.05
"""Lowest noise of an ad as a share of the account's."""
MARKET_SD: Final = 0.03
"""Sd of an account's move of a day, as far as its other ads do not tell it."""
MEMORY: Final = 0.3
"""Correlation of neighboring days, and the pairs of them that this is worth beside the account's own."""
MEMORY_PAIRS: Final = 60.0
MOST_MEMORY: Final = 0.8
FALSE_SHARE: Final = 0.1
"""Share of false alarms that is allowed instead when an account raises many on a day."""
DAYS_TO_CHANCE: Final = 6.4
"""Chance lets the sum reach `h` once in about so many times exp(h) days: twice exp(1.166), by Siegmund."""
NEW_USUAL_DAYS: Final = 28
"""Days with delivery after which an alarm ends because the lower rate is the usual one now."""
PAUSE_DAYS: Final = 7
"""Days without delivery after which an ad begins anew."""
UNKNOWN_DAYS: Final = 14
"""Days in a row of which nothing is known, after which an ad begins anew as well."""
_SMALLEST_DECLINE: Final = 0.1
_LOWEST_MOVE: Final = 0.2
_GRID: Final = 2.0**20


@dataclass(frozen=True, slots=True)
class AlarmTable:
    """Alarms as arrays of ads x days; each column uses that day and those before it only.

    Attributes:
        evidence: sum of declines; nan while the baseline does not suffice.
        level: 0 none, 1 watch, 2 alarm.
        alarm_since: column of the first day of the alarm while it lasts; -1 for none.
        onset: estimated column in which the decline started, while there is a watch or an alarm; -1 otherwise.
    """

    evidence: npt.NDArray[np.float32]
    level: npt.NDArray[np.int8]
    alarm_since: npt.NDArray[np.int16]
    onset: npt.NDArray[np.int16]

    @property
    def raised(self) -> BoolArray:
        """Whether an alarm is raised that day."""
        raised: BoolArray = self.alarm_since == np.arange(self.alarm_since.shape[1])
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
    scan = _Scan(panel, settings)
    for day in range(panel.days):
        if day in {0, since}:
            scan.use(priors if earlier is None or day >= since else earlier)
        scan.scan(day, table)
    return table


@dataclass(frozen=True, slots=True)
class _Day:
    """What a day says about each ad.

    Attributes:
        usable: whether the ad delivered and its clicks are known.
        rate: its click-through rate without weekday and account's move; 0 where not usable.
        variance: relative to the square of the usual rate: counting, noise, error of the move, all with memory.
    """

    usable: BoolArray
    rate: FloatArray
    variance: FloatArray


class _Scan:
    """Scans the days of a panel in order; the state of an ad is a figure in each of some arrays."""

    def __init__(self, panel: AdPanel, settings: FatigueSettings) -> None:
        ads = len(panel.ad_ids)
        self._panel, self._budget = panel, settings.false_alarms_per_account_week
        self._starts = panel.account_starts
        self._account = np.repeat(np.arange(len(self._starts)), np.diff(np.r_[self._starts, ads]))
        self.evidence, self._last_zero = np.zeros(ads), np.full(ads, -1)
        self._clicks, self._shown, self._days, self._weight, self._weighted_rates = np.zeros((5, ads))
        self._recent = np.zeros((2, LAG_DAYS, ads))  # weight, and weight times rate, of the last days
        self._noise_sum, self._noise_days = np.zeros((2, ads))
        self._residual = np.full(ads, np.nan)
        self._products, self._squares = np.zeros((2, len(self._starts)))
        self._idle_days, self._unknown_days = np.zeros((2, ads), np.int32)
        self.alarms = _OpenAlarms(ads)

    def use(self, priors: Mapping[str, AccountPrior]) -> None:
        """Go on with other priors; what the ads have shown by themselves stays."""
        of_accounts = [priors.get(self._panel.account_ids[start], DEFAULT_PRIOR) for start in self._starts]
        self._noise = np.array([prior.noise_sd**2 for prior in of_accounts])[self._account]
        self._weekdays = np.array([prior.ctr_weekdays for prior in of_accounts])[self._account].T.copy()

    def scan(self, day: int, table: AlarmTable) -> None:
        """Take in a day, and fill its column of the table."""
        panel, alarms = self._panel, self.alarms
        if panel.changed is not None:
            self._restart(panel.changed[:, day])
            alarms.close(panel.changed[:, day])
        armed, figures = self._take_in(day)
        alarms.follow(figures)
        raised = self._raise(figures.usable & armed, armed)
        table.evidence[:, day] = np.where(armed, self.evidence, np.nan)
        onset = self._last_zero + 1
        if raised.any():
            size = (SLACK + self.evidence / np.maximum(day - self._last_zero, 1)) * np.sqrt(figures.variance)
            alarms.open(day, raised, onset, self._weighted_rates / np.maximum(self._weight, 1e-9), size)
        self._restart(raised | alarms.recovered)
        idle = panel.impressions[:, day] == 0
        self._idle_days = np.where(panel.impressions[:, day] > 0, 0, self._idle_days + idle)
        self._unknown_days = np.where(figures.usable | idle, 0, self._unknown_days + 1)
        paused = (self._idle_days >= PAUSE_DAYS) | (self._unknown_days >= UNKNOWN_DAYS)
        self._restart(paused)
        alarms.close(paused)
        lasting, is_watched = alarms.since >= 0, self.evidence >= ALARM_EVIDENCE
        table.level[:, day] = np.where(lasting, 2, is_watched)
        table.alarm_since[:, day] = alarms.since
        table.onset[:, day] = np.where(lasting, alarms.onset, np.where(is_watched, onset, -1))

    def _take_in(self, day: int) -> tuple[BoolArray, _Day]:
        """Add a day to what is known of the ads; return which have a baseline, and the day's figures."""
        panel, place = self._panel, day % LAG_DAYS
        impressions = panel.impressions[:, day]
        usable = (impressions > 0) & (panel.clicks[:, day] >= 0) & panel.is_stored[:, day]
        clicks = np.where(usable, panel.clicks[:, day], 0.0)
        shown = np.where(usable, impressions * self._weekdays[(panel.first_day.weekday() + day) % 7], 1.0)
        self._clicks += clicks
        self._shown += np.where(usable, shown, 0.0)
        self._days += self._recent[0, place] > 0
        self._weight = DECAY * self._weight + self._recent[0, place]
        self._weighted_rates = DECAY * self._weighted_rates + self._recent[1, place]
        armed: BoolArray = (self._days >= BASELINE_DAYS) & (self._clicks >= MIN_CLICKS)
        ready = usable & armed
        counting = (self._shown + 100) / (self._clicks + 1) / shown  # one over the expected clicks
        noise = (self._noise_sum + OWN_DAYS * self._noise) / (self._noise_days + OWN_DAYS)
        own = np.maximum(noise, LEAST_NOISE * self._noise) + counting
        base = np.where(armed, 1 / np.maximum(self._weight, 1e-9), 0.0)
        usual = np.where(armed, self._weight / np.maximum(self._weighted_rates, 1e-12), 1.0)  # one over it
        move, move_variance = self._measure_move(ready, clicks / shown * usual, own + base)
        rate = np.where(usable, clicks / shown / move, 0.0)
        relative = np.where(ready, rate * usual, 1.0)
        variance = own + move_variance
        learning = ready & (self.alarms.since < 0)  # an alarm's new baseline is young, and the rate may come back
        memory = self._follow(day, ready, learning, relative, variance + base)
        squared = np.minimum((relative - 1) ** 2, CLIP**2 * own)
        self._noise_sum += np.where(learning, squared - counting, 0.0)
        self._noise_days += learning
        weight = np.where(usable, 1 / own, 0.0)
        self._recent[:, place] = weight, weight * rate
        return armed, _Day(usable, rate, variance * memory)

    def _measure_move(
        self, ready: BoolArray, relative: FloatArray, variance: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the account's move of the day, 1 for none, by the other ads of each ad; and its variance."""
        weight = np.where(ready, 1 / variance, 0.0)
        limit = CLIP * np.sqrt(variance)
        weighted = weight * np.clip(relative - 1, -limit, limit)
        others = np.maximum(self._account_sum(weight)[self._account] - weight, 0.0) + MARKET_SD**-2
        move = 1 + (self._account_sum(weighted)[self._account] - weighted) / others
        return np.maximum(move, _LOWEST_MOVE), 1 / others

    def _follow(
        self, day: int, ready: BoolArray, learning: BoolArray, relative: FloatArray, variance: FloatArray
    ) -> FloatArray:
        """Add the day to the sums of declines; return by what memory multiplies the variance of a sum of days."""
        # Anscombe's residual: a power of 2/3 takes the skewness from counts.
        residual = 1.5 / np.sqrt(variance) * (np.cbrt(relative) ** 2 - 1 + variance / 9)
        residual = np.where(ready, np.clip(residual, -CLIP, CLIP), np.nan)
        correlation = np.clip(
            (self._products + MEMORY * MEMORY_PAIRS) / (self._squares + MEMORY_PAIRS), 0.0, MOST_MEMORY
        )
        memory: FloatArray = ((1 + correlation) / (1 - correlation))[self._account]
        declined = np.where(ready, -residual / np.sqrt(memory) - SLACK, 0.0)
        self.evidence = np.maximum(0.0, self.evidence + declined)
        self._last_zero = np.where(self.evidence == 0, day, self._last_zero)
        both = np.isfinite(self._residual) & learning
        now, before = np.where(both, residual, 0.0), np.where(both, self._residual, 0.0)
        self._products += self._account_sum(now * before)
        self._squares += self._account_sum((now**2 + before**2) / 2)
        self._residual = residual
        return memory

    def _account_sum(self, values: FloatArray) -> FloatArray:
        """Return the sum by account; in fixed point, so that the order of the ads does not matter."""
        sums: FloatArray = np.add.reduceat(np.rint(values * _GRID), self._starts) / _GRID
        return sums

    def _restart(self, ads: BoolArray) -> None:
        """Forget the baseline of these ads; the next one begins with the next day."""
        if ads.any():
            for values in (self.evidence, self._clicks, self._shown, self._days, self._weight, self._weighted_rates):
                values[ads] = 0
            self._recent[:, :, ads] = 0
            self._residual[ads] = np.nan

    def _raise(self, ready: BoolArray, armed: BoolArray) -> BoolArray:
        """Return the ads whose evidence passes the limit of their account."""
        raised = np.zeros(len(ready), bool)
        candidates = np.flatnonzero(ready & (self.evidence >= ALARM_EVIDENCE))
        if not len(candidates):
            return raised
        account = self._account[candidates]
        order = np.lexsort((-self.evidence[candidates], account))
        candidates, account = candidates[order], account[order]
        firsts = np.flatnonzero(np.r_[True, account[1:] != account[:-1]])
        counts = np.diff(np.r_[firsts, len(account)])
        rank = np.arange(len(account)) - np.repeat(firsts, counts) + 1
        ads = np.add.reduceat(armed, self._starts, dtype=np.int64)[account]
        limit = np.log(7 * ads / DAYS_TO_CHANCE / np.maximum(self._budget, FALSE_SHARE * rank))
        largest = np.maximum.reduceat(np.where(self.evidence[candidates] >= limit, rank, 0), firsts)
        raised[candidates[rank <= np.repeat(largest, counts)]] = True
        return raised


class _OpenAlarms:
    """The alarms that last, per ad."""

    def __init__(self, ads: int) -> None:
        self.since, self.onset = np.full((2, ads), -1)
        self._usual, self._decline, self._recovery, self._days = np.zeros((4, ads))
        self.recovered = np.zeros(ads, bool)

    def open(
        self, day: int, raised: BoolArray, onset: npt.NDArray[np.intp], usual: FloatArray, size: FloatArray
    ) -> None:
        """Open the raised ones; an alarm that lasts already goes on with its first day."""
        new = raised & (self.since < 0)
        self.since[new], self.onset[new], self._usual[new] = day, onset[new], usual[new]
        self._decline[new] = np.maximum(size[new], _SMALLEST_DECLINE)
        self._days[raised] = self._recovery[raised] = 0

    def follow(self, figures: _Day) -> None:
        """Count a usable day, and end the alarms of ads that are back at their usual rate or used to the new one."""
        counted = (self.since >= 0) & figures.usable
        limit = CLIP * np.sqrt(figures.variance)
        relative = figures.rate / np.where(counted, self._usual, 1.0)
        above = np.clip(relative - 1, -limit, limit) + self._decline / 2
        gain = np.where(counted, self._decline * above / figures.variance, 0.0)
        self._recovery = np.maximum(0.0, self._recovery + gain)
        self._days += counted
        self.recovered = (self.since >= 0) & (self._recovery >= ALARM_EVIDENCE)
        self.close(self.recovered | (self._days >= NEW_USUAL_DAYS))

    def close(self, ads: BoolArray) -> None:
        """End the alarms of these ads."""
        self.since[ads] = self.onset[ads] = -1
        self._days[ads] = self._recovery[ads] = 0
