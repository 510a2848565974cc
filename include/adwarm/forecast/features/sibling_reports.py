"""The other reports of an account: which one was just opened tells which one comes next."""

from dataclasses import dataclass

import numpy as np

from adwarm.forecast.features.grid import OpenGrid
from adwarm.foundation.arrow_arrays import Ints

MOST = 8
"""Kinds of report that are looked at; an account seldom has more than a handful."""
NONE = -1


@dataclass(frozen=True)
class SiblingReports:
    """The kinds of report, `date_range/report`, that are most opened, the most opened first.

    They are the same for all accounts, so what one account shows of their order is learned for every other.
    """

    kinds: tuple[str, ...] = ()

    @classmethod
    def most_opened(cls, grid: OpenGrid) -> "SiblingReports":
        """Return the kinds with most first opens in `grid`."""
        opened = np.bincount(grid.kind_of, weights=grid.firsts[:, -1], minlength=len(grid.kinds))
        order = np.argsort(-opened, kind="stable")[:MOST]
        return cls(tuple(grid.kinds[place] for place in order.tolist()))

    def rank(self, grid: OpenGrid) -> Ints:
        """Return, per key, the place of its kind among `kinds`, or `NONE`."""
        places = {kind: place for place, kind in enumerate(self.kinds)}
        return np.array([places.get(kind, NONE) for kind in grid.kinds], np.int64)[grid.kind_of]

    def keys(self, grid: OpenGrid) -> Ints:
        """Return accounts x kinds: the account's key of that kind, or `NONE`."""
        rank = self.rank(grid)
        found = np.full((int(grid.account.max(initial=0)) + 1, len(self.kinds)), NONE, np.int64)
        named = np.flatnonzero(rank != NONE)
        found[grid.account[named], rank[named]] = named
        return found
