"""The pairs of key and column that features are computed for, with counts over windows left of the column."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.forecast.features.grid import OpenGrid
from adwarm.forecast.features.working_days import WorkingDays
from adwarm.foundation.arrow_arrays import Floats, Ints

Window = tuple[int, int]
"""Slots of 15 minutes relative to a column, `[start, end)`."""

DAY_DECAY, WEEK_DECAY = 0.93, 0.8
"""Weight of a day, and of a week, relative to the one after it."""


@dataclass
class FeatureContext:
    """Pairs of key and column with their features.

    Attributes:
        grid: the opens.
        key: row of the key in the grid, per pair.
        column: column in the grid, per pair; features use only what lies left of it.
        features: name to a value per pair; the functions of `key_features` and `account_features` fill it.
        columns_by_days: cache of `columns_before`.
    """

    grid: OpenGrid
    key: Ints
    column: Ints
    features: dict[str, Any] = field(default_factory=dict)
    columns_by_days: dict[int, Ints] = field(default_factory=dict)

    @cached_property
    def account(self) -> Ints:
        """Number of the key's account, per pair."""
        return self.grid.account[self.key]

    @cached_property
    def working_days(self) -> WorkingDays:
        """Which days before each pair's column were working days."""
        return WorkingDays(self.grid.population, self.column)

    def columns_before(self, days: int) -> Ints:
        """Return the columns of the same wall clock time `days` earlier; negative before the log."""
        if days not in self.columns_by_days:
            self.columns_by_days[days] = self.grid.columns_before(self.key, self.column, days)
        return self.columns_by_days[days]

    def totals_before(self, totals: npt.NDArray[Any], row: Ints | None, end: Ints) -> npt.NDArray[Any]:
        """Return running totals left of `end`, clipped to the pair's column.

        Args:
            totals: rows x columns, or columns alone when `row` is None.
        """
        index = np.minimum(np.maximum(end, 0), self.column)
        return totals.ravel().take(index if row is None else index + row * totals.shape[1])

    def count_between(self, totals: npt.NDArray[Any], row: Ints | None, start: Ints, end: Ints) -> Floats:
        """Return the counts in `[start, end)`; see `totals_before`."""
        return np.asarray(self.totals_before(totals, row, end) - self.totals_before(totals, row, start), np.float64)

    def count_windows(
        self, totals: npt.NDArray[Any], row: Ints | None, column: Ints, windows: Sequence[Window]
    ) -> dict[Window, Floats]:
        """Return the counts in each window relative to `column`."""
        edges = sorted({edge for window in windows for edge in window})
        until = {edge: self.totals_before(totals, row, column + edge) for edge in edges}
        return {(begin, end): np.asarray(until[end] - until[begin], np.float64) for begin, end in windows}

    def once_per_account(self) -> tuple["FeatureContext", Ints]:
        """Return one pair per account, zone and column, and for each of these pairs the index of its representative."""
        grid = self.grid
        clock = self.account * len(grid.zones) + grid.zone_of[self.key]
        _, one, index = np.unique(clock * (grid.column_count + 1) + self.column, return_index=True, return_inverse=True)
        return FeatureContext(grid, self.key[one], self.column[one]), index
