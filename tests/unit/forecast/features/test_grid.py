"""What a grid looks up equals what a loop over its opens counts."""

import numpy as np
import pandas as pd

from adwarm.forecast.features.grid import NEVER, SLOT_MICROS, OpenGrid
from adwarm.patterns.opens import opens_from_frame

COLUMNS, KEYS, START = 60, 7, 2_000_000
ACCOUNT = ["a", "b", "a", "c", "b", "a", "c"]


def make_grid(opened: np.ndarray) -> OpenGrid:
    """Return the grid of opens at the beginning of slots, keys x columns."""
    column, key = np.nonzero(opened.T)
    at = pd.to_datetime((START + column) * SLOT_MICROS * 1_000, utc=True)
    names = {"account_id": [ACCOUNT[number] for number in key], "date_range": [f"r{number}" for number in key]}
    return OpenGrid.from_opens(opens_from_frame(pd.DataFrame({**names, "ts": at})), (START + COLUMNS) * SLOT_MICROS)


def test_lookups_equal_a_loop() -> None:
    """The last open of a key and of its account, and the slots with company, are those that a loop finds."""
    opened = np.random.default_rng(7).random((KEYS, COLUMNS)) < 0.08
    opened[:, 0] = True  # so that every key is numbered, in order of its name, and the first column is the first slot
    grid, last = make_grid(opened), np.arange(COLUMNS)
    for key in range(KEYS):
        others = np.flatnonzero([name == ACCOUNT[key] for name in ACCOUNT])
        number = int(np.flatnonzero(grid.report_kind_of == key)[0])
        for column in range(COLUMNS + 1):
            past, before = opened[:, :column], opened[:, max(0, column - 4) : column]
            at = np.array([number]), np.array([column])
            assert grid.opens.last_before(*at)[0] == max(last[:column][past[key]], default=NEVER)
            in_account = grid.account[at[0]], at[1]
            assert grid.opens_of_account.last_before(*in_account)[0] == max(
                last[:column][past[others].any(axis=0)], default=NEVER
            )
            assert grid.account_opens[in_account][0] == past[others].sum()
            if column < COLUMNS:
                quiet, company = not before[key, -2:].any(), before[others].sum() > before[key].sum()
                assert grid.busy.count(number, column, column + 1) == (not quiet)
                active = np.diff(grid.account_company[in_account[0], column : column + 2])[0, 0]
                assert active - grid.not_joinable.count(number, column, column + 1) == (quiet and company)
                assert grid.joined.count(number, column, column + 1) == (
                    grid.first_opens.count(number, column, column + 1) and company
                )
