"""Chooses between candidates by what counts: hits for the same calls, played over held-back weeks of training.

Log loss is a poor judge here: on logs of irregular people it prefers a model that sorts the many hopeless hours well to
one that finds the few that are worth a warm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from adwarm.forecast.grid import OpenGrid

Name = TypeVar("Name", str, float)
Floats = npt.NDArray[np.float64]
MULTIPLES = (1.25, 1.5, 2.0, 2.5, 3.0)
"""Calls, as multiples of those of no warming, at which hits are compared."""
FLOOR = 0.01
"""Chance of an open within the life below which nothing is warmed at any price: 100 calls for a hit."""
URGENCIES = (0.25, 0.0, 0.5)
"""What competes for the weight of the coming minutes against the whole life; the first when nothing is known."""
_THRESHOLDS = 14
_CLEARLY = 0.002
_TINY = 1e-6


def worth(soon: Floats, life: Floats, chance: Floats, urgency: float) -> Floats:
    """Return how much a warm now is worth, for ranking; 0 where it never is.

    An open within the life is what pays for a warm. But waiting costs nothing while none is likely before the next
    decision, and a later warm lasts longer. How much each weighs depends on how well the log can be foreseen.

    Args:
        soon: chance of a first open before the next decision, times the decisions in a life, so that it compares.
        life: chance of one within the life of an entry fetched now.
        chance: the same, calibrated.
        urgency: weight of `soon`, 0 to 1, in the weighted geometric mean of both.
    """
    both = np.maximum(soon, _TINY) ** urgency * np.maximum(life, _TINY) ** (1.0 - urgency)
    result: Floats = np.where(chance >= FLOOR, both, 0.0)
    return result


@dataclass(frozen=True)
class Course:
    """Held-back time to play: decisions at `columns`, entries fresh for `life` columns.

    Attributes:
        grid: what was opened.
        columns: the decisions, ascending and evenly spaced.
        life: how long an entry is fresh.
    """

    grid: OpenGrid
    columns: npt.NDArray[np.int64]
    life: int

    def hits(self, worth: Floats) -> float:
        """Return the share of first opens served fresh, averaged over `MULTIPLES`, warming by `worth`.

        `worth` is decisions x keys.
        """
        multiple, share = self._play(worth, _thresholds(worth))
        order = np.argsort(multiple, kind="stable")
        return float(np.interp(MULTIPLES, multiple[order], share[order]).mean())

    def _play(self, worth: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
        """Return calls over those of no warming, and the share of hits, per threshold."""
        grid, step = self.grid, int(self.columns[1] - self.columns[0]) if len(self.columns) > 1 else 1
        stale_from = np.zeros((len(thresholds), grid.keys), np.int64)
        calls, hits, firsts = np.zeros(len(thresholds)), np.zeros(len(thresholds)), 0
        for decision, start in zip(worth, self.columns.tolist(), strict=True):
            warm = (decision[None, :] >= thresholds[:, None]) & (stale_from <= start)
            calls += warm.sum(axis=1)
            stale_from[warm] = start + self.life
            for column in range(start, min(start + step, grid.columns)):
                opened = np.flatnonzero(grid.opens[:, column + 1] > grid.opens[:, column])
                if not len(opened):
                    continue
                fresh = stale_from[:, opened] > column
                first = grid.firsts[opened, column + 1] > grid.firsts[opened, column]
                hits += (fresh & first).sum(axis=1)
                firsts += int(first.sum())
                calls += (~fresh).sum(axis=1)
                stale_from[:, opened] = np.where(fresh, stale_from[:, opened], column + self.life)
        return calls / max(calls[0], 1.0), hits / max(firsts, 1)


def best(hits: Mapping[Name, float]) -> Name:
    """Return the name of the candidate with most hits; an earlier, plainer one stays unless clearly beaten."""
    most = max(hits.values())
    return next(name for name, share in hits.items() if share >= most - _CLEARLY)


def _thresholds(worth: Floats) -> Floats:
    positive = worth[worth > 0]
    if not len(positive):
        return np.array([np.inf])
    shares = np.geomspace(min(1e-4, 1.0), 1.0, _THRESHOLDS)
    return np.concatenate([[np.inf], np.quantile(positive, 1.0 - shares)])
