"""The simulated platform: the simulator's quota rules, latency that grows with load, outages, and counts of calls.

Quotas, blocks, headers and error bodies come from the graph simulator, and are parsed by the code of the Meta source.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from adwarm.backpressure import CallOutcome, CallOutcomeKind
from adwarm.foundation.errors import Throttled
from adwarm.model import Scope, ScopeKind, UsageSample
from adwarm.sources.meta.graph_errors import CallContext, parse_error
from adwarm.sources.meta.response_headers import parse_usage_headers
from graph_simulator.call_cost import CallCost
from graph_simulator.error_responses import GraphError
from graph_simulator.fault_kinds import Route, load_shed
from graph_simulator.fault_profile import QuotaSetting
from graph_simulator.quota_engine import QuotaEngine

APP = Scope(ScopeKind.APP, "100000")
TOKEN = Scope(ScopeKind.TOKEN, "simulated")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_CALL = CallCost(1, 20, 100)


@dataclass(frozen=True)
class PlatformRules:
    """How the platform behaves.

    Attributes:
        quota: the quotas of accounts and the app.
        sends_usage: whether responses have usage headers.
        service_seconds: median time of one call on an idle platform; `spread` is the deviation of its logarithm.
        slots: calls it processes at full speed at once; more calls make all of them slower.
        shed_at: calls in flight from which it sheds load; never when 0.
        timeout_seconds: timeout of a caller.
        outages: periods (start, end), in seconds from the beginning, in which calls fail.
        outage_share: share of the calls that fail then.
    """

    quota: QuotaSetting
    sends_usage: bool = True
    service_seconds: float = 1.0
    spread: float = 0.3
    slots: int = 20
    shed_at: int = 0
    timeout_seconds: float = 25.0
    outages: tuple[tuple[float, float], ...] = ()
    outage_share: float = 0.95


@dataclass(slots=True)
class CallResult:
    """The result of one call: how long it takes, and its outcome."""

    seconds: float
    outcome: CallOutcome
    error: Throttled | None = None


@dataclass
class SimulatedPlatform:
    """One platform. Its callers call `start` and `finish` for each call.

    Attributes:
        early: calls to an account that was blocked.
        refused: calls over a limit, by the error's code.
        served: calls that were accepted.
        in_flight: calls in progress.
        slots: calls it can process at full speed now; `shed_at` calls in flight shed load, 0 for never.
    """

    rules: PlatformRules
    started: float
    rng: Random
    early: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    served: int = 0
    in_flight: int = 0
    slots: int = 0
    shed_at: int = 0

    def __post_init__(self) -> None:
        self.quota = QuotaEngine(self.rules.quota, lambda _: 0)
        self.resize(self.rules.slots, self.rules.shed_at)

    def resize(self, slots: int, shed_at: int) -> None:
        """Change the capacity, and the number of calls from which load is shed."""
        self.slots, self.shed_at = slots, shed_at

    def start(self, account: str, now: float) -> CallResult:
        """Start a call and return its result."""
        moment = EPOCH + timedelta(seconds=now)
        self.in_flight += 1
        if self.quota.blocked_until(account, moment) is not None:
            self.early += 1
        try:
            if self.shed_at and self.in_flight > self.shed_at:
                raise load_shed()
            self.quota.admit(account, Route.INSIGHTS, moment)
        except GraphError as refusal:
            return self._refused(account, refusal, now)
        self.served += 1
        self.quota.charge(account, moment, ONE_CALL)
        seconds = self._seconds()
        usage = self._usage(account, now)
        if self._is_out(now) and self.rng.random() < self.rules.outage_share:
            return CallResult(min(seconds, 2.0), CallOutcome(CallOutcomeKind.FAILED, min(seconds, 2.0), usage))
        if seconds >= self.rules.timeout_seconds:
            return CallResult(
                self.rules.timeout_seconds, CallOutcome(CallOutcomeKind.TIMEOUT, self.rules.timeout_seconds)
            )
        return CallResult(seconds, CallOutcome(CallOutcomeKind.OK, seconds, usage))

    def finish(self) -> None:
        """End a call."""
        self.in_flight -= 1

    def _seconds(self) -> float:
        crowd = max(1.0, self.in_flight / max(1, self.slots))
        return self.rules.service_seconds * self.rng.lognormvariate(0.0, self.rules.spread) * crowd

    def _is_out(self, now: float) -> bool:
        passed = now - self.started
        return any(start <= passed < end for start, end in self.rules.outages)

    def _usage(self, account: str, now: float) -> tuple[UsageSample, ...]:
        if not self.rules.sends_usage:
            return ()
        headers = self.quota.headers(account, EPOCH + timedelta(seconds=now), insights=True)
        return parse_usage_headers(headers, Scope(ScopeKind.ACCOUNT, account), APP)

    def _refused(self, account: str, refusal: GraphError, now: float) -> CallResult:
        self.refused[refusal.code] = self.refused.get(refusal.code, 0) + 1
        scope, usage = Scope(ScopeKind.ACCOUNT, account), self._usage(account, now)
        moment = EPOCH + timedelta(seconds=now)
        body = refusal.body(0)["error"]
        error = parse_error(
            body, refusal.status, CallContext(account, scope, APP, TOKEN, full_access=True), usage, moment
        )
        if not isinstance(error, Throttled):
            raise TypeError(f"the platform refused with {error!r}, which is no throttle")
        seconds = 0.05
        asked = (error.until - moment).total_seconds()
        outcome = CallOutcome(CallOutcomeKind.THROTTLED, seconds, usage, asked, Scope.parse(error.scope))
        return CallResult(seconds, outcome, error)
