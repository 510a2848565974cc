"""Rows are sorted, summed up, labeled and paged both ways as a call asks."""

import json
from typing import Any

import pytest

from tests.unit.graph_simulator.conftest import SimulatorHarness, error_codes, make_simulator

ACTIONS = "ad_id,actions,cost_per_action_type,spend"


def rows(driven: SimulatorHarness, **params: Any) -> list[dict[str, Any]]:
    """The rows of a week of ads."""
    found: list[dict[str, Any]] = json.loads(driven.insights(**params).body)["data"]
    return found


def test_rows_in_the_wanted_order() -> None:
    """`sort` orders by a number, by a second one where the first is equal, and across pages."""
    driven = make_simulator(ads=12)
    plain = rows(driven)
    found = rows(driven, sort='["reach_descending"]')
    assert [int(row["reach"]) for row in found] == sorted((int(row["reach"]) for row in plain), reverse=True)
    assert sorted(found, key=str) == sorted(plain, key=str)
    by_name = rows(driven, fields="campaign_name,spend", sort="campaign_name_descending,spend_ascending")
    assert by_name == sorted(
        sorted(by_name, key=lambda row: float(row["spend"])), key=lambda row: row["campaign_name"], reverse=True
    )
    first, second = (rows(driven, sort="spend_ascending", limit=2, **after) for after in ({}, {"after": "MQZDZD"}))
    assert [*first, *second] == rows(driven, sort="spend_ascending")[:4]


def test_rows_by_one_action() -> None:
    """`sort` takes one type of action of a list."""
    found = rows(make_simulator(ads=12), fields=ACTIONS, sort="actions:link_click_descending")
    clicks = [next((int(a["value"]) for a in row["actions"] if a["action_type"] == "link_click"), 0) for row in found]
    assert clicks == sorted(clicks, reverse=True)


@pytest.mark.parametrize("sort", ["reach", "shoe_size_ascending", '["reach_up"]'])
def test_an_order_that_is_none(sort: str) -> None:
    """A sort without a direction, or by a field that does not exist, is refused."""
    assert error_codes(make_simulator().insights(sort=sort)) == (100, None)


def test_the_row_of_totals() -> None:
    """`summary` sums up all rows, whatever the page; people are counted once; a field of no row is refused."""
    driven = make_simulator()
    fields = "ad_id,impressions,reach,spend,frequency"
    plain = rows(driven, fields=fields, time_increment=1)
    asked = {"fields": fields, "time_increment": 1, "limit": 1}
    body = json.loads(driven.insights(**asked, summary='["impressions","spend","reach"]').body)
    found = body["summary"]
    assert len(body["data"]) == 1
    assert int(found["impressions"]) == sum(int(row["impressions"]) for row in plain)
    assert float(found["spend"]) == pytest.approx(sum(float(row["spend"]) for row in plain))
    account = rows(driven, level="account", fields="reach", time_increment="all_days")[0]
    assert found["reach"] == account["reach"]
    assert (found["date_start"], found["date_stop"]) == ("2026-11-01", "2026-11-07")
    every = json.loads(driven.insights(**asked, default_summary="true").body)["summary"]
    assert set(every) == {"impressions", "reach", "spend", "frequency", "date_start", "date_stop"}
    assert "summary" not in json.loads(driven.insights(**asked, default_summary="false").body)
    assert error_codes(driven.insights(**asked, summary="clicks")) == (100, None)


def test_an_answer_without_rows_has_empty_totals() -> None:
    """Where nothing was delivered the totals are there, and empty."""
    future = json.dumps({"since": "2026-12-01", "until": "2026-12-02"})
    assert json.loads(make_simulator().insights(time_range=future, summary="spend").body) == {"data": [], "summary": {}}


def test_the_pages_of_a_report_are_shown_as_asked() -> None:
    """A report's page may have fewer fields, another order and totals; a field it was made without is refused."""
    driven = make_simulator({
        "reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}
    })
    run = driven.submit()
    body = driven.get(f"{run}/insights", fields="spend", sort="spend_descending", summary="clicks", limit=500)
    assert all(set(row) == {"spend", "date_start", "date_stop"} for row in body["data"])
    spent = [float(row["spend"]) for row in body["data"]]
    assert spent == sorted(spent, reverse=True)
    assert int(body["summary"]["clicks"]) > 0
    refused = json.loads(driven.call(f"{run}/insights", fields="cpm").body)["error"]
    assert "weren't there while creating the report run" in refused["message"]


def test_action_breakdowns_label_entries() -> None:
    """By device each entry has a device; by target, actions on the advertiser's own site are not reported."""
    driven = make_simulator()
    plain = rows(driven, fields=ACTIONS)
    assert rows(driven, fields=ACTIONS, action_breakdowns="action_type") == plain
    by_device = rows(driven, fields=ACTIONS, action_breakdowns='["action_type","action_device"]')
    assert {entry["action_device"] for row in by_device for entry in row["actions"]} == {"iphone"}
    values = [[entry["value"] for entry in row["actions"]] for row in by_device]
    assert values == [[entry["value"] for entry in row["actions"]] for row in plain]
    narrow = rows(driven, fields=ACTIONS, action_breakdowns="action_target_id,action_destination")
    kinds = {entry["action_type"] for row in narrow for entry in row["actions"]}
    assert kinds == {"link_click", "post_engagement", "page_engagement"}
    assert error_codes(driven.insights(action_breakdowns="shoe_size")) == (100, None)


def test_totals_may_be_labeled_differently() -> None:
    """`summary_action_breakdowns` labels the totals only."""
    asked = {"fields": ACTIONS, "summary": "actions", "summary_action_breakdowns": "action_device"}
    body = json.loads(make_simulator().insights(**asked).body)
    assert all("action_device" in entry for entry in body["summary"]["actions"])
    assert not any("action_device" in entry for row in body["data"] for entry in row["actions"])


def test_pages_backwards() -> None:
    """Following `previous` from the last page yields every row once, in reverse pages; both ways at once is refused."""
    driven = make_simulator(ads=12)
    every = rows(driven)
    page = json.loads(driven.insights(limit=4).body)
    while "next" in page["paging"]:
        page = json.loads(driven.insights(limit=4, after=page["paging"]["cursors"]["after"]).body)
    found = [page["data"]]
    while "previous" in page["paging"]:
        page = json.loads(driven.insights(limit=4, before=page["paging"]["cursors"]["before"]).body)
        found.insert(0, page["data"])
    assert [row for rows_ in found for row in rows_] == every
    assert json.loads(driven.insights(before="MAZDZD").body)["data"] == []
    assert error_codes(driven.insights(before="MjQZD", after="MjQZD")) == (100, None)
    assert error_codes(driven.insights(before="no cursor")) == (100, None)
