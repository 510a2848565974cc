"""A simulated day of up to 100,000 accounts on virtual time: what the platform is asked for, and what waits.

Real: the fetch planner and the refetch schedule of each account, the times at which days are closed, freshness, and
the whole budget with its limits, breakers, parks, shares and leases. Simulated: the opens; a forecast that names nine
of ten of them a quarter of an hour ahead, and as many that never come; the platform's latency and quota; an outage;
workers that die. `python -m tests.simulation.large_fleet` runs it, and every invariant is checked at every call.
"""

import argparse
import math
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from adwarm.backpressure import CallOutcomeKind, CallRequest, Grant, Rejected
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.planning.further_warms import get_close_time
from adwarm.settings import BackpressureSettings
from adwarm_client.date_ranges import ONE_DAY
from graph_simulator.fault_profile import QuotaSetting
from tests.benchmarks.measure import sized
from tests.benchmarks.targets import TargetResults
from tests.simulation.local_admission import LocalAdmission

from .agenda import EventScheduler
from .large_accounts import RANGES, ZONES, Call, SimulatedAccount, at, make_accounts
from .platform import APP, CallResult, PlatformRules, SimulatedPlatform
from .watch import InvariantChecker, InvariantViolation

START = datetime(2026, 9, 16, tzinfo=UTC).timestamp()
HOUR = 3_600.0
SOURCE = "meta"
LONGEST_WAIT_SECONDS = 30.0
RETRY_SECONDS = 20.0
WARM_AHEAD_SECONDS = 900.0
CALLS_PER_ACCOUNT_DAY = 11.0
"""Expected calls of an account a day, from which a fleet is sized before its first simulation."""
BUSIEST_HOUR = 2.5
"""The busiest hour / the mean hour."""
SERVICE_SECONDS = 2.0
HOURS = sized(24.0, 1.0)
"""How long `make bench NAME=large-fleet` simulates."""


@dataclass(frozen=True)
class LargeFleetScenario:
    """The parameters of the day. Times are seconds from its start, 00:00 UTC on a Wednesday.

    Attributes:
        opens: mean opens of an account's reports a day.
        predicted: share of the opens that the forecast names.
        unused: warms that nobody uses / opens.
        workers: worker processes; `threads` of each serve each class.
        outage: when 95 % of the calls fail.
        backfill_share: share of the accounts of which 90 days are backfilled from hour 13 on, in the lowest class.
    """

    accounts: int = 1_000
    seed: int = 11
    hours: float = 24.0
    opens: float = 3.0
    predicted: float = 0.9
    unused: float = 0.9
    workers: int = 4
    threads: int = 8
    max_concurrent: int = 10
    rate_per_second: float = 50.0
    deaths: int = 12
    outage: tuple[float, float] = (9 * HOUR, 9.5 * HOUR)
    backfill_share: float = 0.01

    @classmethod
    def sized_for(cls, accounts: int, **values: Any) -> "LargeFleetScenario":
        """Return a scenario whose limits fit the expected calls of the busiest hour, with half of them to spare."""
        busiest = accounts * CALLS_PER_ACCOUNT_DAY / 86_400 * BUSIEST_HOUR
        concurrent = max(10, math.ceil(busiest * SERVICE_SECONDS * 1.5))
        threads = 8
        return cls(
            accounts=accounts,
            max_concurrent=concurrent,
            rate_per_second=max(1.0, busiest * 1.5),
            workers=max(2, math.ceil(concurrent * 1.2 / threads)),
            threads=threads,
            **values,
        )


@dataclass(slots=True, eq=False)
class SimulatedJob:
    """Something to fetch for an account: the report of a range, the close of a day, or a block of a backfill."""

    account: SimulatedAccount
    priority: Priority
    due: float
    date_range: str = ""
    close: date | None = None
    backfill: date | None = None
    calls: deque[Call] = field(default_factory=deque)
    tries: int = 0
    first_call: float | None = None

    def plan(self, now: float) -> None:
        """Plan the calls by what is stored now."""
        moment = at(now)
        if self.close is not None:
            self.calls = deque(self.account.plan_close(self.close, moment))
        elif self.backfill is not None:
            self.calls = deque(self.account.plan_backfill(self.backfill, moment))
        else:
            self.calls = deque(self.account.plan_report(self.date_range, moment))


@dataclass(slots=True, eq=False)
class SimulatedThread:
    """A thread of a worker. `generation` is that of the worker when the thread started."""

    worker: int
    generation: int
    kind: Priority


@dataclass
class HourFigures:
    """What happened in one hour."""

    calls: Counter[Priority] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    most_in_flight: int = 0
    opens: int = 0
    hits: int = 0


class LargeFleet:
    """A running simulation."""

    def __init__(self, plan: LargeFleetScenario) -> None:
        self.plan, self.rng, self.agenda = plan, Random(plan.seed), EventScheduler(START)
        settings = BackpressureSettings(
            max_concurrent=plan.max_concurrent,
            rate_per_second=plan.rate_per_second,
            burst=max(50, math.ceil(plan.rate_per_second)),
        )
        quota = QuotaSetting(app_calls=math.ceil(plan.rate_per_second * HOUR * 1.1), cpu_seconds=1e6, wall_seconds=1e6)
        # The platform is not the bottleneck here; `tests.simulation.hour` overloads it.
        rules = PlatformRules(
            quota, service_seconds=SERVICE_SECONDS, slots=4 * plan.max_concurrent, outages=(plan.outage,)
        )
        self.admission = LocalAdmission(settings, rng=Random(plan.seed + 1), time=self.agenda.time)
        self.checker = InvariantChecker(plan.seed, self.admission.budget)
        self.platform = SimulatedPlatform(rules, START, Random(plan.seed + 2))
        self.accounts = make_accounts(plan.accounts, plan.opens, START, plan.seed + 3)
        self.hours = [HourFigures() for _ in range(math.ceil(plan.hours))]
        self.ready: dict[Priority, deque[SimulatedJob]] = {kind: deque() for kind in Priority}
        self.idle: dict[Priority, list[SimulatedThread]] = {kind: [] for kind in Priority}
        self.generation = [0] * plan.workers
        self.working: dict[SimulatedThread, tuple[SimulatedJob, Grant | None]] = {}
        self.waiting: Counter[Priority] = Counter()
        self.retries = self.deferred = 0
        self.done: Counter[Priority] = Counter()
        self.alone = 0

    def run(self) -> None:
        """Simulate the day.

        Raises:
            InvariantViolation: an invariant was broken.
        """
        plan = self.plan
        for worker in range(plan.workers):
            self._hire(worker)
        self._schedule_closes()
        for hour in range(math.ceil(plan.hours)):
            self.agenda.schedule(hour * HOUR, lambda hour=hour: self._schedule_opens(hour))
        for _ in range(plan.deaths):
            worker = self.rng.randrange(plan.workers)
            self.agenda.schedule(self.rng.uniform(0, plan.hours * HOUR), lambda worker=worker: self._kill(worker))
        self.agenda.schedule(min(13.0, plan.hours / 2) * HOUR, self._backfill)
        self.agenda.run(START + plan.hours * HOUR)
        refused, early = sum(self.platform.refused.values()), self.platform.early
        if refused or early:
            raise InvariantViolation(f"{refused} calls were over a limit, {early} came before their time")

    def _schedule_closes(self) -> None:
        first = datetime.fromtimestamp(START, UTC).date() - 2 * ONE_DAY
        for item in self.accounts:
            for day in (first + timedelta(days=offset) for offset in range(4)):
                passed = get_close_time(item.account, day).timestamp() - START
                if 0 <= passed < self.plan.hours * HOUR:
                    self._add(SimulatedJob(item, Priority.LOW, START + passed, close=day))

    def _schedule_opens(self, hour: int) -> None:
        """Schedule the opens of an hour, and the warms before them."""
        rng, plan, now = self.rng, self.plan, self.agenda.now
        rates = {name: _open_share(name, now) for name in ZONES}
        ranges, shares = list(RANGES), list(RANGES.values())
        for item in self.accounts:
            rate = item.opens * rates[item.account.data_zone]
            for _ in range(_poisson(rng, rate)):
                opened = now + rng.uniform(0, HOUR)
                date_range = rng.choices(ranges, shares)[0]
                if rng.random() < plan.predicted:
                    warm_at = max(now, opened - rng.uniform(0.5, 1.0) * WARM_AHEAD_SECONDS)
                    self._add(SimulatedJob(item, Priority.NORMAL, warm_at, date_range))
                self.agenda.schedule(opened - now, lambda item=item, name=date_range: self._open(item, name))
            for _ in range(_poisson(rng, rate * plan.unused)):
                name = rng.choices(ranges, shares)[0]
                self._add(SimulatedJob(item, Priority.NORMAL, now + rng.uniform(0, HOUR), name))

    def _open(self, item: SimulatedAccount, date_range: str) -> None:
        figures = self._hour()
        figures.opens += 1
        if item.is_fresh(date_range, at(self.agenda.now)):
            figures.hits += 1
        else:
            self._add(SimulatedJob(item, Priority.CRITICAL, self.agenda.now, date_range))

    def _backfill(self) -> None:
        today = at(self.agenda.now).date()
        for item in self.accounts[: math.ceil(self.plan.accounts * self.plan.backfill_share)]:
            for days in (60, 90, 120):
                due = self.agenda.now + self.rng.uniform(0, HOUR)
                self._add(SimulatedJob(item, Priority.LOW, due, backfill=today - timedelta(days=days)))

    def _hour(self) -> HourFigures:
        return self.hours[min(len(self.hours) - 1, int((self.agenda.now - START) // HOUR))]

    def _add(self, job: SimulatedJob, seconds: float | None = None) -> None:
        """Make a job ready in `seconds`, else when it is due."""
        self.agenda.schedule(job.due - self.agenda.now if seconds is None else seconds, lambda: self._make_ready(job))

    def _make_ready(self, job: SimulatedJob) -> None:
        self.ready[job.priority].append(job)
        self._dispatch(job.priority)

    def _dispatch(self, kind: Priority) -> None:
        idle, ready = self.idle[kind], self.ready[kind]
        while idle and ready:
            thread = idle.pop()
            if thread.generation == self.generation[thread.worker]:
                self._start(thread, ready.popleft())

    def _hire(self, worker: int) -> None:
        for kind in Priority:
            for _ in range(self.plan.threads):
                self.idle[kind].append(SimulatedThread(worker, self.generation[worker], kind))
            self._dispatch(kind)

    def _kill(self, worker: int) -> None:
        """End a worker: its grants stay until they expire, its accounts until their fetch leases do."""
        self.generation[worker] += 1
        self.checker.record(self.agenda.now, "killed", worker)
        lease = self.admission.budget.settings.lease_seconds
        for thread in [thread for thread in self.working if thread.worker == worker]:
            job, grant = self.working.pop(thread)
            if grant is None:
                self.waiting[job.priority] -= 1
            else:
                self.agenda.schedule(lease, lambda grant=grant: self.checker.open_grants.pop(grant.id, None))
            self.agenda.schedule(lease, lambda job=job: self._take_over(job))
        self.agenda.schedule(1.0, lambda: self._hire(worker))

    def _take_over(self, job: SimulatedJob) -> None:
        job.account.is_busy = False
        self._make_ready(job)

    def _start(self, thread: SimulatedThread, job: SimulatedJob) -> None:
        now = self.agenda.now
        if job.account.is_busy:  # the flight that is under way may bring what this one needs
            self._add(job, 2.0)
            self._free(thread)
            return
        job.plan(now)
        if job.date_range:
            self.alone += job.account.count_alone(job.date_range, at(now))
        if not job.calls:
            self._finish(thread, job)
            return
        job.account.is_busy = True
        self.waiting[job.priority] += 1
        self.working[thread] = (job, None)
        self._admit(thread, job, now)

    def _admit(self, thread: SimulatedThread, job: SimulatedJob, since: float) -> None:
        """Ask for admission of the next call; defer the job when that takes longer than a thread may wait."""
        if thread not in self.working:
            return
        now = self.agenda.now
        chain = (Scope(ScopeKind.ACCOUNT, job.account.account.id), APP)
        decision = self.admission.admit(CallRequest(chain, job.priority, SOURCE))
        if isinstance(decision, Grant):
            self._call(thread, job, decision)
            return
        seconds = decision.retry_after if isinstance(decision, Rejected) else decision.seconds
        if isinstance(decision, Rejected) or now + seconds > since + LONGEST_WAIT_SECONDS:
            self.deferred += 1
            self.waiting[job.priority] -= 1
            self._put_back(thread, job, seconds)
            return
        self.agenda.schedule(max(seconds, 0.001), lambda: self._admit(thread, job, since))

    def _call(self, thread: SimulatedThread, job: SimulatedJob, grant: Grant) -> None:
        now, figures = self.agenda.now, self._hour()
        asking = {kind for kind, number in self.waiting.items() if number > 0}
        self.checker.on_admitted(grant.priority, asking, now)
        self.waiting[job.priority] -= 1
        self.working[thread] = (job, grant)
        self.checker.on_call_started(grant, max(0.0, now - job.due), now)
        figures.calls[job.priority] += 1
        if job.first_call is None:
            job.first_call = now
            figures.waits.append(max(0.0, now - job.due))
        answer = self.platform.start(job.account.account.id, now)
        figures.most_in_flight = max(figures.most_in_flight, self.platform.in_flight)
        self.agenda.schedule(answer.seconds, lambda: self._answered(thread, job, grant, answer))

    def _answered(self, thread: SimulatedThread, job: SimulatedJob, grant: Grant, answer: CallResult) -> None:
        self.platform.finish()
        if self.working.get(thread, (None, None))[1] is not grant:
            return  # the worker died
        now, outcome = self.agenda.now, answer.outcome
        self.admission.release(grant, outcome)
        self.checker.on_call_ended(grant, now, outcome.kind)
        if answer.error is not None:
            self.checker.on_parked(outcome.parked_scope or grant.scopes[0], answer.error.until.timestamp())
        if outcome.kind is not CallOutcomeKind.OK:
            self.retries += 1
            job.tries += 1
            self._put_back(thread, job, outcome.park_seconds or RETRY_SECONDS * 2 ** min(4, job.tries - 1))
            return
        job.account.store(job.calls.popleft(), at(now))
        if not job.calls:
            job.account.is_busy = False
            self._finish(thread, job)
            return
        self.waiting[job.priority] += 1
        self.working[thread] = (job, None)
        self._admit(thread, job, now)

    def _put_back(self, thread: SimulatedThread, job: SimulatedJob, seconds: float) -> None:
        job.account.is_busy = False
        self._add(job, seconds)
        self._free(thread)

    def _finish(self, thread: SimulatedThread, job: SimulatedJob) -> None:
        if job.date_range:
            job.account.store_entry(job.date_range, at(self.agenda.now))
        self.done[job.priority] += 1
        self._free(thread)

    def _free(self, thread: SimulatedThread) -> None:
        self.working.pop(thread, None)
        self.idle[thread.kind].append(thread)
        # An event of its own: a long row of jobs without calls must not become a deep stack.
        self.agenda.schedule(0.0, lambda: self._dispatch(thread.kind))

    def summary(self) -> dict[str, Any]:
        """Return the figures of the day."""
        waits = sorted(wait for figures in self.hours for wait in figures.waits)
        hourly = [sum(figures.calls.values()) for figures in self.hours]
        return {
            "accounts": self.plan.accounts,
            "calls": sum(hourly),
            "calls for reports": sum(
                h.calls[kind] for h in self.hours for kind in (Priority.CRITICAL, Priority.NORMAL)
            ),
            "the same, each report alone": self.alone,
            "calls an account": round(sum(hourly) / self.plan.accounts, 2),
            "busiest hour": max(hourly),
            "busiest / mean": round(max(hourly) * len(hourly) / max(1, sum(hourly)), 2),
            "in flight": max(figures.most_in_flight for figures in self.hours),
            "wait p50 s": round(_quantile(waits, 0.5), 1),
            "wait p95 s": round(_quantile(waits, 0.95), 1),
            "hit ratio": round(sum(h.hits for h in self.hours) / max(1, sum(h.opens for h in self.hours)), 3),
            "deferred": self.deferred,
            "retries": self.retries,
            "left": sum(len(jobs) for jobs in self.ready.values()),
            "digest": self.checker.digest,
        }


def _open_share(zone_name: str, moment: float) -> float:
    """Return which share of a day's opens falls into the hour from `moment` in a zone: most in office hours."""
    local = at(moment).astimezone(ZoneInfo(zone_name))
    weight = {hour: 0.15 + math.exp(-(((hour - 10.5) / 3.5) ** 2)) for hour in range(24)}
    return weight[local.hour] / sum(weight.values())


def _poisson(rng: Random, mean: float) -> int:
    number, passed = 0, rng.expovariate(1.0)
    while passed < mean:
        number += 1
        passed += rng.expovariate(1.0)
    return number


def _quantile(values: Sequence[float], q: float) -> float:
    return values[min(len(values) - 1, int(len(values) * q))] if values else 0.0


def main(arguments: Sequence[str]) -> int:
    """Simulate each size, print a table, and write `.adwarm/bench/large_fleet.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accounts", type=int, nargs="*", default=sized([100, 1_000, 10_000, 100_000], [10]))
    parser.add_argument("--seed", type=int, default=11)
    chosen = parser.parse_args(arguments)
    results = TargetResults("large_fleet", "a simulated day: calls, waits and opens that found a fresh report")
    rows, hourly, broken = [], {}, 0
    for number in chosen.accounts:
        started, fleet = (
            time.perf_counter(),
            LargeFleet(LargeFleetScenario.sized_for(number, seed=chosen.seed, hours=HOURS)),
        )
        try:
            fleet.run()
        except InvariantViolation as violation:
            print(f"broken: {violation}")
            broken += 1
        plan = fleet.plan
        limits = {"limit": plan.max_concurrent, "rate a s": round(plan.rate_per_second, 1), "workers": plan.workers}
        rows.append({**fleet.summary(), **limits, "seconds": round(time.perf_counter() - started)})
        hourly[number] = [{kind.name: hour.calls[kind] for kind in Priority} for hour in fleet.hours]
    results.check_equal("invariants broken", broken, 0)
    results.check_equal("jobs left at the end, beyond the threads at work", sum(row["left"] for row in rows), 0)
    fewer = [row["calls for reports"] / max(1, row["the same, each report alone"]) for row in rows]
    results.check_at_most("calls for reports / those of each report alone", max(fewer), 0.6)
    names = [f"{row['accounts']:,} accounts" for row in rows]
    columns = [
        {"figure": what, **{name: row[what] for name, row in zip(names, rows, strict=True)}}
        for what in rows[0]
        if what not in {"accounts", "digest"}
    ]
    return results.finish(columns, runs=rows, hourly=hourly)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
