"""One call from its path to its body: what it is about, who may make it, what it costs, and what it returns."""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graph_simulator.account_edges import ACCOUNT_EDGES, find_item
from graph_simulator.ad_objects import EDGES, Node, find_object
from graph_simulator.call_cost import LIGHT, CallCost, cost_of_cells
from graph_simulator.calls import Call
from graph_simulator.config import SimulatorConfig, canonical_account
from graph_simulator.dataset import Dataset
from graph_simulator.error_responses import GraphError, InvalidValue, bad_parameter, missing_object, token_missing
from graph_simulator.fault_kinds import ACCESS_FAULTS, REPORT_FAULTS, SERVING_FAULTS, FaultKind, Route, error_of
from graph_simulator.fault_profile import FaultProfile
from graph_simulator.filters import text_test
from graph_simulator.hourly_quota import HourlyQuota
from graph_simulator.insights import (
    Selection,
    cells,
    check_page,
    check_refused_fields,
    check_size,
    falsified,
    page_body,
    select,
)
from graph_simulator.levels import LEVELS
from graph_simulator.nodes import account_body, accounts_body, items_body, me_body, objects_body
from graph_simulator.parameters import check_parameters
from graph_simulator.query import (
    Query,
    loses_reach,
    page_limit,
    read_query,
    with_presentation,
    with_result_presentation,
    without_reach,
)
from graph_simulator.quota_engine import QuotaEngine
from graph_simulator.report_runs import ReportRuns, run_body

VERSIONS = ("v27.0", "v26.0", "v25.0")
_EDGES_WITH_IDS = frozenset({*EDGES, *ACCOUNT_EDGES, "insights"})
_ME = (("me",), ("me", "adaccounts"), ("me", "business_users"))
_INSIGHTS_ROUTES = {"GET": Route.INSIGHTS, "POST": Route.SUBMIT}
_RUN_ROUTES = {("GET", ()): Route.POLL, ("DELETE", ()): Route.POLL, ("GET", ("insights",)): Route.RESULT}


@dataclass(frozen=True, slots=True)
class Target:
    """What a call is about.

    Attributes:
        account: the account in canonical form, whether it exists or not.
        node: the campaign, ad set or ad that the path names.
    """

    route: Route
    account: str | None = None
    node: Node | None = None


def target_of(call: Call, dataset: Dataset, report_runs: ReportRuns, now: datetime) -> Target:
    """Return what a call is about. An unknown path, or one without this verb, has the route `other`."""
    if _is_envelope(call):
        return Target(Route.BATCH)
    if call.parts in _ME:
        return Target(Route.ADACCOUNTS if call.verb == "GET" else Route.OTHER)
    if not call.parts:
        return Target(Route.OTHER)
    if call.account is not None and call.parts[1:2] and call.parts[1] in ACCOUNT_EDGES:
        return Target(Route.ITEMS if _is_read(call, 2) else Route.OTHER, _canonical(call.account))
    if call.account is not None:
        return Target(_route(call, {"GET": Route.ACCOUNT}), _canonical(call.account))
    owner = report_runs.owner(call.parts[0])
    if owner is not None:
        return Target(_RUN_ROUTES.get((call.verb, call.parts[1:]), Route.OTHER), owner)
    node = find_object(dataset, call.parts[0], now.date())
    if node is None:
        item = find_item(dataset, call.parts[0], now.date())
        if item is None:
            return Target(Route.OTHER)
        return Target(Route.ITEMS if _is_read(call, 1) else Route.OTHER, item[0])
    return Target(_route(call, {"GET": Route.OBJECTS}), node.account, node)


def _is_read(call: Call, parts: int) -> bool:
    return call.verb == "GET" and len(call.parts) == parts


def _is_envelope(call: Call) -> bool:
    """Whether the call contains other calls: a batch, or one query for several `ids`."""
    if not call.parts and "batch" in call.params:
        return call.verb == "POST"
    return "ids" in call.params and (not call.parts or (len(call.parts) == 1 and call.parts[0] in _EDGES_WITH_IDS))


def _route(call: Call, own_routes: Mapping[str, Route]) -> Route:
    match call.parts[1:]:
        case ():
            return own_routes.get(call.verb, Route.OTHER)
        case ("insights",):
            return _INSIGHTS_ROUTES.get(call.verb, Route.OTHER)
        case (edge,) if edge in EDGES and call.verb == "GET":
            return Route.OBJECTS
    return Route.OTHER


def _canonical(name: str) -> str | None:
    try:
        return canonical_account(name)
    except InvalidValue:
        return None


def check_access(call: Call, config: SimulatorConfig, retired: Collection[str] = ()) -> None:
    """Check the version, the token and its proof, then apply faults that refuse access.

    Raises:
        GraphError: one of them is not accepted, or a fault refuses the call.
    """
    if call.version not in VERSIONS or call.version in retired:
        raise GraphError(
            f"(#2635) You are calling a deprecated version of the Ads API. Please update to {VERSIONS[0]}.",
            code=2635,
        )
    if not call.token:
        raise token_missing(call.parts[0] if call.parts else "")
    if not any(hmac.compare_digest(call.token.encode(), valid.encode()) for valid in (config.token, *config.tokens)):
        raise GraphError("Error validating access token: Session has expired or is not valid.", code=190, subcode=463)
    if config.app_secret is not None:
        _check_proof(call, config.app_secret)
    fault = call.faults.first(ACCESS_FAULTS)
    if fault is not None:
        raise error_of(fault.kind, name=call.parts[0] if call.parts else "", subcode=fault.subcode)


def _check_proof(call: Call, secret: str) -> None:
    proof = hmac.new(secret.encode(), call.token.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(call.params.get("appsecret_proof", "").encode(), proof.encode()):
        raise GraphError("Invalid appsecret_proof provided in the API argument", code=100, kind="GraphMethodException")


@dataclass(frozen=True)
class RequestHandler:
    """Serves calls that have passed `check_access`."""

    config: SimulatorConfig
    profile: FaultProfile
    dataset: Dataset
    quota: HourlyQuota | QuotaEngine
    report_runs: ReportRuns

    def serve(self, call: Call, target: Target, now: datetime) -> Any:
        """Return the body of the response, and fill in `call.work`.

        Raises:
            GraphError: the platform responds with an error.
        """
        if target.route is not Route.ADACCOUNTS:
            self._check_target(call, target)
        self.quota.admit(target.account, target.route, now)
        call.work.cost = LIGHT
        try:
            fault = call.faults.first(SERVING_FAULTS)
            if fault is not None:
                raise error_of(fault.kind, seconds=fault.seconds)
            return self._body(call, target, now)
        except GraphError as error:
            if error.code == 100 and not error.transient and target.account:
                self.quota.count_user_error(target.account, now)
            raise
        finally:
            self.quota.charge(target.account, now, call.work.cost)

    def _check_target(self, call: Call, target: Target) -> None:
        if target.account is None or not self.dataset.exists(target.account):
            raise missing_object(target.account or (call.parts[0] if call.parts else ""), call.verb)
        if not self.config.may_read(call.token, target.account):
            raise error_of(FaultKind.DENIED)
        if target.route is Route.OTHER and call.verb == "GET":
            raise GraphError(f"Unknown path components: /{'/'.join(call.parts[1:])}", code=2500)
        if target.route is Route.OTHER:
            raise missing_object(call.parts[0], call.verb)

    def _body(self, call: Call, target: Target, now: datetime) -> Any:
        account = target.account or ""
        check_parameters(target.route, call.params)
        match target.route:
            case Route.ADACCOUNTS if call.parts != ("me", "adaccounts"):
                return me_body(call)
            case Route.ADACCOUNTS:
                return accounts_body(self.dataset, call, now, empty_between=self._empty_between(call))
            case Route.ACCOUNT:
                return account_body(self.dataset, account, call.params.get("fields", "id,account_id"), now)
            case Route.ITEMS:
                return items_body(self.dataset, call, account, now, empty_between=self._empty_between(call))
            case Route.OBJECTS:
                return objects_body(
                    self.dataset, call, account, target.node, now, empty_between=self._empty_between(call)
                )
            case Route.POLL if call.verb == "DELETE":
                self.report_runs.delete(call.parts[0], self.profile, now)
                return {"success": True}
            case Route.POLL:
                run = self.report_runs.find(call.parts[0], self.profile, now)
                return run_body(run, call.params, now, call.faults.skew())
            case Route.RESULT:
                return self._result(call, now)
            case Route.SUBMIT:
                return self._submit(call, account, target.node, now)
            case _:
                return self._insights(call, account, target.node, now)

    def _insights(self, call: Call, account: str, node: Node | None, now: datetime) -> dict[str, Any]:
        query = self._query(call, account, node, now)
        if loses_reach(query, self.dataset.today(account, now)):
            query = without_reach(query)
        selection = falsified(select(self.dataset, account, query, now), self.profile.false_sum, is_report=False)
        check_size(selection, self.profile.size, self.profile.poison)
        call.work.cost = _cost(selection, min(selection.rows, query.limit))
        return self._page(call, selection)

    def _submit(self, call: Call, account: str, node: Node | None, now: datetime) -> dict[str, str]:
        query, today = self._query(call, account, node, now), self.dataset.today(account, now)
        if loses_reach(query, today) and not self.report_runs.take_reach_quota(account, today):
            query = without_reach(query)
        selection = select(self.dataset, account, query, now)
        call.work.cost = _cost(selection, selection.rows)
        fault = call.faults.first(REPORT_FAULTS)
        run = self.report_runs.submit(selection, None if fault is None else fault.kind, self.profile, now)
        return {"report_run_id": run.id}

    def _result(self, call: Call, now: datetime) -> dict[str, Any]:
        run = self.report_runs.find(call.parts[0], self.profile, now)
        selection = self.report_runs.result(run, now)
        selection = replace(selection, query=with_result_presentation(selection.query, call.params))
        check_page(selection, page_limit(call.params), self.profile.size)
        return self._page(call, falsified(selection, self.profile.false_sum, is_report=True))

    def _query(self, call: Call, account: str, node: Node | None, now: datetime) -> Query:
        params = call.params if node is None else {"level": node.level, **call.params}
        query = read_query(params, self.dataset.zone_of(account), now)
        check_refused_fields(account, query.fields, self.profile.poison)
        query = with_presentation(query, params)
        return query if node is None else _narrowed(query, node)

    def _page(self, call: Call, selection: Selection) -> dict[str, Any]:
        body, call.work.rows = page_body(selection, call.params, call.url, empty_between=self._empty_between(call))
        return body

    def _empty_between(self, call: Call) -> bool:
        return self.config.empty_middle_pages or call.faults.has(FaultKind.EMPTY_PAGES)


def _narrowed(query: Query, node: Node) -> Query:
    """Return the query restricted to one object.

    Raises:
        GraphError: the level of the query is above the object.
    """
    if LEVELS.index(query.level) < LEVELS.index(node.level):
        raise bad_parameter(f"level {query.level} is above the object that is asked about")
    return replace(query, texts=(*query.texts, (f"{node.level}_id", text_test("EQUAL", [node.id]))))


def _cost(selection: Selection, rows: int) -> CallCost:
    return cost_of_cells(cells(selection.query.fields, rows))
