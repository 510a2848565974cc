"""Sums of numbers by cell, where a cell is a number that packs several codes."""

import numpy as np

from adwarm.foundation.arrow_arrays import Ints

_MERGE_ROWS = 1_000_000


class CellCounts:
    """Adds up counts by cell. Merges when as many rows are new as are merged, so that each is sorted few times."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        self._pending = 0

    def add(self, cells: Ints, counts: Ints) -> None:
        """Add one count for each of `cells`, which may repeat."""
        self._parts.append(_summed(cells, counts))
        self._pending += len(self._parts[-1][0])
        if self._pending > max(_MERGE_ROWS, len(self._parts[0][0])):
            self.merge()

    def merge(self) -> tuple[Ints, Ints]:
        """Return the distinct cells, ascending, and their sums."""
        cells, counts = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        self._parts, self._pending = [_summed(cells, counts)], 0
        return self._parts[0]


def _summed(cells: Ints, counts: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(cells, kind="stable")  # quick where sorted runs are joined
    cells, counts = cells[order], counts[order]
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    return cells[starts], np.add.reduceat(counts, starts) if len(starts) else counts
