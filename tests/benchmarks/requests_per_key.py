"""Upstream requests for a warmed key over a day: last_7d, last_30d, yesterday and today, three times, many accounts.

History is present: the accounts were warmed once a day for the nine days before. Every page, poll and submit that the
platform counts is counted. For comparison the same keys are then fetched with one request for each key and page. Then a
report by placement is fetched beside the plain one.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from adwarm.compression import unpack_document
from adwarm.foundation.clock import VirtualClock
from adwarm.model import Priority, ReportKey, Window, resolve_key, resolve_window
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime, source_factory
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm.store import accounts, entries
from graph_simulator.config import FIRST_ACCOUNT, SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.breakdowns import measure_breakdowns, measure_sums
from tests.benchmarks.measure import print_table, sized
from tests.benchmarks.meta import SPEC, RowDifference, expected_rows, save_accounts, set_time, temporary_runtime
from tests.benchmarks.targets import TargetResults

RANGES = ("last_7d", "last_30d", "yesterday", "today")
ZONES = ("UTC", "America/New_York", "Europe/Berlin")
DAY = datetime(2026, 9, 16, tzinfo=UTC)
HOURS = (14, 17.5, 21)
"""Three moments, more than three hours apart, at which it is the same day in all the zones."""
LEARNING = timedelta(days=9)
LIMIT = 0.35


def measure(number: int, ads: int) -> tuple[dict[str, float], dict[str, float], RowDifference]:
    """Return numbers of the planner, of one request per key and page, and the differences from the true rows."""
    names = [f"act_{FIRST_ACCOUNT + index}" for index in range(number)]
    zones = {name: ZONES[index % len(ZONES)] for index, name in enumerate(names)}
    config = SimulatorConfig(accounts=number, ads=ads, seed=7, zone=zones, now=DAY - LEARNING)
    clock, difference = VirtualClock(DAY - LEARNING), RowDifference()
    with SimulatorServer(config) as server, temporary_runtime(server.url, clock) as runtime:
        save_accounts(runtime, server)
        for moment in _mornings():
            set_time(server, clock, moment)
            _warm(runtime, names)
        before, served = server.calls()["total"], 0
        for hours in HOURS:
            set_time(server, clock, DAY + timedelta(hours=hours))
            served += _warm(runtime, names)
            _compare(runtime, server, names, difference)
        calls = server.calls()["total"] - before
        alone = sum(_alone(runtime, server, names) for _ in HOURS)
    keys = len(names) * len(RANGES) * len(HOURS)
    return (
        {"keys": served, "requests": calls, "per key": calls / keys},
        {"keys": keys, "requests": alone, "per key": alone / keys},
        difference,
    )


def _mornings() -> Iterator[datetime]:
    moment = DAY - LEARNING + timedelta(hours=12)
    while moment < DAY:
        yield moment
        moment += timedelta(days=1)


def _warm(runtime: Runtime, names: Sequence[str]) -> int:
    discovery = runtime.account_discovery()
    if due := discovery.list_due(runtime.source_factories())[0]:  # as maintenance does; its calls are counted too
        discovery.run(due)
    requests = [KeyRequest(ReportKey(name, date_range)) for name in names for date_range in RANGES]
    report = runtime.prefetch_engine().run(requests, Priority.LOW)
    served = sum(outcome.status.is_served for outcome in report.outcomes)
    if served < len(requests):
        raise SystemExit(f"not every key was warmed: {report.errors(3)}")
    return served


def _compare(runtime: Runtime, server: SimulatorServer, names: Sequence[str], difference: RowDifference) -> None:
    """Compare every range summary, reach and frequency included, with the true rows."""
    stored = accounts.get_many(runtime.engine, names)
    for name in names:
        for date_range in RANGES[:2]:
            key = resolve_key(ReportKey(name, date_range), stored[name], SPEC, runtime.clock.now())
            result = entries.find(runtime.engine, key)
            document = unpack_document(result[1], runtime.settings.compression) if result else None
            rows = document.window_table.to_rows() if document else []
            difference.add(rows, expected_rows(server, name, [key.window], Increment.RANGE))


def _alone(runtime: Runtime, server: SimulatorServer, names: Sequence[str]) -> int:
    """Fetch each key by itself, every page of it, and return how many requests that took."""
    source, before = source_factory(runtime.settings, runtime.clock)(), server.calls()["total"]
    for name in names:
        for date_range in RANGES:
            window: Window = resolve_window(date_range, server.state.dataset.zone_of(name), runtime.clock.now())
            unit = FetchUnit(name, (window,), Increment.RANGE, SPEC)
            cursor = source.read(unit, None).next_cursor
            while cursor is not None:
                cursor = source.read(unit, cursor).next_cursor
    return server.calls()["total"] - before


def main(arguments: Sequence[str]) -> int:
    """Measure, print and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=sized(50, 3))
    parser.add_argument("--ads", type=int, default=sized(20, 2))
    chosen = parser.parse_args(arguments)
    planner, alone, difference = measure(chosen.accounts, chosen.ads)
    verdicts = TargetResults("requests", f"{chosen.accounts} accounts of {chosen.ads} ads, {len(RANGES)} keys, 3 warms")
    verdicts.check_at_most("requests per warmed key over a day", planner["per key"], LIMIT)
    verdicts.check_equal(
        "summaries that differ from the truth", difference.missing + difference.wrong + difference.extra, 0
    )
    verdicts.check_equal("keys warmed", planner["keys"], alone["keys"])
    rows = [
        {"what": "one request per key and page", **alone, "ratio": 1.0},
        {"what": "fetch planner", **planner, "ratio": planner["requests"] / alone["requests"]},
    ]
    divided, sums = measure_breakdowns(), measure_sums()
    print_table("A report by placement beside the plain one", divided)
    print_table("Sums over groups at four levels", sums)
    verdicts.check_equal("sums over groups that differ from the truth", sum(item["wrong"] for item in sums), 0)
    return verdicts.finish(rows, breakdowns=divided, sums=sums)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
