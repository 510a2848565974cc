"""The four usage headers: percentages that may exceed 100, minutes until access comes back, seconds until a reset."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from graph_simulator.fault_profile import UsageSetting


@dataclass
class Usage:
    """How much is used at one moment, in percent.

    Attributes:
        hour: calls, computing and answering time of the account.
        throttle: of app and account, as the insights throttle tells.
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
    """Return the headers of one answer; those about low usage are absent, the insights throttle never is."""
    found: dict[str, object] = {}
    if usage.app >= usage.headers_above:
        found["X-App-Usage"] = {"call_count": int(usage.app), "total_time": 0, "total_cputime": int(usage.load)}
    if usage.account and max(usage.score, *usage.hour) >= usage.headers_above:
        found["X-Ad-Account-Usage"] = {
            "acc_id_util_pct": round(usage.score, 2),
            "reset_time_duration": math.ceil(usage.reset_seconds),
            "ads_api_access_tier": usage.tier,
        }
        found["X-Business-Use-Case-Usage"] = {usage.account.removeprefix("act_"): _use_cases(usage)}
    if insights:
        found["X-FB-Ads-Insights-Throttle"] = {
            "app_id_util_pct": round(usage.throttle[0], 2),
            "acc_id_util_pct": round(usage.throttle[1], 2),
            "ads_api_access_tier": usage.tier,
        }
    return {name: orjson.dumps(value).decode() for name, value in found.items()}


def _use_cases(usage: Usage) -> list[dict[str, object]]:
    calls, cpu, wall = (int(percent) for percent in usage.hour)
    insights = _use_case("ads_insights", calls, cpu, wall, math.ceil(usage.regain_seconds / 60), usage.tier)
    return [_use_case("ads_management", int(usage.score), 0, 0, 0, usage.tier), insights]


def _use_case(kind: str, calls: int, cpu: int, wall: int, regain: int, tier: str) -> dict[str, object]:
    return {
        "type": kind,
        "call_count": calls,
        "total_cputime": cpu,
        "total_time": wall,
        "estimated_time_to_regain_access": regain,
        "ads_api_access_tier": tier,
    }


_ACCOUNT, _CASES, _THROTTLE = "X-Ad-Account-Usage", "X-Business-Use-Case-Usage", "X-FB-Ads-Insights-Throttle"


def told_usage(
    headers: Mapping[str, str], setting: UsageSetting, account: str | None, *, insights: bool
) -> dict[str, str]:
    """Return the usage headers of an answer about `account`, with the fixed figures laid over the real ones."""
    found = dict(headers)
    if account is None or (setting.accounts and account not in setting.accounts):
        return found
    own = {"acc_id_util_pct": setting.acc_id_util_pct, "reset_time_duration": setting.reset_time_duration}
    _lay_over(found, _ACCOUNT, own)
    if insights:
        throttle = {"acc_id_util_pct": setting.acc_id_util_pct, "app_id_util_pct": setting.app_id_util_pct}
        _lay_over(found, _THROTTLE, throttle)
    if setting.use_case:
        found[_CASES] = orjson.dumps(_cases(found.get(_CASES, "{}"), setting, account)).decode()
    return found


def _lay_over(headers: dict[str, str], name: str, figures: Mapping[str, float | None]) -> None:
    said = {figure: value for figure, value in figures.items() if value is not None}
    if said:
        tier = {"ads_api_access_tier": "standard_access"}
        headers[name] = orjson.dumps({**tier, **orjson.loads(headers.get(name, "{}")), **said}).decode()


def _cases(text: str, setting: UsageSetting, account: str) -> dict[str, Any]:
    cases: dict[str, Any] = orjson.loads(text)
    for case in setting.use_case:
        entry = {**case.model_dump(exclude={"object"}), "ads_api_access_tier": "standard_access"}
        owner = account.removeprefix("act_") if case.object is None else case.object
        cases[owner] = [*(item for item in cases.get(owner, []) if item["type"] != case.type), entry]
    return cases
