"""Breakdowns divide the truth into groups that add up to it, in the combinations of the platform's table."""

import json
from itertools import chain, combinations
from typing import Any

import pytest

from adwarm.model.breakdowns import ACTION_BREAKDOWNS, BREAKDOWNS, HOURLY, check_breakdowns
from graph_simulator.error_responses import GraphError
from graph_simulator.query import read_query
from tests.unit.graph_simulator.conftest import NOW, Driven, drive

FIGURES = ("impressions", "clicks", "inline_link_clicks", "spend")
PLACEMENT = "publisher_platform,platform_position"
DIVISIONS = ["age,gender", "country", "region", f"{PLACEMENT},impression_device", "product_id", HOURLY]


@pytest.fixture(scope="module")
def driven() -> Driven:
    """Return a platform with six ads."""
    return drive()


def read(driven: Driven, **params: Any) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    body = json.loads(driven.insights(limit=5000, **params).body)
    rows: list[dict[str, Any]] = body["data"]
    return rows


def sums(rows: list[dict[str, Any]], level: str) -> dict[tuple[str, ...], list[int]]:
    """Return the sums of rows by day or range and object, in whole numbers and cents."""
    totals: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        total = totals.setdefault((row["date_start"], row["date_stop"], row[f"{level}_id"]), [0] * len(FIGURES))
        for index, name in enumerate(FIGURES):
            total[index] += round(float(row.get(name, 0)) * (100 if name == "spend" else 1))
    return totals


@pytest.mark.parametrize("names", DIVISIONS)
def test_groups_add_up_to_the_truth(driven: Driven, names: str) -> None:
    """At every level, by day and over the range, the sums over the groups are those of the query without breakdowns."""
    for level in ("account", "campaign", "adset", "ad"):
        for increment in ("1", "all_days"):
            query = {"level": level, "fields": ",".join([f"{level}_id", *FIGURES]), "time_increment": increment}
            groups = read(driven, **query, breakdowns=names)
            assert sums(groups, level) == sums(read(driven, **query), level)
            keys = [(row["date_start"], row[f"{level}_id"], *map(row.get, names.split(","))) for row in groups]
            assert len(set(keys)) == len(keys)
            assert None not in chain.from_iterable(keys)
            assert all(int(row["clicks"]) <= int(row["impressions"]) for row in groups)


def test_groups_differ_and_stay(driven: Driven) -> None:
    """Placements have other click rates; the days of a group add up to its range; a second call says the same."""
    query = {"level": "account", "fields": ",".join(FIGURES), "breakdowns": PLACEMENT}
    whole, days = read(driven, **query), read(driven, **query, time_increment="1")
    rates = {row["publisher_platform"]: int(row["clicks"]) / int(row["impressions"]) for row in whole}
    assert max(rates.values()) > 1.5 * min(rates.values())
    for row in whole:
        own = [day for day in days if all(day[name] == row[name] for name in PLACEMENT.split(","))]
        assert sum(int(day["impressions"]) for day in own) == int(row["impressions"])
    assert len(whole) > 8
    assert read(driven, **query) == whole


@pytest.mark.parametrize(
    ("day", "missing"),
    [
        ("2026-03-08", {2}),  # the clock leaves out the hour from two to three
        ("2025-11-02", set()),  # the hour from one to two comes twice
        (str(NOW.date()), set(range(8, 24))),  # it is seven o'clock
    ],
)
def test_hours_of_a_day(day: str, missing: set[int]) -> None:
    """A day has the hours of the account's zone that there are and that have begun, and they add up to the day."""
    driven = drive(zone="America/New_York")
    query = {"fields": "impressions,spend", "time_range": json.dumps({"since": day, "until": day}), "level": "account"}
    [whole], hours = read(driven, **query), read(driven, **query, breakdowns=HOURLY)
    assert {int(row[HOURLY][:2]) for row in hours} == set(range(24)) - missing
    assert sum(int(row["impressions"]) for row in hours) == int(whole["impressions"])
    assert sum(round(float(row["spend"]) * 100) for row in hours) == round(float(whole["spend"]) * 100)


def test_people_are_not_divided(driven: Driven) -> None:
    """The reach of the groups is no division of the reach: it is at most the group's impressions."""
    query = {"level": "account", "fields": "impressions,reach,frequency"}
    [whole], groups = read(driven, **query), read(driven, **query, breakdowns="age")
    assert all(0 < int(row["reach"]) <= int(row["impressions"]) for row in groups)
    assert sum(int(row["reach"]) for row in groups) != int(whole["reach"])


def test_a_lost_group_has_no_row() -> None:
    """A fault leaves the rows of one group out, and the others as they are."""
    fault = {"false_sum": [{"group": "instagram", "factor": 0}]}
    query = {"level": "ad", "fields": ",".join(FIGURES), "breakdowns": PLACEMENT}
    whole, lossy = read(drive(), **query), read(drive(fault), **query)
    assert lossy == [row for row in whole if row["publisher_platform"] != "instagram"]
    assert len(lossy) < len(whole)


def test_actions_off_the_platform_are_not_divided_by_region(driven: Driven) -> None:
    """By region and hour only what happens on the platform is counted."""
    rows = read(driven, fields="actions", breakdowns="region")
    assert {item["action_type"] for row in rows for item in row.get("actions", ())} == {
        "link_click", "post_engagement", "page_engagement"
    }  # fmt: skip


@pytest.mark.parametrize(
    "names", [*((name,) for name in ACTION_BREAKDOWNS[1:]), ACTION_BREAKDOWNS[5:], ACTION_BREAKDOWNS[1:4]]
)
def test_items_of_actions_add_up(driven: Driven, names: tuple[str, ...]) -> None:
    """Each action breakdown divides the count of a type into several items that add up to it; a card has one name."""
    plain, divided = (
        read(driven, level="campaign", fields="actions", action_breakdowns=",".join(actions)) for actions in ((), names)
    )
    for whole, row in zip(plain, divided, strict=True):
        clicks = [item for item in row["actions"] if item["action_type"] == "link_click"]
        [expected] = [int(item["value"]) for item in whole["actions"] if item["action_type"] == "link_click"]
        assert sum(int(item["value"]) for item in clicks) == expected
        labels = [tuple(item[name] for name in names) for item in clicks]
        assert len(set(labels)) == len(labels) > 1
        assert len(labels) <= 3 ** len({name.removesuffix("_id").removesuffix("_name") for name in names})


def _is_refused(breakdowns: tuple[str, ...], actions: tuple[str, ...]) -> bool:
    try:
        check_breakdowns(breakdowns, actions, FIGURES)
    except ValueError:
        return True
    return False


def _is_an_error(breakdowns: tuple[str, ...], actions: tuple[str, ...]) -> bool:
    params = {"fields": ",".join(FIGURES), "breakdowns": ",".join(breakdowns), "action_breakdowns": ",".join(actions)}
    try:
        read_query(params, "UTC", NOW)
    except GraphError:
        return True
    return False


def test_the_platform_refuses_what_adwarm_refuses() -> None:
    """Of all combinations of up to three breakdowns and two action breakdowns, both refuse the same."""
    divisions = [names for size in range(4) for names in combinations(BREAKDOWNS, size)]
    lists = [names for size in range(3) for names in combinations(ACTION_BREAKDOWNS, size)]
    cases = [(names, actions) for names in divisions for actions in lists]
    assert [case for case in cases if _is_refused(*case) != _is_an_error(*case)] == []
    assert sum(not _is_refused(*case) for case in cases) > 80


def test_hours_have_no_people(driven: Driven) -> None:
    """By the hour, reach and unique figures are left out, and plays of videos are an error."""
    [row, *_] = read(driven, breakdowns=HOURLY, fields="clicks,reach,frequency,unique_clicks")
    assert set(row) == {"clicks", "date_start", "date_stop", HOURLY}
    assert driven.insights(breakdowns=HOURLY, fields="video_play_actions").status == 400
