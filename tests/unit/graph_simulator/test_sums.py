"""Rows at every level add up to what is true, however they are asked for."""

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest
from adwarm.model import Window
from graph_simulator.levels import LEVELS
from graph_simulator.parameter_values import json_value
from graph_simulator.sums import TrueSum
from tests.unit.graph_simulator.conftest import TIME_RANGE, SimulatorHarness, make_simulator

QUICK = {"reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}}
WEEK = Window(date(2026, 11, 1), date(2026, 11, 7))


def truth(driven: SimulatorHarness, level: str, *, daily: bool) -> set[tuple[Any, ...]]:
    """What is true of a week of an account, as comparable figures."""
    return {_figures(row) for row in driven.platform.sums("act_1", level, WEEK, daily=daily)}


def _figures(row: TrueSum) -> tuple[Any, ...]:
    return row.id, str(row.since), str(row.until), row.impressions, row.reach, row.clicks, row.spend_cents


def told(rows: Iterable[dict[str, str]], level: str) -> list[tuple[Any, ...]]:
    """What rows tell, as comparable figures."""
    return [
        (
            row[f"{level}_id"],
            row["date_start"],
            row["date_stop"],
            int(row["impressions"]),
            int(row["reach"]),
            int(row["clicks"]),
            round(float(row["spend"]) * 100),
        )
        for row in rows
    ]


def pages(driven: SimulatorHarness, path: str, *, limit: int = 3, **params: Any) -> list[dict[str, str]]:
    """Every row of a path, page by page."""
    rows: list[dict[str, str]] = []
    after: dict[str, str] = {}
    while True:
        body = driven.get(path, limit=limit, **params, **after)
        rows += body["data"]
        if "next" not in body.get("paging", {}):
            return rows
        after = {"after": body["paging"]["cursors"]["after"]}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("daily", [True, False])
def test_rows_equal_the_truth(level: str, daily: bool) -> None:
    """At each level, by day and over the range, called and as a report: the rows are the true ones, each once."""
    driven = make_simulator(QUICK, ads=10)
    asked = {"level": level, "fields": f"{level}_id,impressions,reach,clicks,spend", "time_range": TIME_RANGE}
    asked["time_increment"] = "1" if daily else "all_days"
    expected = truth(driven, level, daily=daily)
    for path in ("act_1/insights", f"{driven.submit(**asked)}/insights"):
        found = told(pages(driven, path, **(asked if path.startswith("act") else {})), level)
        assert len(found) == len(set(found))
        assert set(found) == expected
    assert len(expected) >= (7 if daily else 1)


@settings(max_examples=25, deadline=None)
@given(
    level=st.sampled_from(LEVELS),
    increment=st.sampled_from(["1", "2", "5", "monthly", "all_days"]),
    limit=st.integers(2, 40),
    empty=st.booleans(),
    order=st.sampled_from([None, "spend_descending", "reach_ascending,clicks_descending"]),
)
def test_no_row_is_lost_or_doubled(level: str, increment: str, limit: int, empty: bool, order: str | None) -> None:
    """However long the pages, with empty ones between and in any order: every row comes once, and sums are true."""
    driven = make_simulator({}, ads=6, empty_middle_pages=empty)
    asked = {"level": level, "fields": f"{level}_id,impressions,clicks,reach,spend", "time_range": TIME_RANGE}
    asked |= {"time_increment": increment} | ({} if order is None else {"sort": order})
    rows = pages(driven, "act_1/insights", limit=limit, **asked)
    assert len({(row[f"{level}_id"], row["date_start"]) for row in rows}) == len(rows)
    true = driven.platform.sums("act_1", level, WEEK)
    for name in ("impressions", "clicks"):
        assert sum(int(row[name]) for row in rows) == sum(getattr(item, name) for item in true)
    assert round(100 * sum(float(row["spend"]) for row in rows)) == sum(item.spend_cents for item in true)


def test_levels_tell_the_same_whole() -> None:
    """Impressions, clicks and money of all levels have one sum, by day and in all; every level but the account's has
    several objects."""
    driven = make_simulator(ads=10)
    wholes = set()
    for level in LEVELS:
        for daily in (True, False):
            rows = driven.platform.sums("act_1", level, WEEK, daily=daily)
            wholes.add(
                tuple(sum(getattr(row, name) for row in rows) for name in ("impressions", "clicks", "spend_cents"))
            )
    assert len(wholes) == 1
    assert len({row.id for row in driven.platform.sums("act_1", "campaign", WEEK)}) > 1


def test_a_level_that_is_none() -> None:
    """An unknown level is a mistake with a reason."""
    with pytest.raises(BadRequest, match="level must be one of"):
        make_simulator().platform.sums("act_1", "creative", WEEK)


def test_loose_json_reaches_the_question() -> None:
    """A range in single quotes asks for the same rows."""
    driven = make_simulator()
    loose = TIME_RANGE.replace('"', "'")
    assert json_value("time_range", loose) == json.loads(TIME_RANGE)
    assert driven.insights(time_range=loose).body == driven.insights().body
