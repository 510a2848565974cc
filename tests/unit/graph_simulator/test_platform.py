"""The platform as a whole: errors on purpose, sizes, objects, limits, time and the log."""

import json
from datetime import timedelta
from typing import Any

import pytest

from adwarm.foundation.clock import FrozenClock
from graph_simulator.app_state import Platform
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import read_storm
from tests.unit.graph_simulator.conftest import NOW, TIME_RANGE, error_codes, make_simulator


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
def test_errors_on_purpose(kind: str, status: int, error: tuple[int, int | None]) -> None:
    """Each fault is its code, on one account only, and the call after it is answered."""
    driven = make_simulator({"fault": [{"kind": kind, "calls": 1, "accounts": ["act_1"]}]})
    assert driven.insights("act_2").status == 200
    hit = driven.insights("act_1")
    assert (hit.status, error_codes(hit)) == (status, error)
    assert driven.insights("act_1").status == 200


def test_the_token_dies_midway() -> None:
    """From the stated call on, every account of the token is refused, with the stated subcode."""
    driven = make_simulator({"fault": [{"kind": "token_dead", "after_calls": 2, "subcode": 460}]})
    assert [driven.insights(f"act_{number}").status for number in (1, 2, 3, 4)] == [200, 200, 400, 400]
    assert error_codes(driven.insights("act_5")) == (190, 460)


def test_pages_that_are_too_heavy() -> None:
    """A page over its weight is code 1 with HTTP 500; with fewer rows or lighter fields it is answered."""
    driven = make_simulator({"size": {"page_cells": 40}})
    heavy = driven.insights(time_increment=1)
    assert (heavy.status, error_codes(heavy)) == (500, (1, None))
    assert "reduce the amount of data" in json.loads(heavy.body)["error"]["message"]
    assert driven.insights(time_increment=1, limit=8).status == 200
    assert driven.insights(time_increment=1, limit=40, fields="spend").status == 200
    assert driven.insights(limit=8, fields="actions").status == 500


def test_questions_with_too_many_rows() -> None:
    """Too many rows are 100/1487534 at any page size; fewer days are answered."""
    driven = make_simulator({"size": {"sync_rows": 10}})
    assert error_codes(driven.insights(time_increment=1, limit=1)) == (100, 1487534)
    assert driven.insights().status == 200


def test_poison() -> None:
    """A poisoned ad fails every question about it, whatever its size or level; others are answered."""
    clean = make_simulator()
    ads = [row["ad_id"] for row in json.loads(clean.insights().body)["data"]]
    driven = make_simulator({"poison": [{"account": "act_1", "ad": ads[0]}]})
    only = {name: json.dumps([{"field": "ad.id", "operator": "IN", "value": ids}]) for name, ids in
            {"poisoned": ads[:1], "others": ads[1:]}.items()}  # fmt: skip
    assert driven.insights().status == driven.insights(level="account").status == 500
    assert driven.insights(limit=1, fields="spend", filtering=only["poisoned"]).status == 500
    assert driven.insights(filtering=only["others"]).status == driven.insights("act_2").status == 200


@pytest.mark.parametrize("level", ["campaign", "adset", "ad"])
def test_insights_of_one_object(level: str) -> None:
    """A campaign, an ad set and an ad answer for themselves, synchronously and as a report."""
    driven = make_simulator()
    asked = {"level": level, "fields": f"{level}_id,impressions", "time_range": TIME_RANGE}
    rows = json.loads(driven.insights(**asked).body)["data"]
    row = rows[0]
    name = row[f"{level}_id"]
    assert driven.get(f"{name}/insights", fields=f"{level}_id,impressions", time_range=TIME_RANGE)["data"] == [row]
    run_id = driven.submit(name, level=level, fields=f"{level}_id,impressions", time_range=TIME_RANGE)
    driven.wait(600)
    assert driven.get(f"{run_id}/insights")["data"] == [row]
    assert driven.platform.calls.counts()["accounts"] == {"act_1": 4}


def test_objects_that_are_not_there() -> None:
    """Ids of nobody, a level above the object, and paths under an object are refused."""
    driven = make_simulator()
    ad_id = json.loads(driven.insights().body)["data"][0]["ad_id"]
    for name in (f"{ad_id[:9]}9999{ad_id[13:]}", f"2{ad_id[1:]}", "123456789012345678", "1" * 17):
        assert error_codes(driven.call(f"{name}/insights")) == (100, 33)
    assert error_codes(driven.call(f"{ad_id}/insights", level="account")) == (100, None)
    assert error_codes(driven.call(f"{ad_id}/leads"))[0] == 2500


def test_headers_go_out_with_errors_and_polls() -> None:
    """Usage is told with refusals, polls and results too."""
    driven = make_simulator({"quota": {"headers_above": 0, "base_calls": 3, "calls_per_ad": 0}})
    run_id = driven.submit()
    assert "X-Business-Use-Case-Usage" in driven.call(run_id).headers
    assert "X-FB-Ads-Insights-Throttle" in driven.call(f"{run_id}/insights").headers
    refused = driven.insights()
    assert error_codes(refused) == (80000, 2446079)
    assert json.loads(refused.headers["X-Business-Use-Case-Usage"])["1"][1]["call_count"] == 133


def test_the_log_tells_early_calls_and_costs() -> None:
    """Each call is logged with account, time, cost and faults; a call during a block is early, one after it is not."""
    driven = make_simulator({
        "quota": {"base_calls": 1, "calls_per_ad": 0},
        "fault": [{"kind": "empty_pages", "every": 3}],
    })
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


def test_a_calm_hourly_limit_tells_early_calls() -> None:
    """With calls counted only, a call before the moment that was told is early as well."""
    driven = make_simulator(hourly_limit=1)
    for _ in range(3):
        driven.insights()
    assert [entry.early for entry in driven.platform.calls.entries()[0]] == [False, False, True]


def test_time_can_be_scaled_and_jumped() -> None:
    """At a scale the platform's clock runs faster; a jump moves it, and leaves a clock that stands still standing."""
    platform = Platform(SimulatorConfig(now=NOW, time_scale=3_600_000))
    first = platform.clock.now()
    while (passed := platform.clock.now() - first) == timedelta():
        pass
    assert passed > timedelta(milliseconds=1)
    platform.set_now(NOW, frozen=True)
    platform.advance(3_600)
    assert platform.clock == FrozenClock(NOW + timedelta(hours=1))


def test_a_storm_can_change() -> None:
    """New faults keep what was spent; new limits forget it; a reset brings the first storm and no reports back."""
    driven = make_simulator(hourly_limit=1)
    driven.submit()
    driven.platform.set_storm(read_storm({"fault": [{"kind": "denied"}]}, "storm"))
    assert error_codes(driven.insights()) == (200, None)
    driven.platform.set_storm(read_storm({}, "storm"))
    assert error_codes(driven.insights()) == (80000, 2446079)
    driven.platform.set_storm(read_storm({"quota": {}}, "storm"))
    assert driven.insights().status == 200
    driven.platform.reset()
    assert driven.platform.desk.jobs() == []
    assert driven.platform.storm == driven.platform.config.storm


def test_equal_storms_are_equal() -> None:
    """The same calls meet the same faults and get the same bytes."""

    def story() -> list[Any]:
        driven = make_simulator({"fault": [{"kind": "transient_2", "rate": 0.5}, {"kind": "truncated", "rate": 0.3}]})
        return [driven.insights(f"act_{number % 3 + 1}").body for number in range(12)]

    assert story() == story()


def test_calls_in_flight() -> None:
    """Open calls about an account are counted while they are open."""
    log = make_simulator().platform.calls
    with log.open_call("act_1"), log.open_call("act_1"), log.open_call("act_2"):
        assert log.in_flight("act_1") == 2
    assert log.in_flight("act_1") == 1
