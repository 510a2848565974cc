"""Usage headers as a storm wants them told: fixed figures over the real ones, and entries about other things."""

from collections.abc import Mapping
from typing import Any

import orjson

from graph_simulator.fault_profile import UsageSetting

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
