"""Counts by row and hour of the week in two bytes each, however large a count becomes.

A cell holds at most 2**15; what exceeds it is carried to a dictionary, which only the busiest cells ever need. So a
block of up to 2**15 - 1 events can be added without a check before, and no count saturates or wraps.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from adwarm.patterns.local_hours import WEEK_HOURS

Longs = npt.NDArray[np.int64]

_LIMIT = 1 << 15


class Cells:
    """A dense table of 168 hours by rows; 336 bytes a row.

    An hour's counts lie side by side: a log in order of time touches few of them at once, which stay in the cache.
    """

    def __init__(self, rows: int = 4096) -> None:
        self._counts = np.zeros((WEEK_HOURS, rows), np.uint16)
        # By row * 168 + hour. A cell that something was carried from is never left empty.
        self._carried: dict[int, int] = {}

    def reserve(self, rows: int) -> None:
        """Make room for `rows`."""
        held = self._counts.shape[1]
        if rows <= held:
            return
        grown = np.zeros((WEEK_HOURS, max(rows, 2 * held)), np.uint16)
        for hour in range(WEEK_HOURS):
            if self._counts[hour].any():  # what was never written takes no memory, and shall not
                grown[hour, :held] = self._counts[hour]
        self._counts = grown

    def add_events(self, rows: npt.NDArray[np.int32], hours: npt.NDArray[np.int16]) -> None:
        """Add one to the cell of each event."""
        flat, width = self._counts.reshape(-1), self._counts.shape[1]
        for start in range(0, len(rows), _LIMIT - 1):
            chosen = slice(start, start + _LIMIT - 1)
            cells = np.multiply(hours[chosen], width, dtype=np.int64)
            cells += rows[chosen]
            np.add.at(flat, cells, np.uint16(1))
            full = flat[cells] > _LIMIT
            if full.any():
                cells = np.unique(cells[full])
                self._carry(cells, np.full(len(cells), _LIMIT, np.int64))
                flat[cells] -= np.uint16(_LIMIT)

    def add_counts(self, rows: Longs, hours: Longs, counts: Longs) -> None:
        """Add counts, all positive, that were made before."""
        flat = self._counts.reshape(-1)
        cells, places = np.unique(hours * self._counts.shape[1] + rows, return_inverse=True)
        total = np.zeros(len(cells), np.int64)
        np.add.at(total, places, counts)
        total += flat[cells]
        kept = (total - 1) % _LIMIT + 1
        flat[cells] = kept.astype(np.uint16)
        large = total > _LIMIT
        self._carry(cells[large], (total - kept)[large])

    def blocks(self, order: Longs, size: int = 2048) -> Iterator[tuple[Longs, Longs, Longs]]:
        """Yield place in `order`, hour and count of the cells that are not empty, by place and hour."""
        carried, amounts = self._carried_in(order)
        for start in range(0, len(order), size):
            flat = self._counts.take(order[start : start + size], axis=1).T.reshape(-1)
            filled = np.flatnonzero(flat)
            counts = flat[filled].astype(np.int64)
            low, high = np.searchsorted(carried, (start * WEEK_HOURS, (start + size) * WEEK_HOURS))
            counts[np.searchsorted(filled, carried[low:high] - start * WEEK_HOURS)] += amounts[low:high]
            places, hours = np.divmod(filled, WEEK_HOURS)
            yield places + start, hours, counts

    def _carry(self, cells: Longs, amounts: Longs) -> None:
        width = self._counts.shape[1]
        for cell, amount in zip(cells.tolist(), amounts.tolist(), strict=True):
            hour, row = divmod(cell, width)
            key = row * WEEK_HOURS + hour
            self._carried[key] = self._carried.get(key, 0) + amount

    def _carried_in(self, order: Longs) -> tuple[Longs, Longs]:
        """Return what was carried, by place in `order` * 168 + hour, ascending."""
        keys = np.fromiter(self._carried, np.int64, len(self._carried))
        amounts = np.fromiter(self._carried.values(), np.int64, len(self._carried))
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        keys = places[keys // WEEK_HOURS] * WEEK_HOURS + keys % WEEK_HOURS
        ascending = np.argsort(keys)
        return keys[ascending], amounts[ascending]
