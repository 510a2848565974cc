"""Campaigns, ad sets and ads as objects: whose one is, found by its id, and which there are below another."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from graph_simulator.ads import AdTruth
from graph_simulator.dataset import Dataset, object_id
from graph_simulator.graph_errors import UnknownAd, bad_parameter
from graph_simulator.levels import FOUNDED, LEVELS, object_name, slots_of_level
from graph_simulator.query import ACTIVE, ENDED

EDGES = {"campaigns": "campaign", "adsets": "adset", "ads": "ad"}
_DAYS_LISTED = 400
_LEVELS = {"1": "ad", "2": "adset", "3": "campaign"}


@dataclass(frozen=True, slots=True)
class Node:
    """A campaign, ad set or ad, and its account."""

    account: str
    level: str
    id: str


def find_node(dataset: Dataset, name: str, today: date) -> Node | None:
    """Return the object with the id `name`; None when there is none by `today`."""
    level = _LEVELS.get(name[:1]) if len(name) == 18 and name.isdecimal() and name.isascii() else None
    account = None if level is None else dataset.account_by_part(name[1:9])
    if level is None or account is None:
        return None
    node = Node(account, level, name)
    return node if _is_there(dataset, node, today) else None


def _is_there(dataset: Dataset, node: Node, today: date) -> bool:
    if node.level == "ad":
        try:
            return dataset.truth(node.account, node.id).started <= today
        except UnknownAd:
            return False
    profile = dataset.profile(node.account)
    place = int(node.id[9:13])
    there = place * slots_of_level(node.level) < profile.slots
    return there and node.id == object_id(node.id[0], profile, place)


def object_facts(dataset: Dataset, node: Node, today: date) -> dict[str, Any]:
    """Return everything known of an object."""
    profile, place = dataset.profile(node.account), int(node.id[9:13])
    ids = {"id": node.id, "account_id": node.account.removeprefix("act_")}
    slot = place if node.level == "ad" else place * slots_of_level(node.level)
    for level, kind in (("adset", "2"), ("campaign", "3")):
        if LEVELS.index(level) < LEVELS.index(node.level):
            ids[f"{level}_id"] = object_id(kind, profile, slot // slots_of_level(level))
    if node.level != "ad":
        return facts_of(node.level, ids, ACTIVE)
    truth = dataset.truth(node.account, node.id)
    return facts_of("ad", ids, _standing(truth, today), truth.started)


def objects_below(
    dataset: Dataset, account: str, node: Node | None, level: str, today: date
) -> Iterator[dict[str, str]]:
    """Yield the objects of `level` in an account, or below an object of it: id, standing, last change; old ads first.

    Ads that ended over a year ago are not among them.
    """
    profile = dataset.profile(account)
    slots = _slots_of(node, profile.slots)
    if node is not None and LEVELS.index(level) <= LEVELS.index(node.level):
        return
    if level == "ad":
        for truth in dataset.truths_between(account, today - timedelta(_DAYS_LISTED), today):
            if int(truth.ad_id[9:13]) in slots:
                yield _listed(truth.ad_id, _standing(truth, today), truth.started)
        return
    per = slots_of_level(level)
    for place in range(slots.start // per, (slots.stop - 1) // per + 1):
        yield _listed(object_id("2" if level == "adset" else "3", profile, place), ACTIVE, FOUNDED)


def _listed(name: str, standing: str, updated: date) -> dict[str, str]:
    return {"id": name, "effective_status": standing, "updated_time": time_of(updated)}


def _standing(truth: AdTruth, today: date) -> str:
    return ENDED if truth.ended < today else ACTIVE


def _slots_of(node: Node | None, slots: int) -> range:
    """Return the slots of ads that an object holds; of an ad its own."""
    if node is None:
        return range(slots)
    per = 1 if node.level == "ad" else slots_of_level(node.level)
    first = int(node.id[9:13]) * per
    return range(first, min(first + per, slots))


_OF_EVERY = frozenset({
    "id", "account_id", "name", "status", "effective_status", "configured_status", "created_time", "updated_time",
    "adlabels", "issues_info", "recommendations", "source_campaign_id", "source_adset_id", "source_ad_id",
})  # fmt: skip
_TAKEN = {
    "campaign": _OF_EVERY | {
        "objective", "buying_type", "start_time", "stop_time", "daily_budget", "lifetime_budget", "budget_remaining",
        "spend_cap", "bid_strategy", "special_ad_categories", "special_ad_category", "special_ad_category_country",
        "boosted_object_id", "budget_rebalance_flag", "smart_promotion_type", "ads",
    },
    "adset": _OF_EVERY | {
        "campaign_id", "start_time", "end_time", "daily_budget", "lifetime_budget", "budget_remaining",
        "optimization_goal", "billing_event", "bid_amount", "bid_strategy", "bid_info", "bid_constraints", "targeting",
        "promoted_object", "attribution_spec", "learning_stage_info", "destination_type",
    },
    "ad": _OF_EVERY | {
        "campaign_id", "adset_id", "creative", "targeting", "tracking_specs", "conversion_specs", "bid_amount",
        "bid_info", "bid_type", "last_updated_by_app_id", "conversion_domain",
    },
}  # fmt: skip
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
