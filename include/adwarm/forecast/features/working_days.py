"""Tells days on which people worked from those on which nobody came: a holiday, a break, an outage of the log.

A day without anybody says nothing about the weekly rhythm, so it counts as not watched. Only what lies before the asked
column is looked at; no calendar of holidays is needed, and a company's own days off are found too.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from adwarm.forecast.features.grid import SLOTS_PER_DAY, PopulationTotals
from adwarm.foundation.arrow_arrays import Bools, Ints

DAYS = 56
_HALF = SLOTS_PER_DAY // 2
_ALIVE, _MANY = 0.1, 10
"""Share of the liveliest same weekday below which a day was not worked, if that one saw so many first opens."""


class WorkingDays:
    """For any columns, which of the days before them were worked.

    Args:
        crowd: what everybody did.
        columns: the asked columns, any order.
    """

    def __init__(self, population: PopulationTotals, columns: Ints) -> None:
        self._crowd = population
        self._columns, self._place = np.unique(columns, return_inverse=True)

    def was_worked(self, days: int) -> Bools:
        """Return, per asked column, whether the day around the same time `days` before was worked; 1 to `DAYS`."""
        found: Bools = self._worked[days - 1][self._place]
        return found

    def count_worked(self, days: int) -> npt.NDArray[np.float64]:
        """Return how many of the last `days` were worked."""
        found: npt.NDArray[np.float64] = self._worked[:days].sum(axis=0).astype(np.float64)[self._place]
        return found

    def ages(self) -> Ints:
        """Return how many days ago the worked days were, seen from the last asked column, the latest first."""
        found: Ints = np.flatnonzero(self._worked[:, -1]).astype(np.int64) + 1
        return found

    @cached_property
    def _worked(self) -> Bools:
        """Days before x columns. Where people are few, a day without anybody is nothing unusual."""
        middle = self._columns[None, :] - SLOTS_PER_DAY * np.arange(1, DAYS + 1)[:, None]
        first, last = (np.clip(middle + shift, 0, self._columns[None, :]) for shift in (-_HALF, _HALF))
        lively = self._crowd.firsts[last] - self._crowd.firsts[first]
        most = np.tile(lively.reshape(DAYS // 7, 7, len(self._columns)).max(axis=0), (DAYS // 7, 1))
        return np.asarray(((lively >= _ALIVE * most) | (most < _MANY)) & (last > 0))
