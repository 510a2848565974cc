"""Whose an object is: campaigns, ad sets and ads found by their ids among the accounts there are."""

from dataclasses import dataclass
from datetime import date

from adwarm.errors import NotFound
from adwarm.simulator.levels import slots_of_level
from adwarm.simulator.world import World, object_id

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
        except NotFound:
            return False
    profile = world.profile(node.account)
    place = int(node.id[9:13])
    there = place * slots_of_level(node.level) < profile.slots
    return there and node.id == object_id(node.id[0], profile, place)
