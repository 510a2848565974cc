"""Usage headers have the fixed figures of a fault profile."""

import json
from typing import Any

from tests.unit.graph_simulator.conftest import Driven, drive

TIER = {"ads_api_access_tier": "standard_access"}


def header(driven: Driven, name: str, account: str = "act_1", **params: Any) -> Any:
    """One usage header of an insights response, parsed; None when it is absent."""
    text = driven.insights(account, **params).headers.get(name)
    return None if text is None else json.loads(text)


def test_every_response_reports_100_percent() -> None:
    """Successes and errors report it in both headers, with and without limits; other accounts keep their figures."""
    for quota in ({}, {"quota": {"headers_above": 50}}):
        driven = drive({"usage": {"acc_id_util_pct": 100, "reset_time_duration": 60, "accounts": ["act_1"]}, **quota})
        for query_params in ({}, {"fields": "colour"}):
            usage = header(driven, "X-Ad-Account-Usage", **query_params)
            assert (usage["acc_id_util_pct"], usage["reset_time_duration"]) == (100, 60)
            assert header(driven, "X-FB-Ads-Insights-Throttle", **query_params)["acc_id_util_pct"] == 100
        other = header(driven, "X-Ad-Account-Usage", "act_2")
        assert other is None or other["acc_id_util_pct"] < 1
        assert driven.insights().status == 200


def test_the_apps_figure_is_separate() -> None:
    """The app's figure is in the insights throttle only."""
    driven = drive({"usage": {"app_id_util_pct": 88.5}})
    throttle = header(driven, "X-FB-Ads-Insights-Throttle")
    assert (throttle["app_id_util_pct"], throttle["acc_id_util_pct"] < 1) == (88.5, True)


def test_other_use_cases_and_objects() -> None:
    """Entries of another type, or about another object, are added to the account's own."""
    cases = [
        {"type": "ads_management", "call_count": 100, "estimated_time_to_regain_access": 30},
        {"type": "ads_insights", "object": "777", "call_count": 100, "estimated_time_to_regain_access": 45},
    ]
    result = header(drive({"usage": {"use_case": cases}}), "X-Business-Use-Case-Usage")
    own = {entry["type"]: entry for entry in result["1"]}
    assert own["ads_insights"]["call_count"] < 1
    assert own["ads_management"]["estimated_time_to_regain_access"] == 30
    assert result["777"] == [
        {
            "type": "ads_insights",
            "call_count": 100,
            "total_cputime": 0,
            "total_time": 0,
            "estimated_time_to_regain_access": 45,
            **TIER,
        }
    ]


def test_only_insights_have_the_throttle() -> None:
    """Responses about an account have its usage; only insights responses have the insights throttle."""
    headers = drive({"usage": {"acc_id_util_pct": 100}, "quota": {}}).call("act_1").headers
    assert json.loads(headers["X-Ad-Account-Usage"])["acc_id_util_pct"] == 100
    assert "X-FB-Ads-Insights-Throttle" not in headers
