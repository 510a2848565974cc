"""The four usage headers, and the fixed figures with which a fault profile can override them.

Percentages may exceed 100. `estimated_time_to_regain_access` is in minutes, `reset_time_duration` in seconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from graph_simulator.fault_profile import UsageSetting

_APP, _ACCOUNT = "X-App-Usage", "X-Ad-Account-Usage"
_USE_CASES, _THROTTLE = "X-Business-Use-Case-Usage", "X-FB-Ads-Insights-Throttle"


@dataclass
class Usage:
    """Usage at one moment, in percent.

    Attributes:
        account: the account of the call; empty when there is none.
        hour: calls, CPU time and wall time of the account.
        reset_seconds: seconds until the score is reset.
        headers_above: usage below which headers are left out.
        throttle: the insights throttle of the app and of the account.
    """

    tier: str
    app: float = 0.0
    load: float = 0.0
    account: str = ""
    hour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    score: float = 0.0
    regain_seconds: float = 0.0
    reset_seconds: float = 0.0
    headers_above: float = 0.0
    throttle: tuple[float, float] = (0.0, 0.0)


def usage_headers(usage: Usage, *, insights: bool) -> dict[str, str]:
    """Return the headers of a response. Low usage is left out, except the throttle of an insights response."""
    headers: dict[str, object] = {}
    if usage.app >= usage.headers_above:
        headers[_APP] = {"call_count": int(usage.app), "total_time": 0, "total_cputime": int(usage.load)}
    if usage.account and max(usage.score, *usage.hour) >= usage.headers_above:
        headers[_ACCOUNT] = {
            "acc_id_util_pct": round(usage.score, 2),
            "reset_time_duration": math.ceil(usage.reset_seconds),
            "ads_api_access_tier": usage.tier,
        }
        headers[_USE_CASES] = {usage.account.removeprefix("act_"): _use_cases(usage)}
    if insights:
        headers[_THROTTLE] = {
            "app_id_util_pct": round(usage.throttle[0], 2),
            "acc_id_util_pct": round(usage.throttle[1], 2),
            "ads_api_access_tier": usage.tier,
        }
    return {name: orjson.dumps(value).decode() for name, value in headers.items()}


def override_usage(
    headers: Mapping[str, str], setting: UsageSetting, account: str | None, *, insights: bool
) -> dict[str, str]:
    """Return the usage headers of a response about `account` with the fixed figures of a fault profile."""
    overridden = dict(headers)
    if account is None or (setting.accounts and account not in setting.accounts):
        return overridden
    own = {"acc_id_util_pct": setting.acc_id_util_pct, "reset_time_duration": setting.reset_time_duration}
    _override(overridden, _ACCOUNT, own)
    if insights:
        throttle = {"acc_id_util_pct": setting.acc_id_util_pct, "app_id_util_pct": setting.app_id_util_pct}
        _override(overridden, _THROTTLE, throttle)
    if setting.use_case:
        cases = _with_extra_use_cases(overridden.get(_USE_CASES, "{}"), setting, account)
        overridden[_USE_CASES] = orjson.dumps(cases).decode()
    return overridden


def _use_cases(usage: Usage) -> list[dict[str, object]]:
    calls, cpu, wall = (int(percent) for percent in usage.hour)
    regain_minutes = math.ceil(usage.regain_seconds / 60)
    return [
        {
            "type": "ads_management",
            "call_count": int(usage.score),
            "total_cputime": 0,
            "total_time": 0,
            "estimated_time_to_regain_access": 0,
            "ads_api_access_tier": usage.tier,
        },
        {
            "type": "ads_insights",
            "call_count": calls,
            "total_cputime": cpu,
            "total_time": wall,
            "estimated_time_to_regain_access": regain_minutes,
            "ads_api_access_tier": usage.tier,
        },
    ]


def _override(headers: dict[str, str], name: str, figures: Mapping[str, float | None]) -> None:
    fixed = {figure: value for figure, value in figures.items() if value is not None}
    if fixed:
        tier = {"ads_api_access_tier": "standard_access"}
        headers[name] = orjson.dumps({**tier, **orjson.loads(headers.get(name, "{}")), **fixed}).decode()


def _with_extra_use_cases(text: str, setting: UsageSetting, account: str) -> dict[str, Any]:
    cases: dict[str, Any] = orjson.loads(text)
    for case in setting.use_case:
        entry = {**case.model_dump(exclude={"object"}), "ads_api_access_tier": "standard_access"}
        owner = account.removeprefix("act_") if case.object is None else case.object
        cases[owner] = [*(item for item in cases.get(owner, []) if item["type"] != case.type), entry]
    return cases
