"""The value of a warm, and backtests."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.training.backtest import MIN_CHANCE, Backtest, warm_value
from adwarm.patterns.opens import opens_from_frame

WINDOWS = (1, 4, 12)
CHANCE = st.floats(0.001, 0.999)


@given(CHANCE, CHANCE, CHANCE, CHANCE)
def test_the_value_rises_with_each_chance(soon: float, between: float, life: float, more: float) -> None:
    """A higher chance in any window never lowers the value; below the minimum chance it is 0."""
    stated = np.array([[soon, max(soon, more)], [between, between], [life, life]])
    value = warm_value(stated, WINDOWS, np.array([MIN_CHANCE, MIN_CHANCE]))
    assert 0 < value[0] <= value[1]
    assert warm_value(stated, WINDOWS, np.array([MIN_CHANCE / 2, MIN_CHANCE]))[0] == 0


def test_a_key_that_is_due_soon_has_the_higher_value() -> None:
    """Of two keys with equal chances within the lifetime, the one due sooner has the higher value."""
    stated = np.array([[0.001, 0.1], [0.01, 0.3], [0.6, 0.6]])
    early, due = warm_value(stated, WINDOWS, stated[-1])
    assert due > 5 * early


def backtested(regular: bool) -> tuple[bool, float]:
    """Return whether warming pays, and hits, on keys opened daily at their hour, or at any hour every fourth day."""
    generator, start = np.random.default_rng(5), pd.Timestamp("2026-01-05", tz="UTC")
    rows = [
        (f"act_{key}", start + pd.Timedelta(days=day, hours=float(9 if regular else generator.uniform(0, 24))))
        for key in range(30)
        for day in range(15)
        if regular or generator.random() < 0.25
    ]
    frame = pd.DataFrame(rows, columns=["account_id", "ts"]).assign(date_range="today")
    grid = OpenGrid.from_opens(opens_from_frame(frame), int((start + pd.Timedelta(days=15)).value // 1000))
    columns = np.arange(SLOTS_PER_DAY, grid.column_count - 12, dtype=np.int64)
    time = (columns + grid.origin) % SLOTS_PER_DAY
    likely = np.where((time >= 35) & (time <= 36), 0.9, 0.01)
    likely = np.repeat(likely[:, None], 30, axis=1) * generator.uniform(0.9, 1.0, (len(columns), 30))
    backtest = Backtest(grid, columns, 12)
    return backtest.pays(likely), backtest.hit_share(likely)


def test_warming_pays_only_on_predictable_opens() -> None:
    """Doubling the calls pays when opens come at their hour, and does not when they come at any hour."""
    pays, hits = backtested(regular=True)
    assert pays
    assert hits > 0.9
    pays, hits = backtested(regular=False)
    assert not pays
    assert hits < 0.2
