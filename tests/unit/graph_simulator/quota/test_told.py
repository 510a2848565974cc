"""Usage is told as a storm wants it told."""

import json
from typing import Any

from tests.unit.graph_simulator.conftest import SimulatorHarness, make_simulator

TIER = {"ads_api_access_tier": "standard_access"}


def header(driven: SimulatorHarness, name: str, account: str = "act_1", **params: Any) -> Any:
    """One usage header of an answer about insights, parsed; None when it is absent."""
    text = driven.insights(account, **params).headers.get(name)
    return None if text is None else json.loads(text)


def test_each_answer_says_100_percent() -> None:
    """Successes and refusals say so in both headers, with and without limits; others keep their own figures."""
    for quota in ({}, {"quota": {"headers_above": 50}}):
        driven = make_simulator({
            "usage": {"acc_id_util_pct": 100, "reset_time_duration": 60, "accounts": ["act_1"]},
            **quota,
        })
        for asked in ({}, {"fields": "colour"}):
            usage = header(driven, "X-Ad-Account-Usage", **asked)
            assert (usage["acc_id_util_pct"], usage["reset_time_duration"]) == (100, 60)
            assert header(driven, "X-FB-Ads-Insights-Throttle", **asked)["acc_id_util_pct"] == 100
        other = header(driven, "X-Ad-Account-Usage", "act_2")
        assert other is None or other["acc_id_util_pct"] < 1
        assert driven.insights().status == 200


def test_the_app_is_told_apart() -> None:
    """The app's figure is in the insights throttle only."""
    driven = make_simulator({"usage": {"app_id_util_pct": 88.5}})
    throttle = header(driven, "X-FB-Ads-Insights-Throttle")
    assert (throttle["app_id_util_pct"], throttle["acc_id_util_pct"] < 1) == (88.5, True)


def test_other_use_cases_and_objects() -> None:
    """Entries of another type, or about another object, stand beside the account's own."""
    cases = [
        {"type": "ads_management", "call_count": 100, "estimated_time_to_regain_access": 30},
        {"type": "ads_insights", "object": "777", "call_count": 100, "estimated_time_to_regain_access": 45},
    ]
    found = header(make_simulator({"usage": {"use_case": cases}}), "X-Business-Use-Case-Usage")
    own = {entry["type"]: entry for entry in found["1"]}
    assert own["ads_insights"]["call_count"] < 1
    assert own["ads_management"]["estimated_time_to_regain_access"] == 30
    assert found["777"] == [
        {"type": "ads_insights", "call_count": 100, "total_cputime": 0, "total_time": 0,
         "estimated_time_to_regain_access": 45, **TIER}
    ]  # fmt: skip


def test_calls_that_are_no_questions_have_no_throttle() -> None:
    """An account's facts tell its usage; the insights throttle is on answers about insights."""
    headers = make_simulator({"usage": {"acc_id_util_pct": 100}, "quota": {}}).call("act_1").headers
    assert json.loads(headers["X-Ad-Account-Usage"])["acc_id_util_pct"] == 100
    assert "X-FB-Ads-Insights-Throttle" not in headers
