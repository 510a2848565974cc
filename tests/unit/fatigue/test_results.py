"""Results of ads: which of the platform's figures count."""

from typing import Any

import numpy as np
import pytest

from adwarm.fatigue.panel import FloatArray
from adwarm.fatigue.panel_rows import count_results, parse_rows
from adwarm.model import ColumnTable
from tests.support.fatigue_scores import to_text_table
from tests.unit.fatigue.test_panel import DAYS, FIRST, LAST, ROWS, _row, read_panel


def _results(*rows: dict[str, Any]) -> FloatArray:
    return read_panel({"act_1": ColumnTable.from_rows(rows)}, FIRST, LAST).results


def test_a_day_without_a_field_of_results_is_unknown() -> None:
    """An absent figure is zero where another row of the day has results, and a zero stays one."""
    results = _results(
        _row(0, results="2"),
        _row(1, results="0"),
        _row(2, impressions="10"),
        _row(3, "8", conversions="9"),
        _row(3, impressions="10"),
    )
    assert results[0, :2].tolist() == [2, 0]
    assert np.isnan(results[0, 2])
    assert results[0, 3] == 0
    assert results[1, 3] == 9


SHAPES = [
    ({"results": "5"}, 5),
    (
        {"results": [{"indicator": "actions:lead", "values": [{"value": "6", "attribution_windows": ["default"]}]}]},
        6,
    ),
    ({"results": '[{"indicator":"actions:lead","values":[{"value":"6"}]}]'}, 6),
    ({"results": [{"indicator": "actions:lead"}]}, 0),
    ({"conversions": "3"}, 3),
    ({"conversions": 3}, 3),
    ({"results": "5", "conversions": "1"}, 5),
    ({"results": "", "conversions": "1"}, 1),
    ({"results": "[{]", "conversions": "1"}, 0),
    ({"conversions": [{"action_type": "lead", "value": "8"}]}, 0),
]


def test_every_loader_s_shape_is_read(subtests: pytest.Subtests) -> None:
    """Plain numbers, the platform's lists, and their JSON text; the platform's own results come first."""
    for row, expected in SHAPES:
        with subtests.test(row=row, expected=expected):
            assert _results(_row(0, **row))[0, 0] == expected


def test_results_of_another_indicator_are_not_compared() -> None:
    """An ad keeps its first kind of results; a row with results counts no conversions, even for zero."""

    def row(day: int, indicator: str, value: str = "") -> dict[str, Any]:
        values = {"values": [{"value": value, "attribution_windows": ["default"]}]} if value else {}
        return _row(day, results=[{"indicator": indicator, **values}], conversions="7")

    rows = row(0, "actions:lead"), row(1, "actions:lead", "4"), row(2, "actions:link_click", "90"), row(3, "reach", "8")
    assert _results(*rows)[0, :4].tolist() == [0, 4, 0, 0]
    assert _results(*rows[2:])[0, 2:4].tolist() == [90, 0]


def test_an_invalid_plain_number_is_named() -> None:
    """A number of results below zero is an error in the data: the row is left out, with its reason."""
    found = parse_rows("1", to_text_table(ColumnTable.from_rows([_row(0, conversions="-1", impressions="5")])), ROWS)
    assert "ad 7: conversions is '-1'" in found.left_out[0]
    assert not found.states_results.any()


def test_rows_without_results_are_unknown() -> None:
    """A table without any of the fields has no results."""
    assert np.isnan(_results(_row(0, impressions="5"))).sum() == DAYS
    states, _, counts, _ = count_results(to_text_table(ColumnTable.from_rows([_row(0)])))
    assert not states.any()
    assert not counts.any()
