"""A simulated week of two thousand accounts under one app's quota, with an outage, a slow day and dying workers.

`python -m tests.simulation.week` runs it, checks every invariant at every event, and writes `.adwarm/bench/week.html`.
"""

import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from statistics import fmean
from typing import Any

from adwarm.backpressure import FLEET, Grant
from adwarm.backpressure.request_queue import QueueRules
from adwarm.foundation.errors import Refused
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store.requests import RequestStatus
from graph_simulator.fault_profile import QuotaSetting
from tests.benchmarks.measure import FOLDER, save_results, sized
from tests.simulation.local_admission import LocalAdmission

from .agenda import EventScheduler
from .fleet import FleetState, WorkQueue, start_workers
from .memory_queue import MemoryQueue
from .platform import APP, PlatformRules, SimulatedPlatform
from .watch import InvariantChecker, InvariantViolation
from .week_page import week_page

MONDAY = 1_764_547_200.0
HOUR, DAY = 3_600.0, 86_400.0
STEP_SECONDS = 600.0
DAYS = sized(7.0, 1 / 24)
"""How long `make bench NAME=week` simulates."""
FIRST_DAY = date(2026, 1, 2)
_COLUMNS = ("asked", "refused", *map(str, RequestStatus))


@dataclass(frozen=True)
class WeekScenario:
    """The parameters of the week. Times are (start, end) in seconds from Monday, 00:00.

    Attributes:
        peak: requests per second at the busiest time, all classes together.
        app_calls: calls that the app may make in a rolling hour.
        backfill: when a backfill runs, in the lowest class.
        slow: when the platform has half its capacity.
    """

    seed: int = 7
    days: float = 7.0
    accounts: int = 2_000
    peak: float = 0.75
    app_calls: int = 2_000
    workers: int = 4
    hands: int = 3
    deaths: int = 28
    outage: tuple[float, float] = (DAY + 10 * HOUR, DAY + 10.75 * HOUR)
    slow: tuple[float, float] = (2 * DAY + 8 * HOUR, 2 * DAY + 18 * HOUR)
    backfill: tuple[float, float] = (3 * DAY + 13 * HOUR, 3 * DAY + 19 * HOUR)


@dataclass
class Step:
    """Ten minutes of the week."""

    hours: float
    waits: dict[Priority, list[float]] = field(default_factory=lambda: {priority: [] for priority in Priority})
    in_flight: list[int] = field(default_factory=list)
    limit: int = 0
    slots: int = 0
    usage: float = 0.0
    pending: dict[Priority, int] = field(default_factory=dict)
    parked: int = 0
    breaker: str = "closed"


@dataclass
class Recorder(InvariantChecker):
    """An invariant checker that records a step for every ten minutes."""

    steps: list[Step] = field(default_factory=lambda: [Step(0.0)])

    def on_call_started(self, grant: Grant, waited: float, now: float) -> None:
        """Record how long the call waited, after the invariants were checked."""
        super().on_call_started(grant, waited, now)
        self.steps[-1].waits[grant.priority].append(waited)


class WeekSimulation:
    """A running simulation of a week."""

    def __init__(self, plan: WeekScenario) -> None:
        self.plan, self.rng = plan, Random(plan.seed)
        self.agenda = EventScheduler(MONDAY)
        settings = BackpressureSettings(
            max_concurrent=24, rate_per_second=plan.app_calls / HOUR, burst=20, queue_size=200
        )
        quota = QuotaSetting(base_calls=60, calls_per_ad=0, app_calls=plan.app_calls, cpu_seconds=1e6, wall_seconds=1e6)
        rules = PlatformRules(quota, service_seconds=4.0, slots=8, outages=(plan.outage,))
        admission = LocalAdmission(settings, rng=Random(plan.seed + 1), time=self.agenda.time)
        self.watch = Recorder(plan.seed, admission.budget)
        self.platform = SimulatedPlatform(rules, MONDAY, Random(plan.seed + 2))
        self.world = FleetState(self.agenda, self.platform, admission, self.watch)
        self.desk = WorkQueue(MemoryQueue(QueueRules.from_settings(settings)))
        self.refused: Counter[Priority] = Counter()
        self.asked: Counter[Priority] = Counter()
        self._days = 0

    def run(self) -> None:
        """Simulate the week.

        Raises:
            InvariantViolation: an invariant was broken.
        """
        plan = self.plan
        kill = start_workers(self.world, [self.desk], plan.workers, plan.hands)
        for _ in range(plan.deaths):
            index = self.rng.randrange(plan.workers)
            self.agenda.schedule(self.rng.uniform(0, plan.days * DAY), lambda index=index: kill(index))
        self.agenda.schedule(plan.slow[0], lambda: self.platform.resize(4, 0))
        self.agenda.schedule(plan.slow[1], lambda: self.platform.resize(8, 0))
        self._ask_for_a_while()
        self._look()
        self.agenda.run(MONDAY + plan.days * DAY)
        self._judge()

    def _ask_for_a_while(self) -> None:
        """Schedule the requests of the next ten minutes, then repeat."""
        passed = self.agenda.now - MONDAY
        for priority in Priority:
            for _ in range(_poisson(self.rng, self._rate(priority, passed) * STEP_SECONDS)):
                self.agenda.schedule(self.rng.uniform(0, STEP_SECONDS), lambda priority=priority: self._ask(priority))
        self.agenda.schedule(STEP_SECONDS, self._ask_for_a_while)

    def _rate(self, priority: Priority, passed: float) -> float:
        """Return the requests per second of a class: readers come in office hours, warming runs before them."""
        day, hour = divmod(passed / HOUR, 24)
        weekday = 1.0 if day < 5 else 0.3
        office = math.exp(-(((hour - 11.5) / 4.0) ** 2)) * weekday
        before = math.exp(-(((hour - 7.0) / 2.5) ** 2)) * weekday
        shape = {
            Priority.CRITICAL: 0.2 * office,
            Priority.HIGH: 0.25 * office + 0.05,
            Priority.NORMAL: 0.35 * before + 0.1,
            Priority.LOW: 0.1,
        }[priority]
        if priority is Priority.LOW and self.plan.backfill[0] <= passed < self.plan.backfill[1]:
            shape += 0.6
        return self.plan.peak * shape

    def _ask(self, priority: Priority) -> None:
        self._days += 1
        # A tenth of the accounts gets half of the requests, so that busy accounts reach their own quota too.
        most = self.plan.accounts // 10 if self.rng.random() < 0.5 else self.plan.accounts
        key = ReportKey(
            f"act_{self.rng.randrange(most) + 1}", f"2026-01-01..{FIRST_DAY + timedelta(self._days % 9_999)}"
        )
        wait = 30.0 if priority is Priority.CRITICAL else None
        self.asked[priority] += 1
        try:
            self.desk.queue.enqueue(key, priority, self.agenda.now, wait)
        except Refused:
            self.refused[priority] += 1
            return
        self.desk.wake()

    def _look(self) -> None:
        """Complete a step every ten minutes, and sample the calls in flight every half minute."""
        step, now = self.watch.steps[-1], self.agenda.now
        step.in_flight.append(self.platform.in_flight)
        if now - MONDAY >= (len(self.watch.steps)) * STEP_SECONDS:
            self._complete(step, now)
            self.watch.steps.append(Step((now - MONDAY) / HOUR))
        self.agenda.schedule(30.0, self._look)

    def _complete(self, step: Step, now: float) -> None:
        budget = self.world.admission.budget
        waiting = Counter(item.priority for item in self.desk.queue.pending())
        step.pending = {priority: waiting[priority] for priority in Priority}
        step.slots, step.limit = self.platform.slots, budget.scope_state(FLEET, now).slots()
        step.usage = budget.scope_state(APP, now).usage_percent(now) or 0.0
        step.parked = sum(until > now for scope, until in self.watch.parked_until.items())
        step.breaker = str(budget.breakers["meta"].state) if budget.breakers else "closed"

    def _judge(self) -> None:
        refused, early = sum(self.platform.refused.values()), self.platform.early
        if refused or early:
            raise InvariantViolation(f"{refused} calls were over a limit, {early} came before their time")

    def summary(self) -> dict[str, Any]:
        """Return the figures of the page's table and headline."""
        ended: dict[Priority, Counter[str]] = {priority: Counter() for priority in Priority}
        for item in self.desk.queue.requests.values():
            ended[item.priority][str(item.status)] += 1
        busy = [step.usage for step in self.watch.steps if step.usage >= 75]
        return {
            "seed": self.plan.seed,
            "digest": self.watch.digest,
            "calls": self.watch.calls,
            "accounts": self.plan.accounts,
            "app_calls": self.plan.app_calls,
            "deaths": self.plan.deaths,
            "over_limit": sum(self.platform.refused.values()),
            "early": self.platform.early,
            "busy_usage": fmean(busy) if busy else 0.0,
            "classes": {
                priority.name.lower(): {
                    "asked": self.asked[priority],
                    "refused": self.refused[priority],
                    **ended[priority],
                    "waits": sorted(self.watch.waits[priority]),
                }
                for priority in Priority
            },
        }


def _percentiles(waits: list[float]) -> dict[str, float]:
    """Return percentiles of sorted waits in seconds; 0 where nothing waited."""
    return {f"wait p{q} s": waits[len(waits) * q // 100] if waits else 0.0 for q in (50, 95, 99)}


def _poisson(rng: Random, mean: float) -> int:
    """Return a number of arrivals."""
    number, passed = 0, rng.expovariate(1.0)
    while passed < mean:
        number += 1
        passed += rng.expovariate(1.0)
    return number


def main(days: float = DAYS) -> int:
    """Run, write the page and the figures, and print where they are."""
    started = time.perf_counter()
    week = WeekSimulation(WeekScenario(days=days))
    try:
        week.run()
    except InvariantViolation as broken:
        print(f"FAIL: {broken}")
        return 1
    summary = week.summary()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "week.html"
    path.write_text(week_page(summary, week.watch.steps, week.plan), encoding="utf-8")
    classes: dict[str, dict[str, Any]] = summary.pop("classes")
    rows = [
        {"what": name, **{column: figures.get(column, 0) for column in _COLUMNS}, **_percentiles(figures["waits"])}
        for name, figures in classes.items()
    ]
    save_results("week", f"{week.plan.days:g} days of {week.plan.accounts:,} accounts", rows, **summary)
    print(f"PASS: {week.watch.calls:,} calls, every invariant kept; {time.perf_counter() - started:.0f} s; {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else DAYS))
