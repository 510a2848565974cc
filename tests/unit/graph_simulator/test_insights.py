"""Rows are sorted, totaled, labeled and paged in both directions."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from graph_simulator.figures import write_ratio
from tests.unit.graph_simulator.conftest import Driven, drive, error_of

RECORDED = Path(__file__).resolve().parents[3] / "clients/typescript/tests/ratios.json"
ACTIONS = "ad_id,actions,cost_per_action_type,spend"


def rows(driven: Driven, **params: Any) -> list[dict[str, Any]]:
    """The rows of a week of ads."""
    result: list[dict[str, Any]] = json.loads(driven.insights(**params).body)["data"]
    return result


def test_sorting() -> None:
    """`sort` orders by a number, by a second field where the first is equal, and across pages."""
    driven = drive(ads=12)
    plain = rows(driven)
    result = rows(driven, sort='["reach_descending"]')
    assert [int(row["reach"]) for row in result] == sorted((int(row["reach"]) for row in plain), reverse=True)
    assert sorted(result, key=str) == sorted(plain, key=str)
    by_name = rows(driven, fields="campaign_name,spend", sort="campaign_name_descending,spend_ascending")
    assert by_name == sorted(
        sorted(by_name, key=lambda row: float(row["spend"])), key=lambda row: row["campaign_name"], reverse=True
    )
    first, second = (rows(driven, sort="spend_ascending", limit=2, **after) for after in ({}, {"after": "MQZDZD"}))
    assert [*first, *second] == rows(driven, sort="spend_ascending")[:4]


def test_sorting_by_an_action_type() -> None:
    """`sort` accepts one action type of a list."""
    result = rows(drive(ads=12), fields=ACTIONS, sort="actions:link_click_descending")
    clicks = [next((int(a["value"]) for a in row["actions"] if a["action_type"] == "link_click"), 0) for row in result]
    assert clicks == sorted(clicks, reverse=True)


@pytest.mark.parametrize("sort", ["reach", "shoe_size_ascending", '["reach_up"]'])
def test_invalid_sorts(sort: str) -> None:
    """A sort without a direction, or by an unknown field, is an error."""
    assert error_of(drive().insights(sort=sort)) == (100, None)


def test_the_row_of_totals() -> None:
    """`summary` totals all rows, whatever the page; reach is the account's; a field that rows lack is an error."""
    driven = drive()
    fields = "ad_id,impressions,reach,spend,frequency"
    plain = rows(driven, fields=fields, time_increment=1)
    query_params = {"fields": fields, "time_increment": 1, "limit": 1}
    body = json.loads(driven.insights(**query_params, summary='["impressions","spend","reach"]').body)
    result = body["summary"]
    assert len(body["data"]) == 1
    assert int(result["impressions"]) == sum(int(row["impressions"]) for row in plain)
    assert float(result["spend"]) == pytest.approx(sum(float(row["spend"]) for row in plain))
    account = rows(driven, level="account", fields="reach", time_increment="all_days")[0]
    assert result["reach"] == account["reach"]
    assert (result["date_start"], result["date_stop"]) == ("2026-11-01", "2026-11-07")
    every = json.loads(driven.insights(**query_params, default_summary="true").body)["summary"]
    assert set(every) == {"impressions", "reach", "spend", "frequency", "date_start", "date_stop"}
    assert "summary" not in json.loads(driven.insights(**query_params, default_summary="false").body)
    assert error_of(driven.insights(**query_params, summary="clicks")) == (100, None)


def test_totals_without_rows_are_empty() -> None:
    """Without delivery, `summary` is present and empty."""
    future = json.dumps({"since": "2026-12-01", "until": "2026-12-02"})
    assert json.loads(drive().insights(time_range=future, summary="spend").body) == {"data": [], "summary": {}}


def test_result_pages_can_be_presented_differently() -> None:
    """A page of a report can have fewer fields, another order and totals; a field that the report lacks is an error."""
    driven = drive({"reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}})
    run = driven.submit()
    body = driven.get(f"{run}/insights", fields="spend", sort="spend_descending", summary="clicks", limit=500)
    assert all(set(row) == {"spend", "date_start", "date_stop"} for row in body["data"])
    spent = [float(row["spend"]) for row in body["data"]]
    assert spent == sorted(spent, reverse=True)
    assert int(body["summary"]["clicks"]) > 0
    refused = json.loads(driven.call(f"{run}/insights", fields="cpm").body)["error"]
    assert "weren't there while creating the report run" in refused["message"]


def test_action_breakdowns_label_entries() -> None:
    """The entries of the devices add up; by target, actions on the advertiser's own site are not reported."""
    driven = drive()
    plain = rows(driven, fields=ACTIONS)
    assert rows(driven, fields=ACTIONS, action_breakdowns="action_type") == plain
    by_device = rows(driven, fields=ACTIONS, action_breakdowns='["action_type","action_device"]')
    assert len({entry["action_device"] for row in by_device for entry in row["actions"]}) == 3
    for divided, whole in zip(by_device, plain, strict=True):
        sums: Counter[str] = Counter()
        for entry in divided["actions"]:
            sums[entry["action_type"]] += int(entry["value"])
        assert sums == {entry["action_type"]: int(entry["value"]) for entry in whole["actions"]}
    narrow = rows(driven, fields=ACTIONS, action_breakdowns="action_target_id,action_destination")
    kinds = {entry["action_type"] for row in narrow for entry in row["actions"]}
    assert kinds == {"link_click", "post_engagement", "page_engagement"}
    assert error_of(driven.insights(action_breakdowns="shoe_size")) == (100, None)


def test_totals_may_be_labeled_differently() -> None:
    """`summary_action_breakdowns` labels the totals only."""
    query_params = {"fields": ACTIONS, "summary": "actions", "summary_action_breakdowns": "action_device"}
    body = json.loads(drive().insights(**query_params).body)
    assert all("action_device" in entry for entry in body["summary"]["actions"])
    assert not any("action_device" in entry for row in body["data"] for entry in row["actions"])


def test_pages_backwards() -> None:
    """Following `previous` from the last page yields every row once, in reverse pages; both cursors at once are an
    error."""
    driven = drive(ads=12)
    every = rows(driven)
    page = json.loads(driven.insights(limit=4).body)
    while "next" in page["paging"]:
        page = json.loads(driven.insights(limit=4, after=page["paging"]["cursors"]["after"]).body)
    result = [page["data"]]
    while "previous" in page["paging"]:
        page = json.loads(driven.insights(limit=4, before=page["paging"]["cursors"]["before"]).body)
        result.insert(0, page["data"])
    assert [row for rows_ in result for row in rows_] == every
    assert json.loads(driven.insights(before="MAZDZD").body)["data"] == []
    assert error_of(driven.insights(before="MjQZD", after="MjQZD")) == (100, None)
    assert error_of(driven.insights(before="no cursor")) == (100, None)


def test_ratios_are_written_as_recorded() -> None:
    """Published answers of the platform have six decimals, rounded, without zeros at the end; one CTR is off by one."""
    off = set()
    for row in json.loads(RECORDED.read_text(encoding="utf-8"))["rows"]:
        costs = {item["action_type"]: item["value"] for item in row.get("cost_per_action_type", [])}
        counts = {item["action_type"]: item["value"] for item in row.get("actions", [])}
        figures = {name: float(row[name]) for name in ("impressions", "reach", "clicks", "spend")}
        expected = {
            "ctr": 100 * figures["clicks"] / figures["impressions"],
            "cpm": 1000 * figures["spend"] / figures["impressions"],
            "cpp": 1000 * figures["spend"] / figures["reach"],
            "frequency": figures["impressions"] / figures["reach"],
            **({"cpc": figures["spend"] / figures["clicks"]} if figures["clicks"] else {}),
        }
        off |= {
            (row["ad_id"], name) for name in expected if row.get(name, "-") not in {"-", write_ratio(expected[name])}
        }
        assert {kind: write_ratio(figures["spend"] / int(counts[kind])) for kind in costs} == costs
    assert off == {("11", "ctr")}
