"""Pairs of key and quarter of an hour that features are asked for, and counting in what lies left of them."""

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
"""Quarters of an hour, relative to a moment; the end is left out."""

DAY_DECAY, WEEK_DECAY = 0.93, 0.8
"""What a day, or a week, counts against the one after it."""


@dataclass
class FeatureContext:
    """Pairs of key and column, and the features of them so far."""

    grid: OpenGrid
    key: Ints
    column: Ints
    features: dict[str, Any] = field(default_factory=dict)
    columns_by_days: dict[int, Ints] = field(default_factory=dict)

    @cached_property
    def account(self) -> Ints:
        """Per pair, number of the key's account."""
        return self.grid.account[self.key]

    @cached_property
    def working_days(self) -> WorkingDays:
        """Which days before each pair's column were worked."""
        return WorkingDays(self.grid.population, self.column)

    def columns_before(self, days: int) -> Ints:
        """Return the columns of the same wall clock time `days` before; below 0 when that was before the log."""
        if days not in self.columns_by_days:
            self.columns_by_days[days] = self.grid.columns_before(self.key, self.column, days)
        return self.columns_by_days[days]

    def totals_before(self, totals: npt.NDArray[Any], row: Ints | None, end: Ints) -> npt.NDArray[Any]:
        """Read running totals left of `end`, of which nothing at or after the asked column is read."""
        place = np.minimum(np.maximum(end, 0), self.column)
        return totals.ravel().take(place if row is None else place + row * totals.shape[1])

    def count_between(self, totals: npt.NDArray[Any], row: Ints | None, start: Ints, end: Ints) -> Floats:
        """Count in `[start, end)`; see `until`."""
        return np.asarray(self.totals_before(totals, row, end) - self.totals_before(totals, row, start), np.float64)

    def count_windows(
        self, totals: npt.NDArray[Any], row: Ints | None, place: Ints, windows: Sequence[Window]
    ) -> dict[Window, Floats]:
        """Count in each of `windows` around `place`."""
        edges = sorted({edge for window in windows for edge in window})
        until = {edge: self.totals_before(totals, row, place + edge) for edge in edges}
        return {(begin, end): np.asarray(until[end] - until[begin], np.float64) for begin, end in windows}

    def once_per_account(self) -> tuple["FeatureContext", Ints]:
        """Return one pair for each account, zone and column among these, and per pair of these the place of its one."""
        grid = self.grid
        clock = self.account * len(grid.zones) + grid.zone_of[self.key]
        _, one, place = np.unique(clock * (grid.column_count + 1) + self.column, return_index=True, return_inverse=True)
        return FeatureContext(grid, self.key[one], self.column[one]), place
