"""What a warm is worth, and which blend stays, follow from chances and from what was played."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.training.backtest import (
    GROUPS,
    MIN_CHANCE,
    MIN_HITS_PER_CALL,
    Backtest,
    BacktestResult,
    choose_best,
    warm_value,
)
from adwarm.patterns.opens import opens_from_frame

WINDOWS = (1, 4, 12)
CHANCE = st.floats(0.001, 0.999)


@given(CHANCE, CHANCE, CHANCE, CHANCE)
def test_worth_rises_with_each_chance(soon: float, between: float, life: float, more: float) -> None:
    """More chance in any window never makes a warm worth less, and the floor alone makes it worth nothing."""
    stated = np.array([[soon, max(soon, more)], [between, between], [life, life]])
    value = warm_value(stated, WINDOWS, np.array([MIN_CHANCE, MIN_CHANCE]))
    assert 0 < value[0] <= value[1]
    assert warm_value(stated, WINDOWS, np.array([MIN_CHANCE / 2, MIN_CHANCE]))[0] == 0


def test_waiting_is_worth_more_than_warming_early() -> None:
    """Of two keys equally likely within the life, the one that is due soon is warmed first."""
    stated = np.array([[0.001, 0.1], [0.01, 0.3], [0.6, 0.6]])
    early, due = warm_value(stated, WINDOWS, stated[-1])
    assert due > 5 * early


def standing(hits: float, spread: float = 0.0) -> BacktestResult:
    """Return a standing whose parts lie `spread` apart."""
    return BacktestResult(hits, hits + spread * np.linspace(-1, 1, GROUPS), 1.0)


def test_the_usual_blend_stays_unless_it_is_clearly_beaten() -> None:
    """A lead within the noise of the held-back weeks changes nothing; a clear one does."""
    assert choose_best({"usual": standing(0.5), "other": standing(0.52, spread=0.05)}) == "usual"
    assert (
        choose_best({"usual": standing(0.5), "other": standing(0.52, spread=0.001), "worse": standing(0.4)}) == "other"
    )


def played(regular: bool) -> BacktestResult:
    """Return how foresight does on keys opened daily, or guesswork on keys opened at any time, every fourth day."""
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
    return Backtest(grid, columns, 12).run(likely)


def test_foresight_pays_and_guesswork_does_not() -> None:
    """Where opens come at their hour, doubling the calls pays; where they come at any hour, it does not."""
    assert played(regular=True).pays
    assert played(regular=True).hit_share > 0.9
    assert not played(regular=False).pays
    assert played(regular=False).hits_per_call < MIN_HITS_PER_CALL / 2
