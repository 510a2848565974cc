"""Separates working days from days without readers: a holiday, a break, an outage of the log.

A day without readers says nothing about the weekly profile, so it counts as not observed. Only opens before a column
are used; this needs no calendar of holidays, and finds a company's own days off too.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from adwarm.forecast.features.grid import SLOTS_PER_DAY, PopulationTotals
from adwarm.foundation.arrow_arrays import Bools, Ints

DAYS = 56
_HALF_DAY = SLOTS_PER_DAY // 2
_MIN_SHARE, _MIN_OPENS = 0.1, 10
"""A day with less than this share of the busiest same weekday is no working day, if that had so many first opens."""


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
