"""The desks behind the door: a call that may come in is counted, fails on purpose or is served, and is charged."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graph_simulator.access import check_account
from graph_simulator.breakdowns import asks_too_far_back, group_of, without_people
from graph_simulator.call import Call
from graph_simulator.config import SimulatorConfig
from graph_simulator.dataset import World
from graph_simulator.errors import GraphError, bad_parameter, missing_object
from graph_simulator.fault_profile import Storm
from graph_simulator.faults.kinds import FAILING, FATES, FaultKind, Route, error_of
from graph_simulator.insights import Selection, page_body, select
from graph_simulator.levels import LEVELS
from graph_simulator.nodes import account_body, accounts_body, objects_body
from graph_simulator.objects import Node
from graph_simulator.parameters import check_parameters
from graph_simulator.query import Query, page_limit, read_query
from graph_simulator.quota.cost import LIGHT, Cost, cost_of_cells
from graph_simulator.quota.hourly import HourlyQuota
from graph_simulator.quota.quota_engine import QuotaEngine
from graph_simulator.reports.report_runs import ReportDesk, run_body
from graph_simulator.row_view import report_shown_as, shown_as
from graph_simulator.size_limits import cells, check_page, check_size
from graph_simulator.targets import Target


@dataclass(frozen=True)
class Office:
    """Serves the calls of one platform as it is set at one moment."""

    config: SimulatorConfig
    storm: Storm
    world: World
    quota: HourlyQuota | QuotaEngine
    desk: ReportDesk

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
        if target.account is None or not self.world.exists(target.account):
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
                return accounts_body(self.world, call, empty_between=self._empty_between(call))
            case Route.ACCOUNT:
                return account_body(self.world, account, call.params.get("fields", "id,account_id"))
            case Route.OBJECTS:
                return objects_body(
                    self.world, call, account, target.node, now, empty_between=self._empty_between(call)
                )
            case Route.POLL if call.verb == "DELETE":
                self.desk.delete(call.parts[0], self.storm, now)
                return {"success": True}
            case Route.POLL:
                job = self.desk.find(call.parts[0], self.storm, now)
                return run_body(job, call.params, now, call.fired.skew())
            case Route.RESULT:
                job = self.desk.find(call.parts[0], self.storm, now)
                found = self.desk.result(job, now)
                found = replace(found, query=report_shown_as(found.query, call.params))
                check_page(found, page_limit(call.params), self.storm.size)
                return self._page(call, found)
            case Route.SUBMIT:
                return self._submit(call, account, target.node, now)
            case _:
                query = self._query(call, account, target.node, now)
                far = asks_too_far_back(query, self.world.today(account, now))
                asked = select(self.world, account, without_people(query) if far else query, now)
                check_size(asked, self.storm.size, self.storm.poison)
                call.bill.cost = _cost(asked, min(asked.rows, asked.query.limit))
                return self._page(call, asked)

    def _query(self, call: Call, account: str, node: Node | None, now: datetime) -> Query:
        zone = self.world.zone_of(account)
        params = call.params if node is None else {"level": node.level, **call.params}
        query = shown_as(replace(read_query(params, zone, now), group=group_of(params)), params)
        return query if node is None else _narrowed(query, node)

    def _submit(self, call: Call, account: str, node: Node | None, now: datetime) -> dict[str, str]:
        query, today = self._query(call, account, node, now), self.world.today(account, now)
        if asks_too_far_back(query, today) and not self.desk.may_count_people(account, today):
            query = without_people(query)
        asked = select(self.world, account, query, now)
        call.bill.cost = _cost(asked, asked.rows)
        fate = call.fired.first(FATES)
        job = self.desk.submit(asked, None if fate is None else fate.kind, self.storm, now)
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


def _cost(asked: Selection, rows: int) -> Cost:
    return cost_of_cells(cells(asked.query.fields, rows))
