"""Campaigns, ad sets and ads as objects: whose one is, found by its id, and which there are below another."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from graph_simulator.ads import AdTruth
from graph_simulator.dataset import World, object_id
from graph_simulator.errors import UnknownAd
from graph_simulator.facts import facts_of, time_of
from graph_simulator.filters import ACTIVE, ENDED
from graph_simulator.levels import FOUNDED, LEVELS, slots_of_level

EDGES = {"campaigns": "campaign", "adsets": "adset", "ads": "ad"}
_DAYS_LISTED = 400
_LEVELS = {"1": "ad", "2": "adset", "3": "campaign"}


@dataclass(frozen=True, slots=True)
class Node:
    """A campaign, ad set or ad, and its account."""

    account: str
    level: str
    id: str


def find_node(world: World, name: str, today: date) -> Node | None:
    """Return the object with the id `name`; None when there is none by `today`."""
    level = _LEVELS.get(name[:1]) if len(name) == 18 and name.isdecimal() and name.isascii() else None
    account = None if level is None else world.account_by_part(name[1:9])
    if level is None or account is None:
        return None
    node = Node(account, level, name)
    return node if _is_there(world, node, today) else None


def _is_there(world: World, node: Node, today: date) -> bool:
    if node.level == "ad":
        try:
            return world.truth(node.account, node.id).started <= today
        except UnknownAd:
            return False
    profile = world.profile(node.account)
    place = int(node.id[9:13])
    there = place * slots_of_level(node.level) < profile.slots
    return there and node.id == object_id(node.id[0], profile, place)


def object_facts(world: World, node: Node, today: date) -> dict[str, Any]:
    """Return everything known of an object."""
    profile, place = world.profile(node.account), int(node.id[9:13])
    ids = {"id": node.id, "account_id": node.account.removeprefix("act_")}
    slot = place if node.level == "ad" else place * slots_of_level(node.level)
    for level, kind in (("adset", "2"), ("campaign", "3")):
        if LEVELS.index(level) < LEVELS.index(node.level):
            ids[f"{level}_id"] = object_id(kind, profile, slot // slots_of_level(level))
    if node.level != "ad":
        return facts_of(node.level, ids, ACTIVE)
    truth = world.truth(node.account, node.id)
    return facts_of("ad", ids, _standing(truth, today), truth.started)


def objects_below(world: World, account: str, node: Node | None, level: str, today: date) -> Iterator[dict[str, str]]:
    """Yield the objects of `level` in an account, or below an object of it: id, standing, last change; old ads first.

    Ads that ended over a year ago are not among them.
    """
    profile = world.profile(account)
    slots = _slots_of(node, profile.slots)
    if node is not None and LEVELS.index(level) <= LEVELS.index(node.level):
        return
    if level == "ad":
        for truth in world.truths_between(account, today - timedelta(_DAYS_LISTED), today):
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
