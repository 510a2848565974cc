"""Upstream requests for a warmed key over a day: last_7d, last_30d, yesterday and today, three times, many accounts.

History is present: the accounts were warmed once a day for the nine days before. Every page, poll and submit that the
platform counts is counted. For comparison the same keys are then fetched with one request for each key and page.

Then one of the four is opened every quarter of an hour for twelve hours, and warmed before where its entry would not
last through the session: what an account costs that is looked at all day. At each open the days of the answer are
compared with the ages at which they are old. Then a report by placement is fetched beside the plain one.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from adwarm.compression import unpack_document
from adwarm.fetch_plan import SESSION, RefetchSchedule
from adwarm.foundation.clock import VirtualClock
from adwarm.model import Account, EntryKey, Priority, ReportKey, Window, resolve_key, resolve_window
from adwarm.prefetch import KeyRequest, KeyStatus
from adwarm.runtime import Runtime, source_factory
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm.store import accounts, entries, partitions
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
OPENED_FROM, OPENS, BETWEEN = DAY + timedelta(hours=12, minutes=7), 48, timedelta(minutes=15)
"""The account that is opened all day: it is 8:00 in New York then, and past midnight in Berlin when it ends."""
LEAD = timedelta(minutes=2)
LIMIT = 0.30


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


def measure_all_day(number: int, ads: int) -> dict[str, float]:
    """Return what warms of four reports take that are opened all day, and how many opens met an old answer.

    A warm that finds its key fresh for the session stores nothing.
    """
    names = [f"act_{FIRST_ACCOUNT + index}" for index in range(number)]
    zones = {name: ZONES[index % len(ZONES)] for index, name in enumerate(names)}
    config = SimulatorConfig(accounts=number, ads=ads, seed=7, zone=zones, now=DAY - LEARNING)
    clock, stored, old = VirtualClock(DAY - LEARNING), 0, 0
    days: dict[EntryKey, dict[date, datetime]] = {}
    with SimulatorServer(config) as server, temporary_runtime(server.url, clock) as runtime:
        owners = {account.id: account for account in save_accounts(runtime, server)}
        for moment in _mornings():
            set_time(server, clock, moment)
            _warm(runtime, names)
        before = server.calls()["total"]
        for index in range(OPENS):
            opened, date_range = OPENED_FROM + index * BETWEEN, RANGES[index % len(RANGES)]
            keys = {name: resolve_key(ReportKey(name, date_range), owners[name], SPEC, opened) for name in names}
            set_time(server, clock, opened - LEAD)
            requests = [KeyRequest(ReportKey(name, date_range), fresh_until=opened + SESSION) for name in names]
            outcomes = runtime.prefetch_engine().run(requests, Priority.LOW).outcomes
            warmed = [item.request.key.account_id for item in outcomes if item.status is KeyStatus.FETCHED]
            days.update((keys[name], _find_days(runtime, owners[name], keys[name])) for name in warmed)
            stored += len(warmed)
            set_time(server, clock, opened)
            old += sum(_is_old(runtime, owners[name], key, days.get(key, {})) for name, key in keys.items())
        calls = server.calls()["total"] - before
    opens = OPENS * number
    return {
        "opens": opens,
        "stored": stored,
        "requests": calls,
        "per key": calls / opens,
        "per account": calls / number,
        "old": old,
    }


def _find_days(runtime: Runtime, account: Account, key: EntryKey) -> dict[date, datetime]:
    """Return when each day of an entry that has just been stored was read."""
    states = partitions.list_states(runtime.engine, account.id, SPEC.hash, key.window)
    return {day: state.fetched_at for day, state in states.items()}


def _is_old(runtime: Runtime, account: Account, key: EntryKey, days: Mapping[date, datetime]) -> bool:
    """Whether a reader gets an answer now that is not a hit, or one with a day that is older than it may be."""
    stored, now = entries.find(runtime.engine, key), runtime.clock.now()
    schedule = RefetchSchedule.for_account(account, runtime.settings.freshness_rules)
    is_hit = stored is not None and stored[0].is_fresh(now)
    return not is_hit or any(schedule.is_due(day, read_at, now) for day, read_at in days.items())


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
            rows = [{**row, "account_id": row["account_id"].removeprefix("act_")} for row in rows]
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
    all_day = measure_all_day(max(3, chosen.accounts // 5), chosen.ads)
    divided, sums = measure_breakdowns(), measure_sums()
    verdicts.check_at_most("requests per warmed key of an account that is opened all day", all_day["per key"], LIMIT)
    verdicts.check_equal("opens all day that met an old answer", all_day["old"], 0)
    print_table("Four reports of an account opened all day", [all_day])
    print_table("A report by placement beside the plain one", divided)
    print_table("Sums over groups at four levels", sums)
    verdicts.check_equal("sums over groups that differ from the truth", sum(item["wrong"] for item in sums), 0)
    return verdicts.finish(rows, all_day=all_day, breakdowns=divided, sums=sums)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
