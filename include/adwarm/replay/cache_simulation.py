"""A cache that is simulated for many thresholds at once: one column per threshold, the same opens and rankings.

For each column: a warm is skipped while the entry is fresh; an open is a hit when a fresh entry has landed; a miss
fetches, and the entry is there when the fetch has landed; an open during a fetch waits for it, makes no call of its own
(single flight), and counts as a miss. A warm counts as used at the first hit of its entry.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Bools, Floats, Ints, Ints32
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import FOREVER, DecisionTimes, EntryLifetime, Ranking, ReplayTiming

MINUTE = 60_000_000
DAY = 86_400_000_000
WEEK = 7 * DAY
AGE_BINS = 14 * 24 * 60 + 1
"""Ages at an open are counted in minutes, up to two weeks."""


@dataclass(frozen=True, slots=True)
class EvaluationPeriod:
    """A part of the log in which decisions are taken, `[start, end)`, microseconds since 1970.

    Attributes:
        refit_every: time between two fits of the policy, microseconds.
    """

    start: int
    end: int
    refit_every: int = WEEK

    def iter_days(self, timing: ReplayTiming) -> Iterator[tuple[bool, DecisionTimes]]:
        """Yield the decisions day by day, and whether the policy is fitted before them."""
        at = np.arange(self.start, self.end, timing.step, dtype=np.int64)
        day = (at - self.start) // DAY
        last_fit = -1
        for number in np.unique(day).tolist():
            decided_at = at[day == number]
            fit = (int(decided_at[0]) - self.start) // self.refit_every
            yield fit != last_fit, DecisionTimes(decided_at, decided_at - timing.lag, timing)
            last_fit = fit


@dataclass(frozen=True, slots=True)
class FetchDelays:
    """Microseconds from a warm's start until its entry has landed, and the same for the fetch of a miss."""

    warm: int
    miss: int


@dataclass(frozen=True, slots=True)
class RecordedFetches:
    """Fetches of one step: threshold column, key and moment of each; all warms, or all the misses of one open."""

    column: Ints
    key: Ints
    at: Ints
    is_warm: bool
    confidence: Floats


@dataclass
class SimulationCounts:
    """The counts of a simulation. Arrays are cells x columns; a cell is an account in a week, the bootstrap's unit.

    Attributes:
        opens: per cell.
        first_opens: per cell.
        hits: opens served fresh.
        first_hits: first opens served fresh.
        warms: fetches ahead of an open.
        used: warms whose entry served an open.
        misses: fetches at an open.
        wait_micros: per column, microseconds that opens waited for a fetch in progress.
        joined_opens: per column, opens that waited so.
        ages: columns x minutes, the age of the entry at each hit.
        weeks: cells per account; they are adjacent.
        fetches: those of the recorded columns.
    """

    opens: Ints32
    first_opens: Ints32
    hits: Ints32
    first_hits: Ints32
    warms: Ints32
    used: Ints32
    misses: Ints32
    wait_micros: Floats
    joined_opens: Ints
    ages: Ints32
    weeks: int = 1
    fetches: list[RecordedFetches] = field(default_factory=list)

    @classmethod
    def empty(cls, accounts: int, weeks: int, columns: int) -> "SimulationCounts":
        """Return counts of 0."""
        cells = accounts * weeks
        opens, first_opens = np.zeros((2, cells), np.int32)
        hits, first_hits, warms, used, misses = np.zeros((5, cells, columns), np.int32)
        ages = np.zeros((columns, AGE_BINS), np.int32)
        wait_micros, joined_opens = np.zeros(columns), np.zeros(columns, np.int64)
        return cls(
            opens=opens,
            first_opens=first_opens,
            hits=hits,
            first_hits=first_hits,
            warms=warms,
            used=used,
            misses=misses,
            wait_micros=wait_micros,
            joined_opens=joined_opens,
            ages=ages,
            weeks=weeks,
        )

    def calls(self) -> Ints32:
        """Return the upstream calls, cells x columns, if each fetched key is one call."""
        return np.asarray(self.warms + self.misses, np.int32)


RequestCounter = Callable[[SimulationCounts, EvaluationPeriod], Ints32]


@dataclass(frozen=True)
class SimulationInputs:
    """What a simulation works with.

    Attributes:
        count_requests: counts the requests of the recorded fetches, cells x columns; None: each fetched key is a call.
    """

    opens: Opens
    timing: ReplayTiming
    lifetime: EntryLifetime
    delays: FetchDelays
    count_requests: RequestCounter | None = None

    def calls(self, counts: SimulationCounts, period: EvaluationPeriod) -> Ints32:
        """Return the upstream calls, cells x columns."""
        return counts.calls() if self.count_requests is None else self.count_requests(counts, period)


class CacheSimulation:
    """The caches of all thresholds.

    Args:
        inputs: only the keys of its opens are used here. With `count_requests`, misses are recorded like warms.
        period: weeks are counted from its start.
        thresholds: one column each; infinity warms nothing.
        record: columns whose fetches are recorded.
    """

    def __init__(self, inputs: SimulationInputs, period: EvaluationPeriod, thresholds: Floats, record: Ints) -> None:
        opens = inputs.opens
        self._thresholds, self._lifetime, self._delays = thresholds, inputs.lifetime, inputs.delays
        self._start, self._weeks = period.start, int(-(-(period.end - period.start) // WEEK))
        self._account = opens.account
        self._record, self._record_misses = record, inputs.count_requests is not None
        shape = (opens.key_count, len(thresholds))
        self._landed_at = np.full(shape, -FOREVER, np.int64)
        self._fresh_until = np.full(shape, -FOREVER, np.int64)
        self._due = np.full(shape, FOREVER, np.int64)
        self._unused = np.zeros(shape, np.bool_)
        self._pending = np.zeros(opens.key_count, np.bool_)
        self._confidence = np.zeros(opens.key_count)
        accounts = int(opens.account.max()) + 1 if opens.key_count else 0
        self.counts = SimulationCounts.empty(accounts, self._weeks, len(thresholds))

    def decide(self, at: int, until: int, ranking: Ranking) -> None:
        """Apply the ranking of the decision at `at`; the next decision is at `until`. Microseconds since 1970."""
        self._start_due_warms(np.flatnonzero(self._pending), at)
        reached = ranking.warm_value >= self._thresholds[np.isfinite(self._thresholds)].min(initial=np.inf)
        key = ranking.key[reached].astype(np.int64)
        if not len(key):
            return
        value = ranking.warm_value[reached]
        self._confidence[key] = value if ranking.probability is None else ranking.probability[reached]
        begin: Ints = np.full(len(key), at, np.int64)
        if ranking.warm_at is not None:
            begin = np.clip(ranking.warm_at[reached], at, until - 1)
        fresh = self._fresh_until[key]
        starts = np.broadcast_to(begin[:, None], fresh.shape)
        if ranking.renew_at_expiry:
            starts = np.where((fresh > starts) & (fresh < until), fresh, starts)
        chosen = (value[:, None] >= self._thresholds[None, :]) & (fresh <= starts)
        self._due[key] = np.where(chosen, starts, FOREVER)
        self._pending[key] = chosen.any(axis=1)
        self._start_due_warms(key[self._pending[key]], at)

    def open(self, at: int, key: int, first: bool) -> None:
        """Simulate an open of `key` at `at`."""
        if self._pending[key]:
            self._start_due_warms(np.array([key]), at)
        counts, cell = self.counts, self._cell(key, at)
        fresh, landed, unused = self._fresh_until[key], self._landed_at[key], self._unused[key]
        is_fresh = fresh > at
        hit = is_fresh & (landed <= at)
        counts.opens[cell] += 1
        counts.hits[cell] += hit
        if first:
            counts.first_opens[cell] += 1
            counts.first_hits[cell] += hit
        used = hit & unused
        counts.used[cell] += used
        unused ^= used
        self._count_ages(at, landed, hit)
        if hit.all():
            return
        joined = is_fresh ^ hit
        counts.joined_opens += joined
        counts.wait_micros += np.where(joined, landed - at, 0)
        missed = ~is_fresh
        counts.misses[cell] += missed
        landed[missed] = at + self._delays.miss
        fresh[missed] = self._lifetime.fresh_until(np.array(key), np.array(at + self._delays.miss))
        unused[missed] = False
        if self._record_misses:
            self._record_fetches(missed[None, :], np.array([key]), np.full((1, len(missed)), at), warm=False)

    def get_fresh_until(self, key: Ints, column: int) -> Ints:
        """Return until when the entries of keys are fresh in one cache, microseconds; below 0 without an entry."""
        return np.asarray(self._fresh_until[key, column])

    def _start_due_warms(self, key: Ints, at: int) -> None:
        """Start the warms of the keys `key` that are due by `at`."""
        if not len(key):
            return
        due = self._due[key]
        is_due = due <= at
        started = is_due & (self._fresh_until[key] <= due)
        if started.any():
            self._start_warms(key, started, due, at)
        due[is_due] = FOREVER
        self._due[key] = due
        self._pending[key] = (due < FOREVER).any(axis=1)

    def _start_warms(self, key: Ints, started: Bools, due: Ints, at: int) -> None:
        rows = np.flatnonzero(started.any(axis=1))
        key, started, due = key[rows], started[rows], due[rows]
        landed = due + self._delays.warm
        self._landed_at[key] = np.where(started, landed, self._landed_at[key])
        until = self._lifetime.fresh_until(key[:, None], np.where(started, landed, at))
        self._fresh_until[key] = np.where(started, until, self._fresh_until[key])
        self._unused[key] |= started
        moment = np.where(started, due, 0).max(axis=1)
        cell = self._account[key] * self._weeks + np.minimum((moment - self._start) // WEEK, self._weeks - 1)
        np.add.at(self.counts.warms, cell, started)
        self._record_fetches(started, key, due, warm=True)

    def _record_fetches(self, selected: Bools, key: Ints, moment: Ints, *, warm: bool) -> None:
        row, column = np.nonzero(selected[:, self._record])
        if len(row):
            column = self._record[column]
            at = moment[row, column]
            self.counts.fetches.append(RecordedFetches(column, key[row], at, warm, self._confidence[key[row]]))

    def _cell(self, key: int, at: int) -> int:
        return int(self._account[key]) * self._weeks + min((at - self._start) // WEEK, self._weeks - 1)

    def _count_ages(self, at: int, landed: Ints, hit: Bools) -> None:
        columns = np.flatnonzero(hit)
        minutes = np.minimum((at - landed[columns]) // MINUTE, AGE_BINS - 1)
        self.counts.ages[columns, minutes] += 1


def age_quantile(ages: npt.NDArray[Any], quantile: float) -> float | None:
    """Return the age in minutes that the share `quantile` of the hits does not exceed; None without hits."""
    total = int(ages.sum())
    if not total:
        return None
    return float(np.searchsorted(np.cumsum(ages), quantile * total))
