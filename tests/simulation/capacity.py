"""A platform whose capacity halves and doubles under an endless backlog, and three limiters of the calls in flight.

The adaptive limiter is the shared budget. The fixed one is a semaphore that honors the platform's waits, the best that
can be done by hand. Airflow's pool has slots, no back-off, and a retry after the task's delay.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant, Rejected
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from graph_simulator.fault_profile import QuotaSetting
from tests.benchmarks.measure import sized
from tests.simulation.local_admission import LocalAdmission

from .agenda import EventScheduler
from .platform import APP, PlatformRules, SimulatedPlatform

START = 1_764_072_000.0
PHASE_SECONDS = sized(600.0, 30.0)
SLOTS = (20, 10, 20, 40, 20)
SHEDS_OVER = 3
ACCOUNTS = 400
MOST_IN_FLIGHT = 100
RETRY_DELAY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not admitted: try again in `seconds`, with this account or with any."""

    seconds: float
    about_account: bool


class ConcurrencyLimiter(Protocol):
    """Limits the calls in flight."""

    def acquire(self, account: str, now: float) -> object:
        """Return a token, or `RetryLater`."""
        ...

    def release(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Return the token; return after how many seconds a failed call is retried."""
        ...


class AdaptiveLimiter:
    """The shared budget."""

    def __init__(self, agenda: EventScheduler, seed: int) -> None:
        settings = BackpressureSettings(
            max_concurrent=MOST_IN_FLIGHT, per_account_concurrent=2, rate_per_second=1_000, burst=1_000
        )
        self.admission = LocalAdmission(settings, rng=Random(seed), time=agenda.time)

    def acquire(self, account: str, now: float) -> object:
        """Request admission."""
        scopes = (Scope(ScopeKind.ACCOUNT, account), APP)
        decision = self.admission.admit(CallRequest(scopes, Priority.NORMAL, "meta"))
        if isinstance(decision, Grant):
            return decision
        if isinstance(decision, Rejected):
            return RetryLater(decision.retry_after, about_account=False)
        return RetryLater(decision.seconds, about_account=decision.scope == str(scopes[0]))

    def release(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Release the grant; the park says when the call is retried."""
        if isinstance(token, Grant):
            self.admission.release(token, outcome)
        return outcome.park_seconds or 5.0


@dataclass
class FixedLimiter:
    """A fixed number of calls at once, and no account before the time the platform asked for."""

    slots: int
    in_flight: int = 0
    parked: dict[str, float] = field(default_factory=dict)

    def acquire(self, account: str, now: float) -> object:
        """Take a slot."""
        if self.in_flight >= self.slots:
            return RetryLater(0.1, about_account=False)
        if (left := self.parked.get(account, 0.0) - now) > 0:
            return RetryLater(left, about_account=True)
        self.in_flight += 1
        return account

    def release(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Release the slot, and park the account."""
        self.in_flight -= 1
        if outcome.kind is CallOutcomeKind.THROTTLED:
            self.parked[str(token)] = now + (outcome.park_seconds or 0.0)
        return outcome.park_seconds or 5.0


@dataclass
class AirflowPoolLimiter(FixedLimiter):
    """A fixed number of tasks at once; a failed one is retried after the task's delay, whatever the platform asked."""

    def release(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Release the slot."""
        self.in_flight -= 1
        return RETRY_DELAY_SECONDS


@dataclass
class LoadMetrics:
    """What a limiter achieved."""

    completed: int = 0
    throttled: int = 0
    latencies: list[float] = field(default_factory=list)
    in_flight: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def p95(self) -> float:
        """The 95th percentile of the latency, in seconds."""
        return sorted(self.latencies)[int(0.95 * (len(self.latencies) - 1))]


@dataclass
class Backlog:
    """An endless backlog of one class; it starts calls as fast as they are admitted."""

    scheduler: EventScheduler
    platform: SimulatedPlatform
    limiter: ConcurrencyLimiter
    rng: Random
    metrics: LoadMetrics = field(default_factory=LoadMetrics)
    again: deque[str] = field(default_factory=deque)
    asking: bool = False

    def ask(self) -> None:
        """Start every call that may start now."""
        self.asking = False
        for _ in range(MOST_IN_FLIGHT):
            account = self.again.popleft() if self.again else f"act_{self.rng.randrange(ACCOUNTS)}"
            token = self.limiter.acquire(account, self.scheduler.now)
            if not isinstance(token, RetryLater):
                self._call(account, token)
            elif token.about_account:
                self.scheduler.schedule(token.seconds, partial(self.again.append, account))
            else:
                self.again.appendleft(account)
                self._ask_after(token.seconds)
                return
        self._ask_after(0.1)

    def _ask_after(self, seconds: float) -> None:
        if not self.asking:
            self.asking = True
            self.scheduler.schedule(seconds, self.ask)

    def _call(self, account: str, token: object) -> None:
        answer = self.platform.start(account, self.scheduler.now)

        def end() -> None:
            self.platform.finish()
            seconds = self.limiter.release(token, answer.outcome, self.scheduler.now)
            if answer.outcome.kind is CallOutcomeKind.OK:
                self.metrics.completed += 1
                self.metrics.latencies.append(answer.seconds)
            else:
                self.metrics.throttled += answer.outcome.kind is CallOutcomeKind.THROTTLED
                self.scheduler.schedule(seconds, partial(self.again.append, account))

        self.scheduler.schedule(answer.seconds, end)


def simulate_capacity(name: str, slots: int = 0, seed: int = 7) -> LoadMetrics:
    """Simulate a platform whose capacity halves and doubles, and return the metrics of a limiter."""
    agenda = EventScheduler(START)
    quota = QuotaSetting(base_calls=10_000_000, cpu_seconds=1e9, wall_seconds=1e9, score=False)
    rules = PlatformRules(
        quota, sends_usage=False, service_seconds=1.9, spread=0.3, slots=SLOTS[0], timeout_seconds=25.0
    )
    platform = SimulatedPlatform(rules, START, Random(seed))
    bounds: dict[str, ConcurrencyLimiter] = {
        "adaptive": AdaptiveLimiter(agenda, seed),
        "fixed": FixedLimiter(slots),
        "pool": AirflowPoolLimiter(slots),
    }
    backlog = Backlog(agenda, platform, bounds[name], Random(seed))
    for number, capacity in enumerate(SLOTS):
        agenda.schedule(number * PHASE_SECONDS, partial(platform.resize, capacity, SHEDS_OVER * capacity))
    _watch(agenda, platform, backlog.metrics)
    backlog.ask()
    agenda.run(START + PHASE_SECONDS * len(SLOTS))
    return backlog.metrics


def _watch(agenda: EventScheduler, platform: SimulatedPlatform, score: LoadMetrics, every: float = 5.0) -> None:
    def look() -> None:
        score.in_flight.append((agenda.now - START, platform.in_flight, platform.slots))
        agenda.schedule(every, look)

    look()
