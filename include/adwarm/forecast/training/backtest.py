"""Evaluates forecasts by hits at equal calls, simulated over held-out days.

Log loss would choose badly here: on logs of irregular readers it prefers a forecast that ranks the many unlikely hours
well to one that finds the few that are worth a warm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adwarm.forecast.features.grid import OpenGrid
from adwarm.foundation.arrow_arrays import Floats, Ints

MULTIPLES = (1.25, 1.5, 2.0, 2.5, 3.0)
"""Calls, as multiples of those without warming, at which hits are compared."""
CALLS_PER_HIT = 50
"""The most calls that a first open served fresh is worth; nothing is warmed where a hit needs more warms."""
MIN_CHANCE = 1.0 / CALLS_PER_HIT
MIN_HITS_PER_CALL = 1.0 / 8
"""First opens gained per extra call when calls are doubled, below which the log counts as unpredictable."""
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
        """Return the share of first opens served fresh, averaged over `MULTIPLES`, when keys are warmed by `value`.

        Args:
            value: decisions x keys: the higher, the sooner a key is warmed.
        """
        return float(np.mean(list(self._interpolate(value)[1].values())))

    def pays(self, value: Floats) -> bool:
        """Whether doubling the calls by `value` is worth it; if not, opens on this log cannot be predicted."""
        return self._interpolate(value)[0] >= MIN_HITS_PER_CALL

    def _interpolate(self, value: Floats) -> tuple[float, dict[float, float]]:
        """Return the first opens gained per extra call when calls are doubled, and the share of hits by multiple."""
        calls, hits, firsts = self._simulate(value, _thresholds(value))
        multiple, share = calls / max(calls[0], 1), hits / max(firsts, 1)
        order = np.argsort(multiple, kind="stable")
        shares = dict(zip(MULTIPLES, np.interp(MULTIPLES, multiple[order], share[order]).tolist(), strict=True))
        return float((shares[2.0] - share[0]) * firsts / max(calls[0], 1)), shares

    def _simulate(self, value: Floats, thresholds: Floats) -> tuple[Ints, Ints, int]:
        """Return calls and hits per threshold, and the first opens."""
        grid, step = self.grid, int(self.columns[1] - self.columns[0]) if len(self.columns) > 1 else 1
        stale_from = np.zeros((len(thresholds), grid.key_count), np.int64)
        calls, hits, firsts = *np.zeros((2, len(thresholds)), np.int64), 0
        opened_keys = grid.opens.row[np.argsort(grid.opens.column, kind="stable")]
        bounds = np.searchsorted(np.sort(grid.opens.column), np.arange(grid.column_count + 1))
        for decision, start in zip(value, self.columns.tolist(), strict=True):
            warm = (decision[None, :] >= thresholds[:, None]) & (stale_from <= start)
            calls += warm.sum(axis=1)
            stale_from[warm] = start + self.lifetime
            for column in range(start, min(start + step, grid.column_count)):
                opened = opened_keys[bounds[column] : bounds[column + 1]]
                if not len(opened):
                    continue
                fresh = stale_from[:, opened] > column
                first = grid.firsts[opened, column + 1] > grid.firsts[opened, column]
                hits += (fresh & first).sum(axis=1)
                firsts += int(first.sum())
                calls += (~fresh).sum(axis=1)
                stale_from[:, opened] = np.where(fresh, stale_from[:, opened], column + self.lifetime)
        return calls, hits, firsts


def _thresholds(value: Floats) -> Floats:
    positive = value[value > 0]
    if not len(positive):
        return np.array([np.inf])
    shares = np.geomspace(1e-4, 1.0, _THRESHOLDS)
    return np.concatenate([[np.inf], np.quantile(positive, 1.0 - shares)])
