"""The platform as a whole: fault errors, size limits, objects, quotas, time and the call log."""

import json
from datetime import timedelta
from typing import Any

import pytest

from graph_simulator.app_state import AppState
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from tests.unit.graph_simulator.conftest import NOW, RANGE, drive, error_of


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("transient_1", 500, (1, None)),
        ("transient_2", 500, (2, None)),
        ("error_in_200", 200, (2, None)),
        ("flaky_100", 400, (100, None)),
        ("load_shedding", 400, (4, 1504022)),
        ("denied", 403, (200, None)),
        ("token_dead", 400, (190, 463)),
    ],
)
def test_fault_errors(kind: str, status: int, error: tuple[int, int | None]) -> None:
    """A fault responds with its code, on the configured account only, and the next call succeeds."""
    driven = drive({"fault": [{"kind": kind, "calls": 1, "accounts": ["act_1"]}]})
    assert driven.insights("act_2").status == 200
    hit = driven.insights("act_1")
    assert (hit.status, error_of(hit)) == (status, error)
    assert driven.insights("act_1").status == 200


def test_a_token_expires_midway() -> None:
    """From the configured call on, every account of the token gets the configured subcode."""
    driven = drive({"fault": [{"kind": "token_dead", "after_calls": 2, "subcode": 460}]})
    assert [driven.insights(f"act_{number}").status for number in (1, 2, 3, 4)] == [200, 200, 400, 400]
    assert error_of(driven.insights("act_5")) == (190, 460)


def test_pages_that_are_too_heavy() -> None:
    """A page above the size limit is code 1 with HTTP 500; fewer rows or lighter fields succeed."""
    driven = drive({"size": {"page_cells": 40}})
    heavy = driven.insights(time_increment=1)
    assert (heavy.status, error_of(heavy)) == (500, (1, None))
    assert "reduce the amount of data" in json.loads(heavy.body)["error"]["message"]
    assert driven.insights(time_increment=1, limit=8).status == 200
    assert driven.insights(time_increment=1, limit=40, fields="spend").status == 200
    assert driven.insights(limit=8, fields="actions").status == 500


def test_queries_with_too_many_rows() -> None:
    """Too many rows are 100/1487534 at any page size; fewer days succeed."""
    driven = drive({"size": {"sync_rows": 10}})
    assert error_of(driven.insights(time_increment=1, limit=1)) == (100, 1487534)
    assert driven.insights().status == 200


def test_poison() -> None:
    """A poisoned ad fails every query about it, whatever its size or level; other queries succeed."""
    clean = drive()
    ads = [row["ad_id"] for row in json.loads(clean.insights().body)["data"]]
    driven = drive({"poison": [{"account": "act_1", "ad": ads[0]}]})
    only = {
        name: json.dumps([{"field": "ad.id", "operator": "IN", "value": ids}])
        for name, ids in {"poisoned": ads[:1], "others": ads[1:]}.items()
    }
    assert driven.insights().status == driven.insights(level="account").status == 500
    assert driven.insights(limit=1, fields="spend", filtering=only["poisoned"]).status == 500
    assert driven.insights(filtering=only["others"]).status == driven.insights("act_2").status == 200


@pytest.mark.parametrize("level", ["campaign", "adset", "ad"])
def test_insights_of_one_object(level: str) -> None:
    """A campaign, an ad set and an ad have insights of their own, synchronously and as a report."""
    driven = drive()
    query_params = {"level": level, "fields": f"{level}_id,impressions", "time_range": RANGE}
    rows = json.loads(driven.insights(**query_params).body)["data"]
    row = rows[0]
    name = row[f"{level}_id"]
    assert driven.get(f"{name}/insights", fields=f"{level}_id,impressions", time_range=RANGE)["data"] == [row]
    run_id = driven.submit(name, level=level, fields=f"{level}_id,impressions", time_range=RANGE)
    driven.wait(600)
    assert driven.get(f"{run_id}/insights")["data"] == [row]
    assert driven.platform.calls.counts()["accounts"] == {"act_1": 4}


def test_missing_objects() -> None:
    """Unknown ids, a level above the object, and unknown edges of an object are errors."""
    driven = drive()
    ad_id = json.loads(driven.insights().body)["data"][0]["ad_id"]
    for name in (f"{ad_id[:9]}9999{ad_id[13:]}", f"2{ad_id[1:]}", "123456789012345678", "1" * 17):
        assert error_of(driven.call(f"{name}/insights")) == (100, 33)
    assert error_of(driven.call(f"{ad_id}/insights", level="account")) == (100, None)
    assert error_of(driven.call(f"{ad_id}/leads"))[0] == 2500


def test_errors_and_polls_have_usage_headers() -> None:
    """Error responses, polls and results have usage headers."""
    driven = drive({"quota": {"headers_above": 0, "base_calls": 3, "calls_per_ad": 0}})
    run_id = driven.submit()
    assert "X-Business-Use-Case-Usage" in driven.call(run_id).headers
    assert "X-FB-Ads-Insights-Throttle" in driven.call(f"{run_id}/insights").headers
    refused = driven.insights()
    assert error_of(refused) == (80000, 2446079)
    assert json.loads(refused.headers["X-Business-Use-Case-Usage"])["1"][1]["call_count"] == 133


def test_the_log_has_early_calls_and_costs() -> None:
    """Each call is logged with account, time, cost and faults; a call during a block is early, one after it is not."""
    driven = drive({"quota": {"base_calls": 1, "calls_per_ad": 0}, "fault": [{"kind": "empty_pages", "every": 3}]})
    driven.insights()
    driven.insights()
    driven.wait(60)
    driven.insights()
    driven.wait(3_600)
    driven.insights()
    entries, after = driven.platform.calls.entries()
    assert [entry.early for entry in entries] == [False, False, True, False]
    assert [entry.code for entry in entries] == [None, 80000, 80000, None]
    assert [(entry.at - NOW).total_seconds() for entry in entries] == [0, 0, 60, 3660]
    assert entries[0].cpu_ms > 0 == entries[1].cpu_ms
    assert entries[0].rows > 0
    assert entries[2].faults == ("empty_pages",)
    assert {entry.account for entry in entries} == {"act_1"}
    assert driven.platform.calls.entries(after) == ([], after)
    assert driven.platform.calls.entries(3)[0] == entries[3:]


def test_early_calls_with_an_hourly_limit() -> None:
    """With the plain hourly limit, a call during a block is early as well."""
    driven = drive(hourly_limit=1)
    for _ in range(3):
        driven.insights()
    assert [entry.early for entry in driven.platform.calls.entries()[0]] == [False, False, True]


def test_the_clock_can_be_scaled_and_moved() -> None:
    """A time scale speeds the clock up; advancing moves it, and a frozen clock stays frozen."""
    platform = AppState(SimulatorConfig(now=NOW, time_scale=3_600_000))
    first = platform.clock.now()
    while (passed := platform.clock.now() - first) == timedelta():
        pass
    assert passed > timedelta(milliseconds=1)
    platform.set_now(NOW, frozen=True)
    platform.advance(3_600)
    assert (platform.clock.now(), platform.clock.frozen) == (NOW + timedelta(hours=1), True)


def test_the_fault_profile_can_change() -> None:
    """New faults keep the used quota, new limits reset it; a reset restores the first profile and clears reports."""
    driven = drive(hourly_limit=1)
    driven.submit()
    driven.platform.set_fault_profile(parse_fault_profile({"fault": [{"kind": "denied"}]}, "profile"))
    assert error_of(driven.insights()) == (200, None)
    driven.platform.set_fault_profile(parse_fault_profile({}, "profile"))
    assert error_of(driven.insights()) == (80000, 2446079)
    driven.platform.set_fault_profile(parse_fault_profile({"quota": {}}, "profile"))
    assert driven.insights().status == 200
    driven.platform.reset()
    assert driven.platform.report_runs.runs() == []
    assert driven.platform.fault_profile == driven.platform.config.fault_profile


def test_equal_profiles_are_reproducible() -> None:
    """Equal calls under equal profiles get the same faults and the same bytes."""

    def story() -> list[Any]:
        driven = drive({"fault": [{"kind": "transient_2", "rate": 0.5}, {"kind": "truncated", "rate": 0.3}]})
        return [driven.insights(f"act_{number % 3 + 1}").body for number in range(12)]

    assert story() == story()


def test_calls_in_flight() -> None:
    """Open calls about an account are counted while they are open."""
    log = drive().platform.calls
    with log.open_call("act_1"), log.open_call("act_1"), log.open_call("act_2"):
        assert log.in_flight("act_1") == 2
    assert log.in_flight("act_1") == 1
