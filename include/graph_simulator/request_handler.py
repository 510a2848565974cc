"""The desks behind the door: a call that may come in is counted, fails on purpose or is served, and is charged."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graph_simulator.ad_objects import EDGES, Node, find_node
from graph_simulator.call_cost import LIGHT, CallCost, cost_of_cells
from graph_simulator.calls import Call
from graph_simulator.config import SimulatorConfig, canonical_account
from graph_simulator.dataset import Dataset
from graph_simulator.fault_kinds import FAILING, FATES, REFUSING, FaultKind, Route, error_of
from graph_simulator.fault_profile import FaultProfile
from graph_simulator.graph_errors import GraphError, InvalidValue, bad_parameter, missing_object, token_missing
from graph_simulator.hourly_quota import HourlyQuota
from graph_simulator.insights import Selection, cells, check_page, check_size, page_body, select
from graph_simulator.levels import LEVELS
from graph_simulator.nodes import account_body, accounts_body, objects_body
from graph_simulator.parameters import check_parameters
from graph_simulator.query import (
    Query,
    asks_too_far_back,
    group_of,
    page_limit,
    read_query,
    report_shown_as,
    shown_as,
    without_people,
)
from graph_simulator.quota_engine import QuotaEngine
from graph_simulator.report_runs import ReportRuns, run_body

_EDGES_OF_IDS = frozenset({*EDGES, "insights"})
_ASKED = {"GET": Route.INSIGHTS, "POST": Route.SUBMIT}
_RUN = {("GET", ()): Route.POLL, ("DELETE", ()): Route.POLL, ("GET", ("insights",)): Route.RESULT}


@dataclass(frozen=True, slots=True)
class Target:
    """A call's route and account (in canonical form, existing or not), and the campaign, ad set or ad it names."""

    route: Route
    account: str | None = None
    node: Node | None = None


def target_of(call: Call, dataset: Dataset, report_runs: ReportRuns, now: datetime) -> Target:
    """Return what `call` is about; a path that means nothing, or not for this verb, has the route `other`."""
    if _is_envelope(call):
        return Target(Route.BATCH)
    if call.parts == ("me", "adaccounts"):
        return Target(Route.ADACCOUNTS if call.verb == "GET" else Route.OTHER)
    if not call.parts:
        return Target(Route.OTHER)
    if call.account is not None:
        return Target(_route(call, {"GET": Route.ACCOUNT}), _canonical(call.account))
    owner = report_runs.owner(call.parts[0])
    if owner is not None:
        return Target(_RUN.get((call.verb, call.parts[1:]), Route.OTHER), owner)
    node = find_node(dataset, call.parts[0], now.date())
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
        return canonical_account(name)
    except InvalidValue:
        return None


VERSIONS = ("v26.0", "v25.0")


def check_access(call: Call, config: SimulatorConfig) -> None:
    """Let a call in.

    Raises:
        GraphError: its version, token or proof is not accepted, or a fault refuses it.
    """
    if call.version not in VERSIONS:
        raise GraphError(
            f"(#2635) You are calling a deprecated version of the Ads API. Please update to {VERSIONS[0]}.",
            code=2635,
        )
    if not call.token:
        raise token_missing(call.parts[0] if call.parts else "")
    if not any(hmac.compare_digest(call.token.encode(), known.encode()) for known in (config.token, *config.tokens)):
        raise GraphError("Error validating access token: Session has expired or is not valid.", code=190, subcode=463)
    if config.app_secret is not None:
        _check_proof(call, config.app_secret)
    refusing = call.fired.first(REFUSING)
    if refusing is not None:
        raise error_of(refusing.kind, name=call.parts[0] if call.parts else "", subcode=refusing.subcode)


def check_account(call: Call, account: str, config: SimulatorConfig) -> None:
    """Let a call about `account` pass.

    Raises:
        GraphError: another token reads the account.
    """
    if not config.may_read(call.token, account):
        raise error_of(FaultKind.DENIED)


def _check_proof(call: Call, secret: str) -> None:
    proof = hmac.new(secret.encode(), call.token.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(call.params.get("appsecret_proof", "").encode(), proof.encode()):
        raise GraphError("Invalid appsecret_proof provided in the API argument", code=100, kind="GraphMethodException")


@dataclass(frozen=True)
class RequestHandler:
    """Serves the calls of one platform as it is set at one moment."""

    config: SimulatorConfig
    profile: FaultProfile
    dataset: Dataset
    quota: HourlyQuota | QuotaEngine
    report_runs: ReportRuns

    def serve(self, call: Call, target: Target, now: datetime) -> Any:
        """Return the body for a call that has access; its bill is filled in.

        Raises:
            GraphError: the platform refuses.
        """
        if target.route is not Route.ADACCOUNTS:
            self._check_there(call, target)
        self.quota.admit(target.account, target.route, now)
        call.bill.cost = LIGHT
        try:
            failing = call.fired.first(FAILING)
            if failing is not None:
                raise error_of(failing.kind, seconds=failing.seconds)
            return self._body(call, target, now)
        except GraphError as error:
            if error.code == 100 and not error.transient and target.account:
                self.quota.mistake(target.account, now)
            raise
        finally:
            self.quota.charge(target.account, now, call.bill.cost)

    def _check_there(self, call: Call, target: Target) -> None:
        if target.account is None or not self.dataset.exists(target.account):
            raise missing_object(target.account or (call.parts[0] if call.parts else ""), call.verb)
        check_account(call, target.account, self.config)
        if target.route is Route.OTHER and call.verb == "GET":
            raise GraphError(f"Unknown path components: /{'/'.join(call.parts[1:])}", code=2500)
        if target.route is Route.OTHER:
            raise missing_object(call.parts[0], call.verb)

    def _body(self, call: Call, target: Target, now: datetime) -> Any:
        account = target.account or ""
        check_parameters(target.route, call.params)
        match target.route:
            case Route.ADACCOUNTS:
                return accounts_body(self.dataset, call, empty_between=self._empty_between(call))
            case Route.ACCOUNT:
                return account_body(self.dataset, account, call.params.get("fields", "id,account_id"))
            case Route.OBJECTS:
                return objects_body(
                    self.dataset, call, account, target.node, now, empty_between=self._empty_between(call)
                )
            case Route.POLL if call.verb == "DELETE":
                self.report_runs.delete(call.parts[0], self.profile, now)
                return {"success": True}
            case Route.POLL:
                job = self.report_runs.find(call.parts[0], self.profile, now)
                return run_body(job, call.params, now, call.fired.skew())
            case Route.RESULT:
                job = self.report_runs.find(call.parts[0], self.profile, now)
                found = self.report_runs.result(job, now)
                found = replace(found, query=report_shown_as(found.query, call.params))
                check_page(found, page_limit(call.params), self.profile.size)
                return self._page(call, found)
            case Route.SUBMIT:
                return self._submit(call, account, target.node, now)
            case _:
                query = self._query(call, account, target.node, now)
                far = asks_too_far_back(query, self.dataset.today(account, now))
                asked = select(self.dataset, account, without_people(query) if far else query, now)
                check_size(asked, self.profile.size, self.profile.poison)
                call.bill.cost = _cost(asked, min(asked.rows, asked.query.limit))
                return self._page(call, asked)

    def _query(self, call: Call, account: str, node: Node | None, now: datetime) -> Query:
        zone = self.dataset.zone_of(account)
        params = call.params if node is None else {"level": node.level, **call.params}
        query = shown_as(replace(read_query(params, zone, now), group=group_of(params)), params)
        return query if node is None else _narrowed(query, node)

    def _submit(self, call: Call, account: str, node: Node | None, now: datetime) -> dict[str, str]:
        query, today = self._query(call, account, node, now), self.dataset.today(account, now)
        if asks_too_far_back(query, today) and not self.report_runs.may_count_people(account, today):
            query = without_people(query)
        asked = select(self.dataset, account, query, now)
        call.bill.cost = _cost(asked, asked.rows)
        fate = call.fired.first(FATES)
        job = self.report_runs.submit(asked, None if fate is None else fate.kind, self.profile, now)
        return {"report_run_id": job.id}

    def _page(self, call: Call, chosen: Selection) -> dict[str, Any]:
        body, call.bill.rows = page_body(chosen, call.params, call.url, empty_between=self._empty_between(call))
        return body

    def _empty_between(self, call: Call) -> bool:
        return self.config.empty_middle_pages or call.fired.has(FaultKind.EMPTY_PAGES)


def _narrowed(query: Query, node: Node) -> Query:
    """Return the query for one object only, which cannot ask for a level above it."""
    if LEVELS.index(query.level) < LEVELS.index(node.level):
        raise bad_parameter(f"level {query.level} is above the object that is asked about")
    name, own = f"{node.level}_id", frozenset({node.id})
    return replace(query, ids={**query.ids, name: query.ids.get(name, own) & own})


def _cost(asked: Selection, rows: int) -> CallCost:
    return cost_of_cells(cells(asked.query.fields, rows))
