"""The platform behind the web server: who may ask, what they get, and what it costs them.

`Platform.reply` takes a call as plain values and gives an answer as bytes; it knows nothing of HTTP servers, so that
the same platform can be driven in process. Every answer is logged, and carries the usage headers, also as an error.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson

from graph_simulator.calls import Call, CallLog, LoggedCall, Reply
from graph_simulator.config import SimulatorConfig
from graph_simulator.dataset import Dataset
from graph_simulator.date_ranges import DateRange
from graph_simulator.fault_kinds import Route
from graph_simulator.fault_profile import FaultProfile
from graph_simulator.fault_schedule import FaultSchedule
from graph_simulator.faulty_response import befallen
from graph_simulator.graph_batch import batch_body, several_body
from graph_simulator.graph_errors import GraphError
from graph_simulator.hourly_quota import HourlyQuota
from graph_simulator.parameters import check_parameters
from graph_simulator.platform_clock import PlatformClock
from graph_simulator.quota_engine import QuotaEngine
from graph_simulator.report_runs import ReportRuns
from graph_simulator.request_handler import VERSIONS, RequestHandler, Target, check_access, target_of
from graph_simulator.true_sums import TrueSum, true_sums
from graph_simulator.usage_headers import told_usage

__all__ = ["AppState", "Call", "Reply"]
_MEDIA = "application/json; charset=UTF-8"


@dataclass
class AppState:
    """One simulated platform with its world, its clock, its limits, its reports, its faults and its log."""

    config: SimulatorConfig
    clock: PlatformClock = field(init=False)
    dataset: Dataset = field(init=False)
    quota: HourlyQuota | QuotaEngine = field(init=False)
    calls: CallLog = field(init=False)
    report_runs: ReportRuns = field(init=False)
    fault_profile: FaultProfile = field(init=False)
    faults: FaultSchedule = field(init=False)

    def __post_init__(self) -> None:
        self.dataset = Dataset(self.config)
        self.calls = CallLog()
        self.report_runs = ReportRuns(self.dataset)
        self.reset()

    def reset_clock(self) -> None:
        """Go back to the moment of the configuration."""
        self.clock = PlatformClock(self.config.now, scale=self.config.time_scale)

    def set_now(self, moment: datetime, *, frozen: bool = False) -> None:
        """Let it be `moment`; time goes on from there unless `frozen`."""
        self.clock = PlatformClock(moment, scale=self.config.time_scale, frozen=frozen)
        self.faults.not_after(self.clock.now())

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; a clock that stood still goes on standing still."""
        self.set_now(self.clock.now() + timedelta(seconds=seconds), frozen=self.clock.frozen)

    def set_fault_profile(self, profile: FaultProfile) -> None:
        """Behave as `storm` says from now on; what was spent is kept unless the limits change."""
        changed = profile.quota != self.fault_profile.quota
        self.fault_profile, self.faults = profile, FaultSchedule(profile, self.clock.now())
        if changed:
            self._new_quota()

    def reset(self) -> None:
        """Forget calls, reports and what was spent, and go back to the configured moment and behaviour."""
        self.calls.reset()
        self.report_runs.clear()
        self.reset_clock()
        self.fault_profile = self.config.fault_profile
        self.faults = FaultSchedule(self.fault_profile, self.clock.now())
        self._new_quota()

    def reply(self, call: Call) -> Reply:
        """Return the answer to a call, whatever it is, and log it."""
        now = self.clock.now()
        target = target_of(call, self.dataset, self.report_runs, now)
        call = replace(call, fired=self.faults.fire(target.account, target.route, now))
        told = self.quota.blocked_until(target.account, now) if target.account else None
        status, error = 200, None
        try:
            found = self.answer(call)
        except GraphError as refusal:
            status, error = refusal.status, refusal
            found = refusal.body(self.calls.counts()["total"])
        body = orjson.dumps(found, option=orjson.OPT_INDENT_2 if _wants(call, "pretty") else 0)
        if _wants(call, "suppress_http_code"):
            status = 200
        status, media, body = befallen(call.fired, status, _MEDIA, body)
        self._log(call, target, now, status, error, early=told is not None)
        headers = {"content-type": media, **self._headers(call, target)}
        if error is not None and error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
        return Reply(status, headers, body, call.fired.on_the_way())

    def answer(self, call: Call) -> Any:
        """Return the body of the answer.

        Raises:
            GraphError: the platform refuses.
        """
        check_access(call, self.config)
        now = self.clock.now()
        target = target_of(call, self.dataset, self.report_runs, now)
        if target.route is Route.BATCH and "batch" in call.params:
            check_parameters(target.route, call.params)
            return batch_body(call, self.reply, self._headers(call, target))
        if target.route is Route.BATCH:
            return several_body(call, self.reply)
        return RequestHandler(self.config, self.fault_profile, self.dataset, self.quota, self.report_runs).serve(
            call, target, now
        )

    def sums(self, account: str, level: str, window: DateRange, *, daily: bool = False) -> list[TrueSum]:
        """Return what is true now of every object of `level` in `account`, given in canonical form.

        Raises:
            InvalidValue: there is no such level.
        """
        return true_sums(self.dataset, account, level, window, self.clock.now(), daily=daily)

    def refuse(self, error: GraphError, version: str) -> Reply:
        """Return a refusal of something that is no call: it is not logged, and carries the platform's own time."""
        body = orjson.dumps(error.body(self.calls.counts()["total"]))
        return Reply(error.status, {"content-type": _MEDIA, **self.dated(version)}, body)

    def dated(self, version: str = VERSIONS[0], skew: timedelta = timedelta()) -> dict[str, str]:
        """Return the headers of every answer: the version that answers, and the time on the platform's own clock."""
        moment = (self.clock.now() + skew).replace(microsecond=0)
        return {"facebook-api-version": version, "date": format_datetime(moment, usegmt=True)}

    def account_of(self, call: Call) -> str | None:
        """Return the account that a call is about, whether its path names it or a report or an object of it."""
        return target_of(call, self.dataset, self.report_runs, self.clock.now()).account

    def _new_quota(self) -> None:
        limits = self.fault_profile.quota
        if limits is None:
            self.quota = HourlyQuota(self.config.hourly_limit)
        else:
            self.quota = QuotaEngine(limits, self.dataset.active_ads)

    def _headers(self, call: Call, target: Target) -> dict[str, str]:
        now = self.clock.now()
        insights = target.route in {Route.INSIGHTS, Route.SUBMIT, Route.RESULT}
        usage: dict[str, str] = {}
        if target.route is not Route.BATCH:
            used = self.quota.headers(target.account, now, insights=insights)
            usage = told_usage(used, self.fault_profile.usage, target.account, insights=insights)
        return {**usage, **self.dated(call.version, call.fired.skew())}

    def _log(
        self, call: Call, target: Target, now: datetime, status: int, error: GraphError | None, *, early: bool
    ) -> None:
        named = target.route in {Route.INSIGHTS, Route.ACCOUNT, Route.ADACCOUNTS, Route.OTHER}
        logged = LoggedCall(
            at=now,
            account=target.account,
            path=call.kind if named else target.route.value,
            route=target.route.value,
            method=call.method,
            status=status,
            code=None if error is None else error.code,
            subcode=None if error is None else error.subcode,
            rows=call.bill.rows,
            cpu_ms=call.bill.cost.cpu_ms,
            wall_ms=call.bill.cost.wall_ms,
            early=early,
            in_flight=self.calls.in_flight(target.account),
            batched=call.batched,
            faults=tuple(rule.kind.value for rule in call.fired.rules),
        )
        self.calls.record(logged, call.account or target.account)


def _wants(call: Call, name: str) -> bool:
    return call.params.get(name, "0").lower() in {"1", "true"}
