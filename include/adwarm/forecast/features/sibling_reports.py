"""The other reports of an account: which one was just opened helps to predict which one comes next."""

from dataclasses import dataclass

import numpy as np

from adwarm.forecast.features.grid import OpenGrid
from adwarm.foundation.arrow_arrays import Ints

MAX_KINDS = 8
"""Report kinds that become features; an account seldom has more than a handful."""
NO_KIND = -1


@dataclass(frozen=True)
class SiblingReports:
    """The most opened report kinds, `date_range/report`, the most opened first.

    They are the same for all accounts, so what is learned from one account applies to every other.
    """

    report_kinds: tuple[str, ...] = ()

    @classmethod
    def most_opened(cls, grid: OpenGrid) -> "SiblingReports":
        """Return the report kinds with most first opens in `grid`."""
        opened = np.bincount(grid.report_kind_of, weights=grid.firsts[:, -1], minlength=len(grid.report_kinds))
        order = np.argsort(-opened, kind="stable")[:MAX_KINDS]
        return cls(tuple(grid.report_kinds[index] for index in order.tolist()))

    def rank(self, grid: OpenGrid) -> Ints:
        """Return, per key, the index of its kind in `report_kinds`, or `NO_KIND`."""
        ranks = {kind: rank for rank, kind in enumerate(self.report_kinds)}
        return np.array([ranks.get(kind, NO_KIND) for kind in grid.report_kinds], np.int64)[grid.report_kind_of]

    def keys(self, grid: OpenGrid) -> Ints:
        """Return accounts x kinds: the account's key of that kind, or `NO_KIND`."""
        rank = self.rank(grid)
        keys = np.full((int(grid.account.max(initial=0)) + 1, len(self.report_kinds)), NO_KIND, np.int64)
        ranked = np.flatnonzero(rank != NO_KIND)
        keys[grid.account[ranked], rank[ranked]] = ranked
        return keys
