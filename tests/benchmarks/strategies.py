"""Strategies on the simulated platform: a small budget that reaches every report, and two that share a day.

Rotation: 1,200 reports (400 accounts, three ranges) on a budget of 100 upstream calls, one run an hour.
Day: two strategies with different schedules, budgets and paces, a run every 15 minutes from midnight to midnight.
Freshness: the default strategy over two days, and the share of time in which its reports were fresh.
Planning and fetching are the product's; Airflow's part, a task as a mapped task, is a loop with a clock for each task.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from adwarm.foundation.clock import VirtualClock, floor_to
from adwarm.foundation.local_time import zone
from adwarm.model import Priority, Strategy
from adwarm.planning.store_view import StoreView
from adwarm.planning.strategies import MappedTask, decide_strategies, expand_keys
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES, load_strategies, select_due
from adwarm.prefetch.warm_batch import Pace, warm_batch
from adwarm.runtime import Runtime
from adwarm.store import jobs, warms, write_transaction
from adwarm.store.strategies import remove_strategy, save_strategy
from graph_simulator.config import FIRST_ACCOUNT, SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.benchmarks.meta import save_accounts, set_time, temporary_runtime
from tests.benchmarks.targets import TargetResults

DAG = "adwarm_strategy_warming"
START = datetime(2026, 9, 16, tzinfo=UTC)
HOUR, STEP = timedelta(hours=1), timedelta(minutes=15)
SAMPLED_AT = timedelta(minutes=7)
LATENCY = timedelta(seconds=20)
RANGES = ("yesterday", "last_7d", "last_30d")
DAY = sized((20, 0, 24), (8, 5, 6))
"""Accounts, first hour and hours of the two strategies' day."""
DAYS = sized(2.0, 0.125)


@dataclass(frozen=True)
class Batch:
    """Keys that one task fetched between two pauses."""

    run_id: str
    strategy: str
    task: int
    at: datetime
    keys: tuple[str, ...]
    calls: int


@dataclass
class Day:
    """Runs of the strategies against one platform, one after the other."""

    server: SimulatorServer
    runtime: Runtime
    clock: VirtualClock
    batches: list[Batch] = field(default_factory=list)
    latency: timedelta = timedelta(0)
    """From the due time of a run to its first fetch."""

    def define(self, *strategies: Strategy) -> None:
        """Make these the only strategies."""
        load_strategies(self.runtime.engine, self.clock.now())
        with write_transaction(self.runtime.engine) as connection:
            remove_strategy(connection, DEFAULT_STRATEGIES[0].name, self.clock.now())
            for strategy in strategies:
                save_strategy(connection, strategy, self.clock.now())

    def run(self, at: datetime) -> int:
        """Plan what is due at `at` and fetch it; return the calls that the platform has counted."""
        set_time(self.server, self.clock, at)
        run_id, before = f"{DAG}/{at.isoformat()}", self.server.calls()["total"]
        selection = select_due(self.runtime.engine, run_id, at)
        if selection.is_empty:
            return 0
        summary = decide_strategies(self.runtime.context, selection, at, run_id)
        jobs.start(self.runtime.engine, run_id, DAG, summary.total("planned"), at)
        for task in summary.tasks:
            self._run_task(run_id, task, at)
        jobs.finish(self.runtime.engine, run_id, at)
        return int(self.server.calls()["total"] - before)

    def _run_task(self, run_id: str, task: MappedTask, at: datetime) -> None:
        """Fetch one task by a clock of its own, because tasks run at the same time."""
        names = {row.id: row.strategy for row in warms.list_by_run(self.runtime.engine, run_id)}
        prefetch = replace(self.runtime.prefetch_engine(), clock=VirtualClock(at + self.latency))
        fetch = prefetch.run

        def recorded(requests: Any, priority: Priority, **kwargs: Any) -> Any:
            result = fetch(requests, priority, **kwargs)
            keys = tuple(str(item.key) for item in requests)
            strategy = str(names[requests[0].reference])
            self.batches.append(Batch(run_id, strategy, task.batch, prefetch.clock.now(), keys, result.calls))
            return result

        prefetch.run = recorded  # type: ignore[method-assign]
        pace = Pace(task.slice_size, task.pause_seconds, task.max_calls)
        if errors := warm_batch(prefetch, run_id, task.batch, pace=pace).errors():
            raise SystemExit(f"not every report was warmed: {errors}")


def _names(number: int) -> tuple[str, ...]:
    return tuple(f"act_{FIRST_ACCOUNT + index}" for index in range(number))


def measure_rotation(accounts: int = 400, budget: int = 100, runs: int = 12) -> dict[str, Any]:
    """Return how many runs it took until every report was warmed, and the most calls of one run."""
    config = SimulatorConfig(accounts=accounts, ads=2, seed=7, now=START)
    clock, seen, calls, until_all = VirtualClock(START), Counter[str](), [], 0
    total = accounts * len(RANGES)
    with SimulatorServer(config) as server, temporary_runtime(server.url, clock) as runtime:
        save_accounts(runtime, server)
        day = Day(server, runtime, clock)
        day.define(Strategy("all", RANGES, cron="@hourly", max_calls_per_hour=budget, batch_size=30, delay_seconds=1))
        for number in range(runs):
            calls.append(day.run(START + number * HOUR))
            seen = Counter(key for batch in day.batches for key in batch.keys)
            until_all = until_all or (number + 1 if len(seen) == total else 0)
    return {
        "reports": total,
        "budget": budget,
        "runs": runs,
        "warmed at least once": len(seen),
        "runs until all were": until_all,
        "most turns of a report": max(seen.values()),
        "most calls of a run": max(calls),
        "calls": sum(calls),
    }


def measure_freshness(zone: str = "UTC", accounts: int = 2, days: float = DAYS, **values: Any) -> dict[str, Any]:
    """Return the share of time in which the reports of the default strategy were fresh.

    Args:
        zone: time zone of the accounts.
        accounts: number of accounts.
        days: length of the measurement.
        values: fields of the strategy that differ from the default.
    """
    config = SimulatorConfig(accounts=accounts, ads=2, seed=7, now=START, zone=zone)
    clock, fresh, samples, calls = VirtualClock(START), Counter[str](), 0, 0
    with SimulatorServer(config) as server, temporary_runtime(server.url, clock) as runtime:
        save_accounts(runtime, server)
        day = Day(server, runtime, clock, latency=LATENCY)
        strategy = replace(DEFAULT_STRATEGIES[0], opened_only=False, **values)
        day.define(strategy)
        keys = expand_keys(strategy, StoreView(runtime.context, START))
        for number in range(timedelta(days=days) // STEP):
            at = START + number * STEP
            calls += day.run(at)
            moment = at + SAMPLED_AT
            ends = StoreView(runtime.context, moment).get_fresh_until(keys, [moment] * len(keys))
            fresh.update(str(key) for key, end in zip(keys, ends, strict=True) if end is not None and end > moment)
            samples += 1
    shares = [fresh[str(key)] / samples for key in keys]
    return {
        "zone": zone,
        "reports": len(keys),
        "fresh": sum(shares) / len(shares),
        "worst": min(shares),
        "runs": len({batch.run_id for batch in day.batches}),
        "calls": calls,
    }


def two_strategies(accounts: int) -> tuple[Strategy, Strategy]:
    """Return two strategies that differ in everything."""
    return (
        Strategy(
            "dashboards",
            ("yesterday", "last_7d"),
            excluded_accounts=_names(accounts)[:2],
            cron="0 */6 * * *",
            max_calls_per_hour=12,
            batch_size=3,
            delay_seconds=20,
            max_parallel_batches=2,
        ),
        Strategy(
            "newsroom",
            ("today",),
            cron="*/30 9-17 * * mon-fri",
            time_zone="Europe/Berlin",
            max_calls_per_hour=7,
            batch_size=2,
            delay_seconds=3,
            max_parallel_batches=1,
            priority="high",
        ),
    )


@dataclass(frozen=True)
class Conduct:
    """What one strategy did in the day, beside what it may do."""

    strategy: Strategy
    runs: int
    reports: int
    calls: int
    most_calls_in_an_hour: int
    largest_batch: int
    most_tasks: int
    delays: frozenset[float]
    hours: frozenset[int]


def measure_day(accounts: int = 20, first_hour: int = 0, hours: int = 24) -> tuple[Conduct, ...]:
    """Return what each of two strategies did in some hours of a day; by default from midnight to midnight."""
    config = SimulatorConfig(accounts=accounts, ads=2, seed=7, now=START)
    clock = VirtualClock(START)
    with SimulatorServer(config) as server, temporary_runtime(server.url, clock) as runtime:
        save_accounts(runtime, server)
        day = Day(server, runtime, clock)
        strategies = two_strategies(accounts)
        day.define(*strategies)
        for number in range(first_hour * HOUR // STEP, (first_hour + hours) * HOUR // STEP):
            day.run(START + number * STEP)
    return tuple(_conduct(day.batches, strategy) for strategy in strategies)


def _conduct(batches: Sequence[Batch], strategy: Strategy) -> Conduct:
    own = [batch for batch in batches if batch.strategy == strategy.name]
    hourly, tasks, delays = Counter[datetime](), dict[str, set[int]](), set[float]()
    for batch in own:
        hourly[floor_to(batch.at, HOUR)] += batch.calls
        tasks.setdefault(batch.run_id, set()).add(batch.task)
    for first, second in pairwise(own):
        if (first.run_id, first.task) == (second.run_id, second.task):
            delays.add((second.at - first.at).total_seconds())
    # The first run of a day is the first one ever: it is due at once.
    later = [batch.at.astimezone(zone(strategy.time_zone)).hour for batch in own if batch.run_id != own[0].run_id]
    return Conduct(
        strategy,
        len(tasks),
        sum(len(batch.keys) for batch in own),
        sum(batch.calls for batch in own),
        max(hourly.values()),
        max(len(batch.keys) for batch in own),
        max(map(len, tasks.values())),
        frozenset(delays),
        frozenset(later),
    )


def main(arguments: Sequence[str]) -> int:
    """Measure, print and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=sized(400, 6))
    parser.add_argument("--budget", type=int, default=sized(100, 5))
    chosen = parser.parse_args(arguments)
    rotation, day = measure_rotation(chosen.accounts, chosen.budget), measure_day(*DAY)
    freshness = [
        {"what": f"freshness, accounts in {zone}, open_hours {hours}", **measure_freshness(zone, open_hours=hours)}
        for zone in sized(("UTC", "America/New_York"), ("UTC",))
        for hours in (0, 6)
    ]
    results = TargetResults("strategies", f"{rotation['reports']:,} reports, and two strategies in a day")
    results.check_equal(
        "reports warmed at least once within 12 runs", rotation["warmed at least once"], rotation["reports"]
    )
    results.check_at_most("most calls of a run", rotation["most calls of a run"], chosen.budget)
    for item in day:
        strategy = item.strategy
        name = strategy.name
        results.check_at_most(f"{name}: most calls in an hour", item.most_calls_in_an_hour, strategy.max_calls_per_hour)
        results.check_at_most(f"{name}: reports of a batch", item.largest_batch, strategy.batch_size)
        results.check_at_most(f"{name}: parallel batches", item.most_tasks, strategy.max_parallel_batches)
        results.check_equal(f"{name}: seconds between batches", sorted(item.delays), [float(strategy.delay_seconds)])
    for item in freshness[1::2]:
        results.check_at_most(f"share of time in which a report was not fresh, {item['zone']}", 1 - item["worst"], 0.05)
    rows = [
        {
            "what": "rotation",
            "runs": rotation["runs until all were"],
            "reports": rotation["reports"],
            "calls": rotation["calls"],
            "fresh": None,
        },
        *(
            {
                "what": item.strategy.name,
                "runs": item.runs,
                "reports": item.reports,
                "calls": item.calls,
                "fresh": None,
            }
            for item in day
        ),
        *({name: item[name] for name in ("what", "runs", "reports", "calls", "fresh")} for item in freshness),
    ]
    return results.finish(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
