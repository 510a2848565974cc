"""Counts by row and hour of the week in two bytes each, however large a count becomes.

A cell holds at most 2**15; what exceeds it is carried to a dictionary, which only the busiest cells ever need. So a
block of up to 2**15 - 1 events can be added without a check before, and no count saturates or wraps.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Ints
from adwarm.patterns.local_hours import WEEK_HOURS

Integers = npt.NDArray[np.integer[Any]]

_LIMIT = 1 << 15
_BLOCK_BITS = 13
_BLOCK_ROWS = 1 << _BLOCK_BITS
_BLOCK_CELLS = WEEK_HOURS * _BLOCK_ROWS


class HourCounts:
    """A dense table of rows by 168 hours; 336 bytes a row.

    It grows by blocks of rows, in place where the system can. Within a block an hour's counts lie side by side: a log
    in order of time touches few of them at once, which stay in the cache.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BLOCK_CELLS, np.uint16)
        # By row * 168 + hour. A cell that something was carried from is never left empty.
        self._carried: dict[int, int] = {}

    def reserve(self, rows: int) -> None:
        """Make room for `rows`."""
        held = len(self._counts) // _BLOCK_CELLS
        wanted = (rows - 1 >> _BLOCK_BITS) + 1
        if wanted > held:
            self._counts.resize(max(wanted, held + held // 8) * _BLOCK_CELLS, refcheck=False)

    def add_events(self, rows: Integers, hours: Integers) -> None:
        """Add one to the cell of each event."""
        flat, every = self._counts, _cells(rows, hours)
        for start in range(0, len(every), _LIMIT - 1):
            cells = every[start : start + _LIMIT - 1]
            np.add.at(flat, cells, np.uint16(1))
            full = flat[cells] > _LIMIT
            if full.any():
                cells = np.unique(cells[full])
                self._carry(cells, np.full(len(cells), _LIMIT, np.int64))
                flat[cells] -= np.uint16(_LIMIT)

    def add_counts(self, rows: Integers, hours: Integers, counts: Ints) -> None:
        """Add counts, all positive, that were made before."""
        flat = self._counts
        cells, places = np.unique(_cells(rows, hours), return_inverse=True)
        total = np.zeros(len(cells), np.int64)
        np.add.at(total, places, counts)
        total += flat[cells]
        kept = (total - 1) % _LIMIT + 1
        flat[cells] = kept.astype(np.uint16)
        large = total > _LIMIT
        self._carry(cells[large], (total - kept)[large])

    def blocks(self, order: Ints, size: int = 1024) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Yield place in `order`, hour and count of the cells that are not empty, by place and hour."""
        carried, amounts = self._carried_in(order)
        blocks = self._counts.reshape(-1, WEEK_HOURS, _BLOCK_ROWS)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            flat = blocks[rows >> _BLOCK_BITS, :, rows & (_BLOCK_ROWS - 1)].reshape(-1)
            filled = np.flatnonzero(flat)
            counts = flat[filled].astype(np.int64)
            low, high = np.searchsorted(carried, (start * WEEK_HOURS, (start + size) * WEEK_HOURS))
            counts[np.searchsorted(filled, carried[low:high] - start * WEEK_HOURS)] += amounts[low:high]
            places, hours = np.divmod(filled, WEEK_HOURS)
            yield places + start, hours, counts

    def _carry(self, cells: Ints, amounts: Ints) -> None:
        block, rest = np.divmod(cells, _BLOCK_CELLS)
        hours, rows = np.divmod(rest, _BLOCK_ROWS)
        keys = (block * _BLOCK_ROWS + rows) * WEEK_HOURS + hours
        for key, amount in zip(keys.tolist(), amounts.tolist(), strict=True):
            self._carried[key] = self._carried.get(key, 0) + amount

    def _carried_in(self, order: Ints) -> tuple[Ints, Ints]:
        """Return what was carried, by place in `order` * 168 + hour, ascending."""
        keys = np.fromiter(self._carried, np.int64, len(self._carried))
        amounts = np.fromiter(self._carried.values(), np.int64, len(self._carried))
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        keys = places[keys // WEEK_HOURS] * WEEK_HOURS + keys % WEEK_HOURS
        ascending = np.argsort(keys)
        return keys[ascending], amounts[ascending]


def _cells(rows: Integers, hours: Integers) -> Ints:
    """Return the place of each row and hour: block, hour, row within the block."""
    cells = np.right_shift(rows, _BLOCK_BITS, dtype=np.int64)
    cells *= _BLOCK_CELLS - _BLOCK_ROWS
    cells += rows
    cells += np.left_shift(hours, _BLOCK_BITS, dtype=np.int64)
    return cells
