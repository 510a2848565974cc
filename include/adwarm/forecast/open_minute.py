"""When inside an hour the first open comes: an early minute, so that the fetch is done before most of them.

An early quantile of few observations says little, so a cell leans on its key, and a key on the population.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.foundation.arrow_arrays import Floats

EARLY = 0.05
"""Share of an hour's first opens that may come before the predicted minute."""
LEAN = 8.0
"""Observations the wider group's minute is worth."""


def early_minutes(events: pd.DataFrame, keys: int) -> tuple[Floats, Floats]:
    """Return early minutes, 0 to 60, per key, and per (hour of week, key) in sorted order.

    `events` has row, hour_of_week and minute, one row per observed first open.
    """
    minute = events["minute"].to_numpy(np.float64)
    row = events["row"].to_numpy(np.int64)
    population = float(np.quantile(minute, EARLY, method="lower")) if len(minute) else 0.0
    _, quantile, count = _grouped_quantile(row, minute)
    per_key = _lean(quantile, count, np.full(keys, population))
    cell, quantile, count = _grouped_quantile(events["hour_of_week"].to_numpy(np.int64) * max(keys, 1) + row, minute)
    return per_key, _lean(quantile, count, per_key[cell % max(keys, 1)])


def _lean(own: Floats, count: Floats, wider: Floats) -> Floats:
    # The wider group's minute only pulls a cell earlier: a minute too late costs a wait, one too early costs a minute.
    return (own * count + np.minimum(own, wider) * LEAN) / (count + LEAN)


def _grouped_quantile(group: npt.NDArray[Any], value: Floats) -> tuple[npt.NDArray[Any], Floats, Floats]:
    """Return each group (sorted), the lower EARLY quantile of its values, and its size."""
    order = np.lexsort((value, group))
    names, start, count = np.unique(group[order], return_index=True, return_counts=True)
    position = start + np.floor(EARLY * (count - 1)).astype(np.int64)
    return names, value[order][position], count.astype(np.float64)
