"""Tests of reading usage headers, which never fails a call."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import Scope, ScopeKind, UsageSample
from adwarm.sources.meta.response_headers import parse_usage_headers

ACCOUNT, APP = Scope(ScopeKind.ACCOUNT, "act_1"), Scope(ScopeKind.APP, "7")
NAMES = ("X-App-Usage", "X-Ad-Account-Usage", "X-Business-Use-Case-Usage", "X-FB-Ads-Insights-Throttle")
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(-(2**60), 2**60), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from([
                "call_count",
                "acc_id_util_pct",
                "app_id_util_pct",
                "estimated_time_to_regain_access",
                "1",
            ]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def read(name: str, body: Any, account: Scope | None = ACCOUNT) -> tuple[UsageSample, ...]:
    """The samples of one header."""
    return parse_usage_headers({name: orjson.dumps(body).decode()}, account, APP)


def test_no_headers_no_samples() -> None:
    """Headers come only after enough calls; none is normal."""
    assert parse_usage_headers({"Content-Type": "application/json"}, ACCOUNT, APP) == ()


def test_app_usage_takes_the_highest_figure() -> None:
    """Of calls, time and CPU time the highest counts; names may have any case."""
    found = read("x-app-usage", {"call_count": 28, "total_time": 118, "total_cputime": 25})
    assert found == (UsageSample(APP, 118.0),)


@pytest.mark.parametrize(("percent", "regain"), [(9.67, None), (100, 100.0)])
def test_account_usage_has_a_regain_time_only_when_full(percent: float, regain: float | None) -> None:
    """The reset time, in seconds, is a wait only once the quota is used up."""
    found = read("X-Ad-Account-Usage", {"acc_id_util_pct": percent, "reset_time_duration": 100})
    assert found == (UsageSample(ACCOUNT, float(percent), regain),)


def test_business_usage_takes_the_highest_entry() -> None:
    """Of several entries the highest counts, and minutes become seconds."""
    entry = {"type": "ads_insights", "call_count": 100, "total_time": 25, "estimated_time_to_regain_access": 19}
    other = {"call_count": 5, "total_cputime": 101, "estimated_time_to_regain_access": 0}
    assert read("X-Business-Use-Case-Usage", {"1": [entry, other]}) == (UsageSample(ACCOUNT, 101.0, 1140.0),)


@pytest.mark.parametrize("use", ["ads_management", "custom_audience", "instagram", "leadgen", "messenger", "pages"])
def test_another_use_is_not_the_accounts_insights(use: str) -> None:
    """An entry of another use does not concern insights; an error about that use concerns its entry."""
    full = {"type": use, "call_count": 100, "total_cputime": 150, "estimated_time_to_regain_access": 30}
    ours = {"type": "ads_insights", "call_count": 12, "total_cputime": 5, "estimated_time_to_regain_access": 0}
    assert read("X-Business-Use-Case-Usage", {"1": [full]}) == ()
    assert read("X-Business-Use-Case-Usage", {"1": [full, ours]}) == (UsageSample(ACCOUNT, 12.0),)
    header = {"X-Business-Use-Case-Usage": orjson.dumps({"1": [full, ours]}).decode()}
    asked = {code: parse_usage_headers(header, ACCOUNT, APP, code) for code in (80000, 80003, 80004)}
    of_use = {"ads_management": 80004, "custom_audience": 80003}.get(use)
    assert asked == {
        code: (UsageSample(ACCOUNT, 150.0, 1800.0),)
        if code == of_use
        else (UsageSample(ACCOUNT, 12.0),)
        if code == 80000
        else ()
        for code in asked
    }


def test_another_object_is_not_the_account() -> None:
    """A used-up business, page or other account does not hold back the requested one."""
    full = {"type": "ads_insights", "call_count": 100, "estimated_time_to_regain_access": 30}
    ours = {"type": "ads_insights", "call_count": 12}
    assert read("X-Business-Use-Case-Usage", {"2": [full], "1016416": [full]}) == ()
    assert read("X-Business-Use-Case-Usage", {"2": [full], "act_1": [ours]}) == (UsageSample(ACCOUNT, 12.0),)


def test_business_usage_without_an_account() -> None:
    """In a call about no single account, each owner is its own scope."""
    found = read("X-Business-Use-Case-Usage", {"1": [{"call_count": 1}], "2": [{"call_count": 2}]}, None)
    assert [str(sample.scope) for sample in found] == ["account:act_1", "account:act_2"]


def test_the_throttle_header_has_app_and_account() -> None:
    """The insights throttle has a figure for each."""
    found = read("X-FB-Ads-Insights-Throttle", {"app_id_util_pct": 100, "acc_id_util_pct": 10})
    assert found == (UsageSample(APP, 100.0), UsageSample(ACCOUNT, 10.0))
    assert read("X-FB-Ads-Insights-Throttle", {"app_id_util_pct": 1, "acc_id_util_pct": 1}, None) == (
        UsageSample(APP, 1.0),
    )


def test_an_invalid_header_does_not_affect_the_others() -> None:
    """It is left out; the others are read."""
    found = parse_usage_headers({"X-App-Usage": "{cut", "X-Ad-Account-Usage": '{"acc_id_util_pct": 5}'}, ACCOUNT, APP)
    assert found == (UsageSample(ACCOUNT, 5.0),)


@given(st.sampled_from(NAMES), st.one_of(st.text(), json_values.map(lambda value: orjson.dumps(value).decode())))
def test_no_header_ever_fails_a_call(name: str, text: str) -> None:
    """Whatever a header holds, the figures of samples are finite and not negative."""
    for sample in parse_usage_headers({name: text}, ACCOUNT, APP):
        assert 0 <= sample.percent < float("inf")
        assert sample.regain_seconds is None or sample.regain_seconds > 0
