"""Working days and days without readers are distinguished by past opens alone."""

import numpy as np
import pandas as pd
import pytest

from adwarm.forecast.features.feature_context import DAYS, WorkingDays
from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, PopulationTotals
from adwarm.patterns.opens import Opens, opens_from_frame

START = pd.Timestamp("2026-01-05", tz="UTC")


def population_of(days: int, off: set[int], per_day: int = 12) -> PopulationTotals:
    """Return the population of `days` days: so many keys are opened each morning, except on days `off`."""
    return PopulationTotals.from_opens(log(days, off, per_day), int((START + pd.Timedelta(days=days)).value // 1000))


def log(days: int, off: set[int], per_day: int) -> Opens:
    """Return the opens themselves; the first is at midnight of the first day."""
    rows = [
        (key, START + pd.Timedelta(days=day, hours=6))
        for day in range(days)
        for key in range(per_day)
        if day not in off
    ]
    rows.append((0, START))
    frame = pd.DataFrame(rows, columns=["key", "ts"])
    return opens_from_frame(frame.assign(account_id="act_1", date_range=[f"last_{key + 1}d" for key in frame["key"]]))


def test_a_break_is_not_worked() -> None:
    """Two weeks off are no working days; the days before and after are."""
    off = set(range(28, 42))
    days = WorkingDays(population_of(56, off), np.array([56 * SLOTS_PER_DAY]))
    assert sorted(56 - days.ages()) == sorted(set(range(56)) - off)
    assert days.count_worked(DAYS).tolist() == [42.0]
    assert days.was_worked(1).tolist() == [True]
    assert days.was_worked(20).tolist() == [False]


def test_with_few_readers_an_empty_day_is_a_working_day() -> None:
    """With three opens a day, an empty day is chance and not a holiday."""
    days = WorkingDays(population_of(28, {10, 20}, per_day=3), np.array([28 * SLOTS_PER_DAY]))
    assert len(days.ages()) == 28


@pytest.mark.parametrize("column", [10 * SLOTS_PER_DAY + 7, 30 * SLOTS_PER_DAY, 41 * SLOTS_PER_DAY + 50])
def test_nothing_after_the_column_is_read(column: int) -> None:
    """Later days change nothing for a column."""
    whole = WorkingDays(population_of(56, {9, 29, 30}), np.array([column]))
    opens, at = log(56, {9, 29, 30}, 12), int(START.value // 1000) + column * SLOT_MICROS
    cut = WorkingDays(PopulationTotals.from_opens(opens.before(at), at), np.array([column]))
    assert whole.ages().tolist() == cut.ages().tolist()
