"""Compares classifiers by hits at equal calls, simulated over held-out days of the training data.

Log loss would choose badly here: on logs of irregular readers it prefers a model that ranks the many unlikely hours
well to one that finds the few that are worth a warm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.foundation.arrow_arrays import Floats, Ints

MULTIPLES = (1.25, 1.5, 2.0, 2.5, 3.0)
"""Calls, as multiples of those without warming, at which hits are compared."""
CALLS_PER_HIT = 50
"""The most calls that a first open served fresh is worth; nothing is warmed where a hit needs more warms."""
MIN_CHANCE = 1.0 / CALLS_PER_HIT
MIN_HITS_PER_CALL = 1.0 / 8
"""First opens gained per extra call when calls are doubled, below which the log counts as unpredictable."""
GROUPS = 20
"""Groups of keys and weekdays for the jackknife."""
_THRESHOLDS = 14
_TINY = 1e-6


def warm_value(chances: Floats, windows: Sequence[int], calibrated: Floats) -> Floats:
    """Return the value of a warm now, for ranking keys; 0 where a warm is never worth it.

    An open within the lifetime is what pays for a warm. But waiting costs nothing while no open is likely before the
    next decision, and a later warm stays fresh longer. So the value is low when either is unlikely: it is the harmonic
    mean of the chances, each scaled from its window to the lifetime.

    Args:
        chances: windows x pairs, the chance of a first open in each window; the last is the lifetime.
        calibrated: the calibrated chance within the lifetime.
    """
    scaled = (windows[-1] / size * np.maximum(part, _TINY) for size, part in zip(windows, chances, strict=True))
    mean = len(windows) / sum((1.0 / chance for chance in scaled), np.zeros(1))
    result: Floats = np.where(calibrated >= MIN_CHANCE, mean, 0.0)
    return result


@dataclass(frozen=True)
class BacktestResult:
    """The outcome of one backtest.

    Attributes:
        hit_share: share of first opens served fresh, averaged over `MULTIPLES`.
        jackknife_hit_shares: the same with each of `GROUPS` groups left out.
        hits_per_call: extra first opens served fresh per extra call, when calls are doubled.
    """

    hit_share: float
    jackknife_hit_shares: Floats
    hits_per_call: float

    @property
    def pays(self) -> bool:
        """Whether doubling the calls is worth it; if not, opens on this log cannot be predicted."""
        return self.hits_per_call >= MIN_HITS_PER_CALL

    def beats(self, other: "BacktestResult") -> bool:
        """Whether it is better by more than two standard errors of the difference (jackknife)."""
        gaps = self.jackknife_hit_shares - other.jackknife_hit_shares
        error = np.sqrt((GROUPS - 1) / GROUPS * np.square(gaps - gaps.mean()).sum())
        return bool(self.hit_share - other.hit_share > 2.0 * error)


@dataclass(frozen=True)
class Backtest:
    """Simulates warming over held-out time.

    Attributes:
        columns: the decisions, ascending and evenly spaced.
        lifetime: how long an entry is fresh, in slots.
    """

    grid: OpenGrid
    columns: Ints
    lifetime: int

    def hit_share(self, value: Floats) -> float:
        """Return the share of first opens served fresh; see `run`."""
        return self.run(value).hit_share

    def run(self, value: Floats) -> BacktestResult:
        """Return the outcome of warming by `value`, decisions x keys: the higher, the sooner a key is warmed."""
        calls, hits, firsts = self._simulate(value, _thresholds(value))
        weights = np.concatenate([np.ones((1, GROUPS)), 1.0 - np.eye(GROUPS)])
        samples = zip(weights @ calls.T, weights @ hits.T, weights @ firsts, strict=True)
        shares = np.stack([_shares_at_multiples(*sample) for sample in samples])
        means = shares[:, 1:].mean(axis=1)
        gained = (shares[0, 1 + MULTIPLES.index(2.0)] - shares[0, 0]) * firsts.sum()
        return BacktestResult(float(means[0]), means[1:], float(gained / max(calls[0].sum(), 1.0)))

    @cached_property
    def _members(self) -> Floats:
        """Weekdays x keys x groups: 1 for the group that a key's opens on such a day belong to."""
        group = (self.grid.account[None, :] * 3 + np.arange(7)[:, None]) % GROUPS
        return np.asarray(np.eye(GROUPS)[group])

    def _simulate(self, value: Floats, thresholds: Floats) -> tuple[Floats, Floats, Floats]:
        """Return calls and hits, thresholds x groups, and first opens per group."""
        grid, step = self.grid, int(self.columns[1] - self.columns[0]) if len(self.columns) > 1 else 1
        stale_from = np.zeros((len(thresholds), grid.key_count), np.int64)
        calls, hits, firsts = *np.zeros((2, len(thresholds), GROUPS)), np.zeros(GROUPS)
        for decision, start in zip(value, self.columns.tolist(), strict=True):
            member = self._members[start // SLOTS_PER_DAY % 7]
            warm = (decision[None, :] >= thresholds[:, None]) & (stale_from <= start)
            calls += warm @ member
            stale_from[warm] = start + self.lifetime
            for column in range(start, min(start + step, grid.column_count)):
                opened = np.flatnonzero(grid.opens[:, column + 1] > grid.opens[:, column])
                if not len(opened):
                    continue
                fresh = stale_from[:, opened] > column
                first = grid.firsts[opened, column + 1] > grid.firsts[opened, column]
                hits += (fresh & first) @ member[opened]
                firsts += first @ member[opened]
                calls += ~fresh @ member[opened]
                stale_from[:, opened] = np.where(fresh, stale_from[:, opened], column + self.lifetime)
        return calls, hits, firsts


def choose_best(results: Mapping[str, BacktestResult]) -> str:
    """Return the name of the result with most hits; the first one stays unless another beats it clearly.

    Held-out days are few, so the blend that is right for most logs needs evidence against it, not for it.
    """
    usual = next(iter(results))
    better = [name for name, result in results.items() if result.beats(results[usual])]
    return max(better, key=lambda name: results[name].hit_share, default=usual)


def _shares_at_multiples(calls: Floats, hits: Floats, firsts: float) -> Floats:
    """Return the share of first opens served fresh without warming, and at `MULTIPLES`."""
    multiple, share = calls / max(calls[0], 1.0), hits / max(firsts, 1.0)
    order = np.argsort(multiple, kind="stable")
    return np.concatenate([share[:1], np.interp(MULTIPLES, multiple[order], share[order])])


def _thresholds(value: Floats) -> Floats:
    positive = value[value > 0]
    if not len(positive):
        return np.array([np.inf])
    shares = np.geomspace(1e-4, 1.0, _THRESHOLDS)
    return np.concatenate([[np.inf], np.quantile(positive, 1.0 - shares)])
