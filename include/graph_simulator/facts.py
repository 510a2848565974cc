"""What is known of campaigns, ad sets and ads as objects: names, times, budgets and settings by level."""

from datetime import date
from typing import Any

from graph_simulator.errors import bad_parameter
from graph_simulator.levels import FOUNDED, object_name

_OF_EVERY = frozenset({
    "id",
    "account_id",
    "name",
    "status",
    "effective_status",
    "configured_status",
    "created_time",
    "updated_time",
    "adlabels",
    "issues_info",
    "recommendations",
    "source_campaign_id",
    "source_adset_id",
    "source_ad_id",
})
_TAKEN = {
    "campaign": _OF_EVERY
    | {
        "objective",
        "buying_type",
        "start_time",
        "stop_time",
        "daily_budget",
        "lifetime_budget",
        "budget_remaining",
        "spend_cap",
        "bid_strategy",
        "special_ad_categories",
        "special_ad_category",
        "special_ad_category_country",
        "boosted_object_id",
        "budget_rebalance_flag",
        "smart_promotion_type",
        "ads",
    },
    "adset": _OF_EVERY
    | {
        "campaign_id",
        "start_time",
        "end_time",
        "daily_budget",
        "lifetime_budget",
        "budget_remaining",
        "optimization_goal",
        "billing_event",
        "bid_amount",
        "bid_strategy",
        "bid_info",
        "bid_constraints",
        "targeting",
        "promoted_object",
        "attribution_spec",
        "learning_stage_info",
        "destination_type",
    },
    "ad": _OF_EVERY
    | {
        "campaign_id",
        "adset_id",
        "creative",
        "targeting",
        "tracking_specs",
        "conversion_specs",
        "bid_amount",
        "bid_info",
        "bid_type",
        "last_updated_by_app_id",
        "conversion_domain",
    },
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "campaign": {
        "objective": "OUTCOME_SALES",
        "buying_type": "AUCTION",
        "special_ad_categories": [],
        "special_ad_category": "NONE",
        "budget_remaining": "0",
        "budget_rebalance_flag": False,
        "smart_promotion_type": "GUIDED_CREATION",
    },
    "adset": {
        "daily_budget": "5000",
        "lifetime_budget": "0",
        "budget_remaining": "5000",
        "optimization_goal": "OFFSITE_CONVERSIONS",
        "billing_event": "IMPRESSIONS",
        "bid_strategy": "LOWEST_COST_WITHOUT_CAP",
        "destination_type": "WEBSITE",
        "targeting": {"age_min": 18, "age_max": 65, "geo_locations": {"countries": ["US"]}},
        "promoted_object": {"pixel_id": "700000000000001", "custom_event_type": "PURCHASE"},
        "attribution_spec": [{"event_type": "CLICK_THROUGH", "window_days": 7}],
    },
    "ad": {
        "bid_type": "ABSOLUTE_OCPM",
        "targeting": {"age_min": 18, "age_max": 65, "geo_locations": {"countries": ["US"]}},
        "tracking_specs": [{"action.type": ["offsite_conversion"], "fb_pixel": ["700000000000001"]}],
        "conversion_specs": [{"action.type": ["offsite_conversion"]}],
    },
}


def facts_of(level: str, ids: dict[str, str], standing: str, started: date | None = None) -> dict[str, Any]:
    """Return everything known of an object; `ids` are its own as `id`, its account's and its parents'.

    Times are at midnight in UTC, `started` being the first day of an ad.
    """
    since = started or FOUNDED
    facts: dict[str, Any] = {
        **ids,
        "name": object_name(level, int(ids["id"][9:13]), int(ids["id"][13:])),
        "status": "ACTIVE" if standing == "ACTIVE" else "ARCHIVED",
        "configured_status": "ACTIVE" if standing == "ACTIVE" else "ARCHIVED",
        "effective_status": standing,
        "created_time": time_of(since),
        "updated_time": time_of(since),
        **_SETTINGS[level],
    }
    if level == "ad":
        return facts | {"creative": {"id": f"4{ids['id'][1:]}"}}
    return facts | {"start_time": time_of(since)}


def fact_fields(level: str, wanted: list[str]) -> tuple[str, ...]:
    """Return the fields to show of an object of `level`: `id`, and those that are wanted.

    Raises:
        GraphError: such an object has no such field.
    """
    unknown = [name for name in wanted if name not in _TAKEN[level]]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type ({level.capitalize()})")
    return tuple(dict.fromkeys([*wanted, "id"]))


def time_of(day: date) -> str:
    """Return the midnight that begins a day, as the platform writes times."""
    return f"{day}T00:00:00+0000"
