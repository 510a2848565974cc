"""Rows at every level add up to the true totals, however they are requested."""

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_simulator.date_ranges import DateRange
from graph_simulator.error_responses import InvalidValue
from graph_simulator.levels import LEVELS
from graph_simulator.parameters import json_value
from graph_simulator.true_sums import TrueSum
from tests.unit.graph_simulator.conftest import RANGE, Driven, drive

QUICK = {"reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}}
WEEK = DateRange(date(2026, 11, 1), date(2026, 11, 7))


def truth(driven: Driven, level: str, *, daily: bool) -> set[tuple[Any, ...]]:
    """The true totals of a week of an account, as comparable tuples."""
    return {_figures(row) for row in driven.platform.sums("act_1", level, WEEK, daily=daily)}


def _figures(row: TrueSum) -> tuple[Any, ...]:
    return row.id, str(row.since), str(row.until), row.impressions, row.reach, row.clicks, row.spend_cents


def totals_of(rows: Iterable[dict[str, str]], level: str) -> list[tuple[Any, ...]]:
    """The totals of rows, as comparable tuples."""
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


def pages(driven: Driven, path: str, *, limit: int = 3, **params: Any) -> list[dict[str, str]]:
    """All rows at a path, page by page."""
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
    """At each level, by day and over the range, synchronously and as a report: each true row comes once."""
    driven = drive(QUICK, ads=10)
    query_params = {"level": level, "fields": f"{level}_id,impressions,reach,clicks,spend", "time_range": RANGE}
    query_params["time_increment"] = "1" if daily else "all_days"
    expected = truth(driven, level, daily=daily)
    for path in ("act_1/insights", f"{driven.submit(**query_params)}/insights"):
        result = totals_of(pages(driven, path, **(query_params if path.startswith("act") else {})), level)
        assert len(result) == len(set(result))
        assert set(result) == expected
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
    """Whatever the page size and order, with empty pages in between: every row comes once, and sums are true."""
    driven = drive({}, ads=6, empty_middle_pages=empty)
    query_params = {"level": level, "fields": f"{level}_id,impressions,clicks,reach,spend", "time_range": RANGE}
    query_params |= {"time_increment": increment} | ({} if order is None else {"sort": order})
    rows = pages(driven, "act_1/insights", limit=limit, **query_params)
    assert len({(row[f"{level}_id"], row["date_start"]) for row in rows}) == len(rows)
    true = driven.platform.sums("act_1", level, WEEK)
    for name in ("impressions", "clicks"):
        assert sum(int(row[name]) for row in rows) == sum(getattr(item, name) for item in true)
    assert round(100 * sum(float(row["spend"]) for row in rows)) == sum(item.spend_cents for item in true)


def test_levels_have_the_same_sums() -> None:
    """Impressions, clicks and spend have equal sums at all levels, by day and in all; each level but the account has
    several objects."""
    driven = drive(ads=10)
    wholes = set()
    for level in LEVELS:
        for daily in (True, False):
            rows = driven.platform.sums("act_1", level, WEEK, daily=daily)
            wholes.add(
                tuple(sum(getattr(row, name) for row in rows) for name in ("impressions", "clicks", "spend_cents"))
            )
    assert len(wholes) == 1
    assert len({row.id for row in driven.platform.sums("act_1", "campaign", WEEK)}) > 1


def test_an_unknown_level() -> None:
    """An unknown level is an error."""
    with pytest.raises(InvalidValue, match="level must be one of"):
        drive().platform.sums("act_1", "creative", WEEK)


def test_loose_json_reaches_the_query() -> None:
    """A range in single quotes selects the same rows."""
    driven = drive()
    loose = RANGE.replace('"', "'")
    assert json_value("time_range", loose) == json.loads(RANGE)
    assert driven.insights(time_range=loose).body == driven.insights().body
