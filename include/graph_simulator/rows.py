"""Rows as the platform prints them: every number a numeric string, zeros left out, no row without delivery."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from graph_simulator.actions import LISTINGS, Row, Split, listed
from graph_simulator.ads import Days, Metric
from graph_simulator.fields import ALWAYS, CONSTANTS, DATE_FIELDS, EMPTY, NAME_FIELDS
from graph_simulator.figures import COUNTS, RATIOS, Figures
from graph_simulator.levels import Table

_PLAIN = Split()


def delivered(table: Table, more_than: int = 0) -> tuple[Days, Days]:
    """Return window and object indexes of the rows there are, oldest window first."""
    if not table.names:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    windows, objects = np.nonzero(table.totals[Metric.IMPRESSIONS] > more_than)
    return windows, objects


def render(table: Table, at: tuple[Days, Days], fields: Sequence[str], split: Split = _PLAIN) -> list[Row]:
    """Return the rows at the given window and object indexes, with the wanted fields that are not zero."""
    windows, objects = at
    figures = Figures(table.totals[:, windows, objects], table.reach[windows, objects])
    spans = [(str(window.since), str(window.until)) for window in table.block.windows]
    named = [table.names[index] for index in objects.tolist()]
    columns: dict[str, Sequence[Any]] = {}
    for name in fields:
        if name in NAME_FIELDS:
            columns[name] = [names.get(name) for names in named]
        elif name in CONSTANTS:
            text, owner = CONSTANTS[name]
            columns[name] = [text if owner in names else None for names in named]
        elif name not in DATE_FIELDS | EMPTY:
            columns[name] = _column(name, figures, split)
    columns["date_start"] = [spans[index][0] for index in windows.tolist()]
    columns["date_stop"] = [spans[index][1] for index in windows.tolist()]
    names = tuple(columns)
    return [
        {name: value for name, value in zip(names, values, strict=True) if value is not None}
        for values in zip(*columns.values(), strict=True)
    ]


def _column(name: str, figures: Figures, split: Split) -> Sequence[Any]:
    if name in COUNTS:
        return [str(value) if value or name in ALWAYS else None for value in COUNTS[name](figures).tolist()]
    if name == "spend":
        return [f"{cents / 100:.2f}" for cents in figures.totals[Metric.SPEND_CENTS].tolist()]
    if name in LISTINGS:
        return listed(LISTINGS[name], figures, split)
    return [None if value == 0 else f"{value:.6f}" for value in RATIOS[name](figures).tolist()]
