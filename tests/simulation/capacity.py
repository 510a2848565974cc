"""A platform whose capacity halves and doubles under an endless backlog, and three ways to bound the calls in flight.

The adaptive limit is the budget as it ships. The fixed one is a semaphore that honours what the platform asks, the best
that can be done by hand. Airflow's pool is what it is: slots, no back-off, a retry after the task's delay.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from adwarm.backpressure import CallOutcome, CallOutcomeKind, Grant, Granted, Rejected
from adwarm.backpressure.local_admission import LocalAdmission
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from graph_simulator.fault_profile import QuotaSetting

from .agenda import Agenda
from .platform import APP, Law, Platform

START = 1_764_072_000.0
PHASE_SECONDS = 600.0
SLOTS = (20, 10, 20, 40, 20)
SHEDS_OVER = 3
ACCOUNTS = 400
MOST_IN_FLIGHT = 100
RETRY_DELAY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: ask again in `seconds`, about this account, or about any."""

    seconds: float
    about_account: bool


class Bound(Protocol):
    """What bounds the calls in flight."""

    def enter(self, account: str, now: float) -> object:
        """Return a token, or `Later`."""
        ...

    def leave(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Give the token back; return after how long a call that failed is tried again."""
        ...


class Adaptive:
    """The budget."""

    def __init__(self, agenda: Agenda, seed: int) -> None:
        settings = BackpressureSettings(
            max_concurrent=MOST_IN_FLIGHT, per_account_concurrent=2, rate_per_second=1_000, burst=1_000
        )
        self.admission = LocalAdmission(settings, rng=Random(seed), time=agenda.time)

    def enter(self, account: str, now: float) -> object:
        """Ask the budget."""
        scopes = (Scope(ScopeKind.ACCOUNT, account), APP)
        decision = self.admission.admit(scopes, Priority.NORMAL, source="meta")
        if isinstance(decision, Granted):
            return decision.grant
        if isinstance(decision, Rejected):
            return Later(decision.retry_after, about_account=False)
        return Later(decision.seconds, about_account=decision.scope == str(scopes[0]))

    def leave(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Settle; the park says when the call may be made again."""
        if isinstance(token, Grant):
            self.admission.release(token, outcome)
        return outcome.park_seconds or 5.0


@dataclass
class Fixed:
    """So many calls at once, and no account before the time the platform asked for."""

    slots: int
    in_flight: int = 0
    parked: dict[str, float] = field(default_factory=dict)

    def enter(self, account: str, now: float) -> object:
        """Take a slot."""
        if self.in_flight >= self.slots:
            return Later(0.1, about_account=False)
        if (left := self.parked.get(account, 0.0) - now) > 0:
            return Later(left, about_account=True)
        self.in_flight += 1
        return account

    def leave(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Give the slot back, and park."""
        self.in_flight -= 1
        if outcome.kind is CallOutcomeKind.THROTTLED:
            self.parked[str(token)] = now + (outcome.park_seconds or 0.0)
        return outcome.park_seconds or 5.0


@dataclass
class AirflowPool(Fixed):
    """So many tasks at once; one that fails is tried again after the task's own delay, whatever the platform asked."""

    def leave(self, token: object, outcome: CallOutcome, now: float) -> float:
        """Give the slot back."""
        self.in_flight -= 1
        return RETRY_DELAY_SECONDS


@dataclass
class Score:
    """What a way of bounding achieved."""

    completed: int = 0
    throttled: int = 0
    latencies: list[float] = field(default_factory=list)
    in_flight: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def p95(self) -> float:
        """Seconds that 95 of 100 calls stayed under."""
        return sorted(self.latencies)[int(0.95 * (len(self.latencies) - 1))]


@dataclass
class Backlog:
    """An endless backlog: one asker, because all calls are of one class; it starts calls as fast as they are let in."""

    agenda: Agenda
    platform: Platform
    bound: Bound
    rng: Random
    score: Score = field(default_factory=Score)
    again: deque[str] = field(default_factory=deque)
    asking: bool = False

    def ask(self) -> None:
        """Start every call that may start now."""
        self.asking = False
        for _ in range(MOST_IN_FLIGHT):
            account = self.again.popleft() if self.again else f"act_{self.rng.randrange(ACCOUNTS)}"
            token = self.bound.enter(account, self.agenda.now)
            if not isinstance(token, Later):
                self._call(account, token)
            elif token.about_account:
                self.agenda.after(token.seconds, partial(self.again.append, account))
            else:
                self.again.appendleft(account)
                self._ask_after(token.seconds)
                return
        self._ask_after(0.1)

    def _ask_after(self, seconds: float) -> None:
        if not self.asking:
            self.asking = True
            self.agenda.after(seconds, self.ask)

    def _call(self, account: str, token: object) -> None:
        answer = self.platform.start(account, self.agenda.now)

        def end() -> None:
            self.platform.finish()
            seconds = self.bound.leave(token, answer.outcome, self.agenda.now)
            if answer.outcome.kind is CallOutcomeKind.OK:
                self.score.completed += 1
                self.score.latencies.append(answer.seconds)
            else:
                self.score.throttled += answer.outcome.kind is CallOutcomeKind.THROTTLED
                self.agenda.after(seconds, partial(self.again.append, account))

        self.agenda.after(answer.seconds, end)


def play(name: str, slots: int = 0, seed: int = 7) -> Score:
    """Let the platform's capacity halve and double, and return how `adaptive`, `fixed` or `pool` did."""
    agenda = Agenda(START)
    quota = QuotaSetting(base_calls=10_000_000, cpu_seconds=1e9, wall_seconds=1e9, score=False)
    law = Law(quota, sends_usage=False, service_seconds=1.9, spread=0.3, slots=SLOTS[0], timeout_seconds=25.0)
    platform = Platform(law, START, Random(seed))
    bounds: dict[str, Bound] = {"adaptive": Adaptive(agenda, seed), "fixed": Fixed(slots), "pool": AirflowPool(slots)}
    backlog = Backlog(agenda, platform, bounds[name], Random(seed))
    for number, capacity in enumerate(SLOTS):
        agenda.after(number * PHASE_SECONDS, partial(platform.resize, capacity, SHEDS_OVER * capacity))
    _watch(agenda, platform, backlog.score)
    backlog.ask()
    agenda.run(START + PHASE_SECONDS * len(SLOTS))
    return backlog.score


def _watch(agenda: Agenda, platform: Platform, score: Score, every: float = 5.0) -> None:
    def look() -> None:
        score.in_flight.append((agenda.now - START, platform.in_flight, platform.slots))
        agenda.after(every, look)

    look()
