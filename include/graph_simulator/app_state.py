"""The state of one simulated platform: its data, clock, limits, report runs, faults and call log.

`AppState.reply` takes a call as plain values and returns a reply as bytes, so that the platform can be driven without
an HTTP server. Every reply is logged and has the usage headers, error responses included.
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
from graph_simulator.error_responses import GraphError
from graph_simulator.fault_kinds import Route
from graph_simulator.fault_profile import FaultProfile
from graph_simulator.fault_schedule import FaultSchedule
from graph_simulator.faulty_response import apply_to_body
from graph_simulator.graph_batch import batch_body, ids_body
from graph_simulator.hourly_quota import HourlyQuota
from graph_simulator.parameters import check_parameters
from graph_simulator.platform_clock import PlatformClock
from graph_simulator.quota_engine import QuotaEngine
from graph_simulator.report_runs import ReportRuns
from graph_simulator.request_handler import VERSIONS, RequestHandler, Target, check_access, target_of
from graph_simulator.throttle_headers import override_usage
from graph_simulator.tokens import DEBUG, EXCHANGE, EXTENDED, check_life, debug_body, exchange
from graph_simulator.true_sums import TrueSum, true_sums

_MEDIA = "application/json; charset=UTF-8"


@dataclass
class AppState:
    """The state of one simulated platform, made from a configuration."""

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

    def set_now(self, moment: datetime, *, frozen: bool = False) -> None:
        """Set the clock to `moment`; it runs on from there unless `frozen`."""
        self.clock = PlatformClock(moment, scale=self.config.time_scale, frozen=frozen)
        self.faults.not_after(self.clock.now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`; a frozen clock stays frozen."""
        self.set_now(self.clock.now() + timedelta(seconds=seconds), frozen=self.clock.frozen)

    def set_fault_profile(self, profile: FaultProfile) -> None:
        """Behave as `profile` says from now on. Used quota is kept unless the limits change."""
        limits_changed = profile.quota != self.fault_profile.quota
        self.fault_profile, self.faults = profile, FaultSchedule(profile, self.clock.now())
        if limits_changed:
            self._reset_quota()

    def renew_token(self, token: str) -> None:
        """Accept `token` instead of the token so far, which has expired; `SimulatorConfig.tokens` stay as they are."""
        self.config = replace(self.config, token=token)

    def reset(self) -> None:
        """Clear calls, reports and used quota, and return to the configured moment and fault profile.

        A renewed token stays.
        """
        self.calls.reset()
        self.report_runs.clear()
        self.clock = PlatformClock(self.config.now, scale=self.config.time_scale)
        self.fault_profile = self.config.fault_profile
        self.faults = FaultSchedule(self.fault_profile, self.clock.now())
        self._reset_quota()

    def reply(self, call: Call) -> Reply:
        """Serve a call, log it, and return its reply; errors are replies too."""
        now = self.clock.now()
        target = target_of(call, self.dataset, self.report_runs, now)
        requested = call.version
        call = replace(
            call, faults=self.faults.fire(target.account, target.route, now), version=self._living(requested)
        )
        blocked_until = self.quota.blocked_until(target.account, now) if target.account else None
        status, error = 200, None
        try:
            content = self.answer(call)
        except GraphError as raised:
            status, error = raised.status, raised
            content = raised.body(self.calls.counts()["total"])
        body = orjson.dumps(content, option=orjson.OPT_INDENT_2 if _is_set(call, "pretty") else 0)
        if _is_set(call, "suppress_http_code"):
            status = 200
        status, media, body = apply_to_body(call.faults, status, _MEDIA, body)
        self._log(call, target, now, status, error, early=blocked_until is not None)
        headers = {"content-type": media, **self._headers(call, target)}
        if call.version != requested:
            text = f"The call has been auto-upgraded to {call.version} as {requested} has been deprecated."
            headers["x-ad-api-version-warning"] = text
        if error is not None and error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
        return Reply(status, headers, body, call.faults.on_the_wire())

    def answer(self, call: Call) -> Any:
        """Return the content of the response to a call.

        Raises:
            GraphError: the platform responds with an error.
        """
        now, profile = self.clock.now(), self.fault_profile
        if call.parts == DEBUG:
            return debug_body(call, self.config, profile.token, now)
        check_access(call, self.config, profile.version.retired)
        check_life(call, profile.token, now)
        if call.parts == EXCHANGE:
            return self._exchange(call, now)
        target = target_of(call, self.dataset, self.report_runs, now)
        if target.route is Route.BATCH and "batch" in call.params:
            check_parameters(target.route, call.params)
            return batch_body(call, self.reply, self._headers(call, target))
        if target.route is Route.BATCH:
            return ids_body(call, self.reply)
        handler = RequestHandler(self.config, profile, self.dataset, self.quota, self.report_runs)
        return handler.serve(call, target, now)

    def _exchange(self, call: Call, now: datetime) -> dict[str, Any]:
        """Replace the token by one that lives longer, and return it."""
        token = exchange(call, self.config)
        self.renew_token(token)
        life = self.fault_profile.token.model_copy(update={"expires_at": now + EXTENDED})
        self.fault_profile = self.fault_profile.model_copy(update={"token": life})
        return {"access_token": token, "token_type": "bearer", "expires_in": int(EXTENDED.total_seconds())}

    def _living(self, version: str) -> str:
        """Return the version that answers a call: the oldest that lives for a retired one that is upgraded."""
        setting = self.fault_profile.version
        if not setting.upgrades or version not in setting.retired:
            return version
        return next(name for name in reversed(VERSIONS) if name not in setting.retired)

    def sums(self, account: str, level: str, window: DateRange, *, daily: bool = False) -> list[TrueSum]:
        """Return the true totals of every object of `level` in `account` (canonical form), as of now.

        Raises:
            InvalidValue: there is no such level.
        """
        return true_sums(self.dataset, account, level, window, self.clock.now(), daily=daily)

    def error_reply(self, error: GraphError, version: str) -> Reply:
        """Return the reply to a request that is not a call. It is not logged."""
        body = orjson.dumps(error.body(self.calls.counts()["total"]))
        return Reply(error.status, {"content-type": _MEDIA, **self.common_headers(version)}, body)

    def common_headers(self, version: str = VERSIONS[0], skew: timedelta = timedelta()) -> dict[str, str]:
        """Return the headers of every response: the API version, and the platform's time plus `skew`."""
        moment = (self.clock.now() + skew).replace(microsecond=0)
        return {"facebook-api-version": version, "date": format_datetime(moment, usegmt=True)}

    def account_of(self, call: Call) -> str | None:
        """Return the account that a call is about; its path may name the account, a report run or an object."""
        return target_of(call, self.dataset, self.report_runs, self.clock.now()).account

    def _reset_quota(self) -> None:
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
            usage = override_usage(used, self.fault_profile.usage, target.account, insights=insights)
        return {**usage, **self.common_headers(call.version, call.faults.skew())}

    def _log(
        self, call: Call, target: Target, now: datetime, status: int, error: GraphError | None, *, early: bool
    ) -> None:
        by_path = target.route in {Route.INSIGHTS, Route.ACCOUNT, Route.ADACCOUNTS, Route.OTHER}
        logged = LoggedCall(
            at=now,
            account=target.account,
            path=call.kind if by_path else target.route.value,
            route=target.route.value,
            method=call.method,
            status=status,
            code=None if error is None else error.code,
            subcode=None if error is None else error.subcode,
            rows=call.work.rows,
            cpu_ms=call.work.cost.cpu_ms,
            wall_ms=call.work.cost.wall_ms,
            early=early,
            in_flight=self.calls.in_flight(target.account),
            batched=call.batched,
            faults=tuple(rule.kind.value for rule in call.faults.rules),
        )
        self.calls.record(logged, call.account or target.account)


def _is_set(call: Call, name: str) -> bool:
    return call.params.get(name, "0").lower() in {"1", "true"}
