"""A cache that is played many times at once: one column per threshold, the same opens and the same scores.

What holds for each column: a warm is skipped while the entry is fresh; an open is a hit when a fresh entry has landed;
a miss fetches, and the entry is there when the fetch has landed; an open while a fetch is on its way waits for it and
makes no call of its own (single flight), and counts as a miss. A warm counts as used at the first hit of its entry.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Ints, Ints32
from adwarm.patterns.opens import Opens
from adwarm.replay.entry_lifetimes import FOREVER, EntryLifetime
from adwarm.replay.policy import Ranking

MINUTE = 60_000_000
WEEK = 7 * 86_400_000_000
AGE_BINS = 14 * 24 * 60 + 1
"""Ages at an open are counted in minutes, up to two weeks."""


@dataclass(frozen=True, slots=True)
class FetchDelays:
    """In microseconds: from a warm's start until its entry has landed, and the same for the fetch of a miss."""

    warm: int
    miss: int


@dataclass(frozen=True, slots=True)
class RecordedFetches:
    """Fetches that belong together: which columns, keys and moments; warms, or the miss of one open."""

    column: Ints
    key: Ints
    at: Ints
    is_warm: bool
    confidence: npt.NDArray[np.float64]


@dataclass
class SimulationCounts:
    """What was counted. Arrays are cells x columns; a cell is an account in a week, the unit of the bootstrap.

    Attributes:
        opens: per cell.
        first: per cell, first opens.
        hits: opens served fresh.
        first_hits: first opens served fresh.
        warms: fetches ahead of an open.
        used: warms whose entry served an open.
        misses: fetches at an open.
        waited: per column, microseconds that opens waited for a fetch on its way.
        joined: per column, opens that waited so.
        ages: columns x minutes, the age of the entry at each hit.
        weeks: cells of one account; they lie side by side.
        fetches: those of the recorded columns, in batches.
    """

    opens: Ints32
    first_opens: Ints32
    hits: Ints32
    first_hits: Ints32
    warms: Ints32
    used: Ints32
    misses: Ints32
    wait_micros: npt.NDArray[np.float64]
    joined_opens: Ints
    ages: Ints32
    weeks: int = 1
    fetches: list[RecordedFetches] = field(default_factory=list)

    @classmethod
    def empty(cls, accounts: int, weeks: int, columns: int) -> "SimulationCounts":
        """Return one that has counted nothing."""
        cells = accounts * weeks
        opens, first = np.zeros((2, cells), np.int32)
        hits, first_hits, warms, used, misses = np.zeros((5, cells, columns), np.int32)
        ages = np.zeros((columns, AGE_BINS), np.int32)
        waited, joined = np.zeros(columns), np.zeros(columns, np.int64)
        return cls(opens, first, hits, first_hits, warms, used, misses, waited, joined, ages, weeks)

    def calls(self) -> Ints32:
        """Return the upstream calls, cells x columns."""
        return np.asarray(self.warms + self.misses, np.int32)


class CacheSimulation:
    """The caches of all thresholds.

    Args:
        opens: the log; only its keys are looked at here.
        thresholds: one column each; infinity warms nothing.
        life: how long entries are fresh.
        delays: how long fetches take.
        start: begin of the play, microseconds; weeks are counted from it.
        end: its end.
        record: columns whose fetches are kept one by one.
        record_misses: whether fetches at an open are kept too.
    """

    def __init__(
        self,
        opens: Opens,
        thresholds: npt.NDArray[np.float64],
        lifetime: EntryLifetime,
        delays: FetchDelays,
        start: int,
        end: int,
        record: Ints,
        *,
        record_misses: bool = False,
    ) -> None:
        self._thresholds, self._lifetime, self._delays, self._start = thresholds, lifetime, delays, start
        self._weeks = int(-(-(end - start) // WEEK))
        self._account = opens.account
        self._record, self._record_misses = record, record_misses
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
        """Take the decision at `at`; the next one is at `until`."""
        self._start_due_warms(np.flatnonzero(self._pending), at)
        wanted = ranking.warm_value >= self._thresholds[np.isfinite(self._thresholds)].min(initial=np.inf)
        key = ranking.key[wanted].astype(np.int64)
        if not len(key):
            return
        score = ranking.warm_value[wanted]
        self._confidence[key] = score if ranking.probability is None else ranking.probability[wanted]
        begin: Ints = np.full(len(key), at, np.int64)
        if ranking.warm_at is not None:
            begin = np.clip(ranking.warm_at[wanted], at, until - 1)
        fresh = self._fresh_until[key]
        starts = np.broadcast_to(begin[:, None], fresh.shape)
        if ranking.renew_at_expiry:
            starts = np.where((fresh > starts) & (fresh < until), fresh, starts)
        chosen = (score[:, None] >= self._thresholds[None, :]) & (fresh <= starts)
        self._due[key] = np.where(chosen, starts, FOREVER)
        self._pending[key] = chosen.any(axis=1)
        self._start_due_warms(key[self._pending[key]], at)

    def open(self, at: int, key: int, first: bool) -> None:
        """Let somebody open `key`."""
        if self._pending[key]:
            self._start_due_warms(np.array([key]), at)
        tally, cell = self.counts, self._cell(key, at)
        fresh, land, unused = self._fresh_until[key], self._landed_at[key], self._unused[key]
        alive = fresh > at
        hit = alive & (land <= at)
        tally.opens[cell] += 1
        tally.hits[cell] += hit
        if first:
            tally.first_opens[cell] += 1
            tally.first_hits[cell] += hit
        used = hit & unused
        tally.used[cell] += used
        unused ^= used
        self._count_ages(at, land, hit)
        if hit.all():
            return
        joined = alive ^ hit
        tally.joined_opens += joined
        tally.wait_micros += np.where(joined, land - at, 0)
        missed = ~alive
        tally.misses[cell] += missed
        land[missed] = at + self._delays.miss
        fresh[missed] = self._lifetime.fresh_until(np.array(key), np.array(at + self._delays.miss))
        unused[missed] = False
        if self._record_misses:
            self._record_fetches(missed[None, :], np.array([key]), np.full((1, len(missed)), at), warm=False)

    def _start_due_warms(self, key: Ints, at: int) -> None:
        """Start the warms of `key` that are due by `at`."""
        if not len(key):
            return
        due = self._due[key]
        now = due <= at
        started = now & (self._fresh_until[key] <= due)
        if started.any():
            self._start_warms(key, started, due, at)
        due[now] = FOREVER
        self._due[key] = due
        self._pending[key] = (due < FOREVER).any(axis=1)

    def _start_warms(self, key: Ints, started: npt.NDArray[np.bool_], due: Ints, at: int) -> None:
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

    def _record_fetches(self, chosen: npt.NDArray[np.bool_], key: Ints, moment: Ints, *, warm: bool) -> None:
        row, column = np.nonzero(chosen[:, self._record])
        if len(row):
            column = self._record[column]
            at = moment[row, column]
            self.counts.fetches.append(RecordedFetches(column, key[row], at, warm, self._confidence[key[row]]))

    def _cell(self, key: int, at: int) -> int:
        return int(self._account[key]) * self._weeks + min((at - self._start) // WEEK, self._weeks - 1)

    def _count_ages(self, at: int, land: Ints, hit: npt.NDArray[np.bool_]) -> None:
        columns = np.flatnonzero(hit)
        minutes = np.minimum((at - land[columns]) // MINUTE, AGE_BINS - 1)
        self.counts.ages[columns, minutes] += 1


def age_quantile(ages: npt.NDArray[Any], quantile: float) -> float | None:
    """Return the age in minutes that `share` of the hits do not exceed; None without hits."""
    total = int(ages.sum())
    if not total:
        return None
    return float(np.searchsorted(np.cumsum(ages), quantile * total))
