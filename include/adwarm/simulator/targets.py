"""What a call is about: its route, its account, and the object that its path names."""

from dataclasses import dataclass
from datetime import datetime

from adwarm.errors import BadRequest
from adwarm.model import account_id
from adwarm.simulator.call import Call
from adwarm.simulator.faults.kinds import Route
from adwarm.simulator.objects import EDGES, Node, find_node
from adwarm.simulator.reports.desk import ReportDesk
from adwarm.simulator.world import World


@dataclass(frozen=True, slots=True)
class Target:
    """A call's route and account (in canonical form, existing or not), and the campaign, ad set or ad it names."""

    route: Route
    account: str | None = None
    node: Node | None = None


def target_of(call: Call, world: World, desk: ReportDesk, now: datetime) -> Target:
    """Return what `call` is about; a path that means nothing has the route `other`."""
    if call.parts == ("me", "adaccounts"):
        return Target(Route.ADACCOUNTS)
    if not call.parts:
        return Target(Route.BATCH if call.method == "POST" and "batch" in call.params else Route.OTHER)
    if call.account is not None:
        return Target(_route(call), _canonical(call.account))
    if call.parts[1:2] and call.parts[1] in EDGES and len(call.parts) == 2:
        node = find_node(world, call.parts[0], now.date())
        if node is not None:
            return Target(Route.OBJECTS if call.method == "GET" else Route.OTHER, node.account, node)
    owner = desk.owner(call.parts[0])
    if owner is not None:
        routes = {(): Route.POLL, ("insights",): Route.RESULT}
        return Target(routes.get(call.parts[1:], Route.OTHER), owner)
    node = find_node(world, call.parts[0], now.date())
    if node is None or call.parts[1:] != ("insights",):
        return Target(Route.OTHER, None if node is None else node.account, node)
    return Target(_route(call), node.account, node)


def _route(call: Call) -> Route:
    if call.parts[1:] == ():
        return Route.ACCOUNT
    if len(call.parts) == 2 and call.parts[1] in EDGES and call.method == "GET":
        return Route.OBJECTS
    if call.parts[1:] == ("insights",):
        return Route.SUBMIT if call.method == "POST" else Route.INSIGHTS
    return Route.OTHER


def _canonical(name: str) -> str | None:
    try:
        return account_id(name)
    except BadRequest:
        return None
