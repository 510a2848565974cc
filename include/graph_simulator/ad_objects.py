"""Campaigns, ad sets and ads as objects: found by id, described by fields, and listed below one another.

An id has 18 digits: the level (1 ad, 2 ad set, 3 campaign), eight digits of the account, an index of four digits, and
for ads a generation of five digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from graph_simulator.ads import SLOTS_OF_CAMPAIGN, AdTruth, goal_of
from graph_simulator.dataset import Dataset, object_id
from graph_simulator.error_responses import UnknownAd, bad_parameter
from graph_simulator.fields import OBJECTIVES, OPTIMIZATION_GOALS
from graph_simulator.levels import ACTIVE, ENDED, FOUNDED, LEVELS, object_name, slots_of_level

EDGES = {"campaigns": "campaign", "adsets": "adset", "ads": "ad"}
_DAYS_LISTED = 400
_LEVEL_DIGITS = {"1": "ad", "2": "adset", "3": "campaign"}
_COMMON_FIELDS = frozenset({
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
_FIELDS = {
    "campaign": _COMMON_FIELDS
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
    "adset": _COMMON_FIELDS
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
    "ad": _COMMON_FIELDS
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
_TARGETING = {"age_min": 18, "age_max": 65, "geo_locations": {"countries": ["US"]}}
_SETTINGS: dict[str, dict[str, Any]] = {
    "campaign": {
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
        "billing_event": "IMPRESSIONS",
        "bid_strategy": "LOWEST_COST_WITHOUT_CAP",
        "destination_type": "WEBSITE",
        "targeting": _TARGETING,
        "promoted_object": {"pixel_id": "700000000000001", "custom_event_type": "PURCHASE"},
        "attribution_spec": [{"event_type": "CLICK_THROUGH", "window_days": 7}],
    },
    "ad": {
        "bid_type": "ABSOLUTE_OCPM",
        "targeting": _TARGETING,
        "tracking_specs": [{"action.type": ["offsite_conversion"], "fb_pixel": ["700000000000001"]}],
        "conversion_specs": [{"action.type": ["offsite_conversion"]}],
    },
}


@dataclass(frozen=True, slots=True)
class Node:
    """A campaign, ad set or ad, and its account."""

    account: str
    level: str
    id: str

    @property
    def index(self) -> int:
        """The index of the object among those of its level in the account; for ads the slot."""
        return int(self.id[9:13])


def find_object(dataset: Dataset, name: str, today: date) -> Node | None:
    """Return the object with the id `name`; None when it does not exist on `today`."""
    level = _LEVEL_DIGITS.get(name[:1]) if len(name) == 18 and name.isdecimal() and name.isascii() else None
    account = None if level is None else dataset.account_with_part(name[1:9])
    if level is None or account is None:
        return None
    node = Node(account, level, name)
    return node if _exists(dataset, node, today) else None


def _exists(dataset: Dataset, node: Node, today: date) -> bool:
    if node.level == "ad":
        try:
            return dataset.truth(node.account, node.id).started <= today
        except UnknownAd:
            return False
    profile = dataset.profile(node.account)
    in_account = node.index * slots_of_level(node.level) < profile.slots
    return in_account and node.id == object_id(node.id[0], profile, node.index)


def object_fields(dataset: Dataset, node: Node, today: date) -> dict[str, Any]:
    """Return all fields of an object that have a value."""
    profile = dataset.profile(node.account)
    ids = {"id": node.id, "account_id": node.account.removeprefix("act_")}
    slot = node.index if node.level == "ad" else node.index * slots_of_level(node.level)
    for level, kind in (("adset", "2"), ("campaign", "3")):
        if LEVELS.index(level) < LEVELS.index(node.level):
            ids[f"{level}_id"] = object_id(kind, profile, slot // slots_of_level(level))
    if node.level != "ad":
        return node_fields(node.level, ids, ACTIVE)
    truth = dataset.truth(node.account, node.id)
    return node_fields("ad", ids, _effective_status(truth, today), truth.started)


def node_fields(level: str, ids: dict[str, str], status: str, started: date | None = None) -> dict[str, Any]:
    """Return all fields of an object that have a value. Times are at midnight UTC.

    Args:
        ids: the object's own id as `id`, and the ids of its account and parents.
    """
    since = started or FOUNDED
    configured = "ACTIVE" if status == ACTIVE else "ARCHIVED"
    fields: dict[str, Any] = {
        **ids,
        "name": object_name(level, int(ids["id"][9:13]), int(ids["id"][13:])),
        "status": configured,
        "configured_status": configured,
        "effective_status": status,
        "created_time": time_of(since),
        "updated_time": time_of(since),
        **_SETTINGS[level],
    }
    if level == "ad":
        return fields | {"creative": {"id": creative_of(ids["id"])}}
    goal = goal_of(int(ids["id"][9:13]) * slots_of_level(level) // SLOTS_OF_CAMPAIGN)
    aim = {"objective": OBJECTIVES[goal]} if level == "campaign" else {"optimization_goal": OPTIMIZATION_GOALS[goal]}
    return fields | aim | {"start_time": time_of(since)}


def requested_fields(level: str, names: list[str]) -> tuple[str, ...]:
    """Return the fields to show of an object of `level`: the requested ones, and `id`.

    Raises:
        GraphError: such an object has no such field.
    """
    unknown = [name for name in names if name not in _FIELDS[level]]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type ({level.capitalize()})")
    return tuple(dict.fromkeys([*names, "id"]))


def creative_of(ad_id: str) -> str:
    """Return the id of the creative that an ad shows; of ten neighbors, the first two show the same."""
    return f"4{ad_id[1:-1]}{ad_id[-1].replace('1', '0')}"


def time_of(day: date) -> str:
    """Return midnight UTC of a day in the platform's format."""
    return f"{day}T00:00:00+0000"


def list_objects(
    dataset: Dataset, account: str, node: Node | None, level: str, today: date
) -> Iterator[dict[str, str]]:
    """Yield the objects of `level` in an account, or below `node`: id, effective status and time of the last update.

    Ads are listed by slot, then by age; those that ended over 400 days ago are left out.
    """
    profile = dataset.profile(account)
    slots = _slots(node, profile.slots)
    if node is not None and LEVELS.index(level) <= LEVELS.index(node.level):
        return
    if level == "ad":
        for truth in dataset.truths_between(account, today - timedelta(_DAYS_LISTED), today):
            if int(truth.ad_id[9:13]) in slots:
                yield _listed(truth.ad_id, _effective_status(truth, today), truth.started)
        return
    per = slots_of_level(level)
    for index in range(slots.start // per, (slots.stop - 1) // per + 1):
        yield _listed(object_id("2" if level == "adset" else "3", profile, index), ACTIVE, FOUNDED)


def _listed(name: str, status: str, updated: date) -> dict[str, str]:
    return {"id": name, "effective_status": status, "updated_time": time_of(updated)}


def _effective_status(truth: AdTruth, today: date) -> str:
    return ENDED if truth.ended < today else ACTIVE


def _slots(node: Node | None, slots: int) -> range:
    """Return the ad slots of an object; all `slots` of the account without one."""
    if node is None:
        return range(slots)
    per = 1 if node.level == "ad" else slots_of_level(node.level)
    first = node.index * per
    return range(first, min(first + per, slots))
