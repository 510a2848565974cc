"""Results of ads: which of the platform's figures count."""

from typing import Any

import numpy as np
import pytest

from adwarm.fatigue.panel import FloatArray
from adwarm.fatigue.panel_rows import KINDS, count_results, parse_rows
from adwarm.fatigue.text_columns import to_text_table
from adwarm.model import ColumnTable
from tests.unit.fatigue.test_panel import DAYS, FIRST, LAST, _row, read_panel


def _actions(**counts: Any) -> list[dict[str, Any]]:
    return [{"action_type": name.replace("__", "."), "value": value} for name, value in counts.items()]


def _results(*rows: dict[str, Any]) -> FloatArray:
    return read_panel({"act_1": ColumnTable.from_rows(rows)}, FIRST, LAST).results


def test_purchases_come_before_leads() -> None:
    """Without a stated goal the first kind counts; clicks never do; an absent action is zero of it."""
    results = _results(
        _row(0, actions=_actions(link_click="50", lead="4", purchase="2")),
        _row(1, actions=_actions(link_click="50", lead="4")),
        _row(2, impressions="10"),
        _row(3, "8", actions=_actions(link_click="9")),
        _row(3, impressions="10"),
    )
    assert results[0, :2].tolist() == [2, 0]
    assert np.isnan(results[0, 2])  # no row of that day has actions
    assert results[0, 3] == 0  # another ad of that day has
    assert results[1, 3] == 0


def test_an_ad_keeps_the_kind_of_its_first_results() -> None:
    """Later purchases of an ad that began with leads are not compared with them."""
    results = _results(_row(0, actions=_actions(lead="4")), _row(1, actions=_actions(lead="3", purchase="9")))
    assert results[0, :2].tolist() == [4, 3]


def test_a_stated_goal_decides(subtests: pytest.Subtests) -> None:
    """The goal of the ad comes before the objective of its campaign."""
    for goal, expected in (
        ({"optimization_goal": "LINK_CLICKS"}, 50),
        ({"optimization_goal": "LEAD_GENERATION", "objective": "OUTCOME_SALES"}, 4),
        ({"objective": "OUTCOME_SALES"}, 2),
        ({"optimization_goal": "SOMETHING_NEW"}, 2),
    ):
        with subtests.test(goal=goal, expected=expected):
            assert (
                _results(_row(0, actions=_actions(link_click="50", lead="4", purchase="2"), **goal))[0, 0] == expected
            )


def test_overlapping_names_are_not_added_up() -> None:
    """The platform reports one purchase under several names."""
    names = {"offsite_conversion__fb_pixel_purchase": "7", "omni_purchase": "7", "purchase": "7"}
    assert _results(_row(0, actions=_actions(**names)))[0, 0] == 7
    both = _row(0, actions=_actions(purchase="7"), conversions=_actions(purchase="7"))
    assert _results(both)[0, 0] == 7


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
    ({"actions": '[{"action_type": "lead", "value": "8"}, {"action_type": "x", "value": 9}]'}, 8),
    ({"actions": '[{"value": "8", "action_type": "lead"}, {"value": 9, "action_type": "x"}]'}, 8),
    ({"actions": "[{'value': '8', 'action_type': 'lead'}]"}, 0),
    ({"actions": [{"action_type": "lead", "value": 8.0}, "broken", {"value": 1}]}, 8),
    ({"actions": [{"action_type": "lead", "value": "many"}]}, 0),
    ({"actions": [{"action_type": "lead", "value": "1e-"}]}, 0),
    ({"actions": [{"value": "8", "action_type": "lead"}, {"value": "5", "action_type": "purchase"}]}, 5),
    ({"actions": [{"action_type": "{lead}", "value": "8"}, {"action_type": "lead", "value": "5"}]}, 5),
    ({"actions": [{"action_type": "lead", "1d_click": "3", "value": "8", "7d_click": "9"}]}, 8),
    ({"actions": '[{"value": "8", "action_type": "lead"}'}, 0),
    ({"results": "5", "actions": [{"action_type": "purchase", "value": "1"}]}, 5),
]


def test_every_loader_s_shape_is_read(subtests: pytest.Subtests) -> None:
    """Plain numbers, the platform's lists, and their JSON text; the platform's own results come first."""
    for row, expected in SHAPES:
        with subtests.test(row=row, expected=expected):
            assert _results(_row(0, **row))[0, 0] == expected


def test_results_of_another_indicator_are_not_compared() -> None:
    """An ad whose optimization changes keeps its first results; a row with results counts no actions, even for zero."""

    def row(day: int, indicator: str, value: str = "") -> dict[str, Any]:
        values = {"values": [{"value": value, "attribution_windows": ["default"]}]} if value else {}
        return _row(day, results=[{"indicator": indicator, **values}], actions=_actions(purchase="7"))

    rows = row(0, "actions:lead"), row(1, "actions:lead", "4"), row(2, "actions:link_click", "90"), row(3, "reach", "8")
    assert _results(*rows)[0, :4].tolist() == [0, 4, 0, 0]
    assert _results(*rows[2:])[0, 2:4].tolist() == [90, 0]


def test_an_invalid_plain_number_is_named() -> None:
    """A number of results below zero is an error in the data: the row is left out, with its reason."""
    found = parse_rows(ColumnTable.from_rows([_row(0, conversions="-1", impressions="5")]))
    assert "ad 7: conversions is '-1'" in found.left_out[0]
    assert not found.states_results.any()


def test_rows_without_results_are_unknown() -> None:
    """A table without any of the fields has no results."""
    assert np.isnan(_results(_row(0, impressions="5"))).sum() == DAYS
    found = count_results(to_text_table(ColumnTable.from_rows([_row(0)])))
    assert not len(found.stating) + len(found.rows)
    assert KINDS[0] == "results"
