"""Numbers the pairs of account and date range in the order of their first appearance."""

import numpy as np

from adwarm.foundation.arrow_arrays import Codes, Ints

_GRID_CELLS = 1 << 24


class PairIndex:
    """Looks pairs up in a grid of accounts by ranges, or in a dictionary when the grid would exceed its limit.

    Args:
        grid_cells: the most cells the grid may have, four bytes each.
    """

    def __init__(self, grid_cells: int = _GRID_CELLS) -> None:
        self._limit = grid_cells
        self._grid: Codes | None = np.full((1024, 16), -1, np.int32)
        self._numbers: dict[int, int] = {}
        self._members = np.empty((1024, 2), np.int32)
        self._count = 0

    def __len__(self) -> int:
        """How many pairs have a number."""
        return self._count

    @property
    def pairs(self) -> Codes:
        """The account and the range of each number."""
        return self._members[: self._count]

    def encode(self, accounts: Codes, ranges: Codes, all_accounts: int, all_ranges: int) -> Codes:
        """Return the number of each pair of codes, which are below `all_accounts` and `all_ranges`."""
        grid = self._reserved(all_accounts, all_ranges)
        if grid is None:
            return self._from_dictionary(accounts, ranges)
        flat = grid.reshape(-1)
        places = np.multiply(accounts, grid.shape[1], dtype=np.int64)
        places += ranges
        numbers = flat[places]
        new = numbers < 0
        if new.any():
            found = _in_order(places[new])
            flat[found] = self._named(np.stack(np.divmod(found, grid.shape[1]), axis=1))
            numbers = flat[places]
        return numbers

    def _from_dictionary(self, accounts: Codes, ranges: Codes) -> Codes:
        keys, places = np.unique((accounts.astype(np.int64) << 32) | ranges, return_inverse=True)
        new = np.array([key for key in keys.tolist() if key not in self._numbers], np.int64)
        named = self._named(np.stack([new >> 32, new & 0xFFFFFFFF], axis=1))
        self._numbers.update(zip(new.tolist(), named.tolist(), strict=True))
        return np.array([self._numbers[key] for key in keys.tolist()], np.int32)[places]

    def _named(self, members: Ints) -> Ints:
        start, self._count = self._count, self._count + len(members)
        if self._count > len(self._members):
            more = np.empty((max(self._count, len(self._members)), 2), np.int32)
            self._members = np.concatenate([self._members, more])
        self._members[start : self._count] = members
        return np.arange(start, self._count)

    def _reserved(self, accounts: int, ranges: int) -> Codes | None:
        if self._grid is None:
            return None
        height, width = self._grid.shape
        if accounts <= height and ranges <= width:
            return self._grid
        height = height if accounts <= height else max(accounts, 2 * height)
        width = width if ranges <= width else max(ranges, 2 * width)
        if height * width > self._limit:
            pairs = self.pairs.astype(np.int64)
            self._numbers = dict(zip(((pairs[:, 0] << 32) | pairs[:, 1]).tolist(), range(len(pairs)), strict=True))
            self._grid = None
            return None
        grown = np.full((height, width), -1, np.int32)
        grown[: self._grid.shape[0], : self._grid.shape[1]] = self._grid
        self._grid = grown
        return grown


def _in_order(values: Ints) -> Ints:
    """Return the distinct values in the order of first appearance."""
    found, first = np.unique(values, return_index=True)
    return found[np.argsort(first)]
