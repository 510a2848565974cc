"""Breakdowns name a group of people, and lose the count of people far back."""

import json

import pytest

from tests.unit.graph_simulator.conftest import BASIC_FIELDS, SimulatorHarness, error_codes, make_simulator

LONG_AGO = json.dumps({"since": "2025-09-01", "until": "2025-09-07"})


def first_row(driven: SimulatorHarness, **params: str) -> dict[str, str]:
    """The first row of an answer."""
    found: dict[str, str] = json.loads(driven.insights(**params).body)["data"][0]
    return found


def test_a_breakdown_adds_its_fields_and_divides_nothing() -> None:
    """The simulated audience is one group: a row says which, and holds the same figures."""
    driven = make_simulator()
    plain = first_row(driven)
    assert first_row(driven, breakdowns="age,gender") == plain | {"age": "25-34", "gender": "female"}


@pytest.mark.parametrize("name", ["dma", "shoe_size"])
def test_breakdowns_that_do_not_exist(name: str) -> None:
    """An unknown breakdown, or one that was retired, is refused."""
    assert error_codes(make_simulator().insights(breakdowns=name)) == (100, None)


def test_people_are_not_counted_far_back() -> None:
    """Over 13 months back a broken-down question has no reach, without a word; a plain one has."""
    driven = make_simulator()
    assert "reach" in first_row(driven, time_range=LONG_AGO)
    assert "reach" in first_row(driven, breakdowns="age")
    assert "reach" not in first_row(driven, time_range=LONG_AGO, breakdowns="age")


def test_ten_reports_a_day_count_people_far_back() -> None:
    """Reports may, ten times a day and account; a new day brings ten more."""
    driven = make_simulator({
        "reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}
    })

    def has_reach(account: str = "act_1") -> bool:
        run = driven.submit(account, time_range=LONG_AGO, breakdowns="age", fields=BASIC_FIELDS)
        return "reach" in driven.get(f"{run}/insights")["data"][0]

    assert [has_reach() for _ in range(12)] == [True] * 10 + [False] * 2
    assert has_reach("act_2")
    driven.wait(86_400)
    assert has_reach()
