"""The pairs of key and column that features are computed for, with counts over windows left of the column.

A day without readers (a holiday, a break, an outage of the log) says nothing about the weekly profile, so it counts as
not observed. Only opens before a column are used; this needs no calendar, and finds a company's own days off too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid, PopulationTotals
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints

DAYS = 56
_HALF_DAY = SLOTS_PER_DAY // 2
_MIN_SHARE, _MIN_OPENS = 0.1, 10
"""A day with less than this share of the busiest same weekday is no working day, if that had so many first opens."""
Window = tuple[int, int]
"""Slots of 15 minutes relative to a column, `[start, end)`."""


class WorkingDays:
    """Which of the days before some columns were working days.

    Args:
        population: first opens of all keys.
        columns: any columns, in any order.
    """

    def __init__(self, population: PopulationTotals, columns: Ints) -> None:
        self._population = population
        self._columns, self._index = np.unique(columns, return_inverse=True)

    def was_worked(self, days: int) -> Bools:
        """Return, per column, whether the day around the same time `days` before was a working day; 1 to `DAYS`."""
        worked: Bools = self._worked[days - 1][self._index]
        return worked

    def count_worked(self, days: int) -> npt.NDArray[np.float64]:
        """Return, per column, how many of the last `days` were working days."""
        result: npt.NDArray[np.float64] = self._worked[:days].sum(axis=0).astype(np.float64)[self._index]
        return result

    def ages(self) -> Ints:
        """Return how many days before the last column each working day was, the latest first."""
        result: Ints = np.flatnonzero(self._worked[:, -1]).astype(np.int64) + 1
        return result

    @cached_property
    def _worked(self) -> Bools:
        """Days before x columns. With few readers a day without opens is normal, so it counts as a working day."""
        middle = self._columns[None, :] - SLOTS_PER_DAY * np.arange(1, DAYS + 1)[:, None]
        first, last = (np.clip(middle + shift, 0, self._columns[None, :]) for shift in (-_HALF_DAY, _HALF_DAY))
        opens = self._population.firsts[last] - self._population.firsts[first]
        most = np.tile(opens.reshape(DAYS // 7, 7, len(self._columns)).max(axis=0), (DAYS // 7, 1))
        return np.asarray(((opens >= _MIN_SHARE * most) | (most < _MIN_OPENS)) & (last > 0))


DAY_DECAY, WEEK_DECAY = 0.93, 0.8
"""Weight of a day, and of a week, relative to the one after it."""


@dataclass
class FeatureContext:
    """Pairs of key and column with their features.

    Attributes:
        key: row of the key in the grid, per pair.
        column: column in the grid, per pair; features use only what lies left of it.
        features: name to a value per pair; the functions of `key_features` and `account_features` fill it.
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
