"""What a call is about: its route, its account, and the object that its path names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from adwarm.foundation.errors import BadRequest
from adwarm.model import normalize_account_id
from graph_simulator.call import Call
from graph_simulator.dataset import World
from graph_simulator.faults.kinds import Route
from graph_simulator.objects import EDGES, Node, find_node
from graph_simulator.reports.report_runs import ReportDesk

_EDGES_OF_IDS = frozenset({*EDGES, "insights"})
_ASKED = {"GET": Route.INSIGHTS, "POST": Route.SUBMIT}
_RUN = {("GET", ()): Route.POLL, ("DELETE", ()): Route.POLL, ("GET", ("insights",)): Route.RESULT}


@dataclass(frozen=True, slots=True)
class Target:
    """A call's route and account (in canonical form, existing or not), and the campaign, ad set or ad it names."""

    route: Route
    account: str | None = None
    node: Node | None = None


def target_of(call: Call, world: World, desk: ReportDesk, now: datetime) -> Target:
    """Return what `call` is about; a path that means nothing, or not for this verb, has the route `other`."""
    if _is_envelope(call):
        return Target(Route.BATCH)
    if call.parts == ("me", "adaccounts"):
        return Target(Route.ADACCOUNTS if call.verb == "GET" else Route.OTHER)
    if not call.parts:
        return Target(Route.OTHER)
    if call.account is not None:
        return Target(_route(call, {"GET": Route.ACCOUNT}), _canonical(call.account))
    owner = desk.owner(call.parts[0])
    if owner is not None:
        return Target(_RUN.get((call.verb, call.parts[1:]), Route.OTHER), owner)
    node = find_node(world, call.parts[0], now.date())
    if node is None:
        return Target(Route.OTHER)
    return Target(_route(call, {"GET": Route.OBJECTS}), node.account, node)


def _is_envelope(call: Call) -> bool:
    """Whether the call holds others: a batch, or one question about several ids."""
    if not call.parts and "batch" in call.params:
        return call.verb == "POST"
    return "ids" in call.params and (not call.parts or (len(call.parts) == 1 and call.parts[0] in _EDGES_OF_IDS))


def _route(call: Call, of_itself: Mapping[str, Route]) -> Route:
    match call.parts[1:]:
        case ():
            return of_itself.get(call.verb, Route.OTHER)
        case ("insights",):
            return _ASKED.get(call.verb, Route.OTHER)
        case (edge,) if edge in EDGES and call.verb == "GET":
            return Route.OBJECTS
    return Route.OTHER


def _canonical(name: str) -> str | None:
    try:
        return normalize_account_id(name)
    except BadRequest:
        return None
