"""The other reports of an account: which one was just opened tells which one comes next."""

from dataclasses import dataclass

import numpy as np

from adwarm.forecast.features.grid import OpenGrid
from adwarm.foundation.arrow_arrays import Ints

MAX_KINDS = 8
"""Kinds of report that are looked at; an account seldom has more than a handful."""
NO_KIND = -1


@dataclass(frozen=True)
class SiblingReports:
    """The kinds of report, `date_range/report`, that are most opened, the most opened first.

    They are the same for all accounts, so what one account shows of their order is learned for every other.
    """

    report_kinds: tuple[str, ...] = ()

    @classmethod
    def most_opened(cls, grid: OpenGrid) -> "SiblingReports":
        """Return the kinds with most first opens in `grid`."""
        opened = np.bincount(grid.report_kind_of, weights=grid.firsts[:, -1], minlength=len(grid.report_kinds))
        order = np.argsort(-opened, kind="stable")[:MAX_KINDS]
        return cls(tuple(grid.report_kinds[place] for place in order.tolist()))

    def rank(self, grid: OpenGrid) -> Ints:
        """Return, per key, the place of its kind among `kinds`, or `NONE`."""
        places = {kind: place for place, kind in enumerate(self.report_kinds)}
        return np.array([places.get(kind, NO_KIND) for kind in grid.report_kinds], np.int64)[grid.report_kind_of]

    def keys(self, grid: OpenGrid) -> Ints:
        """Return accounts x kinds: the account's key of that kind, or `NONE`."""
        rank = self.rank(grid)
        found = np.full((int(grid.account.max(initial=0)) + 1, len(self.report_kinds)), NO_KIND, np.int64)
        named = np.flatnonzero(rank != NO_KIND)
        found[grid.account[named], rank[named]] = named
        return found
