"""A report by placement beside the plain one: calls, time, and bytes of a first visit and of a returning reader.

One account, the last 30 days, fetched from the simulated platform on two days in a row. Both reports have the same
fields and are fetched in turn, so that their ratio holds on a busy machine.

Then every breakdown at every level, by day and over the range: the sums of its groups beside the true ones, after
split requests, after a gap of one object and the restatement that fills it, and after a backfill and compaction.
"""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from adwarm.compression import encode_document, unpack_document
from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.compaction import compact
from adwarm.model import Account, Priority, ReportKey, Row, Window, resolve_key
from adwarm.model.breakdowns import HOURLY
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.backfill import run_backfill
from adwarm.runtime import Runtime
from adwarm.store import entries, partitions
from adwarm.store.partition_rows import daily_rows
from graph_simulator.config import FIRST_ACCOUNT, SimulatorConfig
from graph_simulator.date_ranges import DateRange
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.benchmarks.meta import save_accounts, temporary_runtime

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RANGE = "last_30d"
ACCOUNT = f"act_{FIRST_ACCOUNT}"
PLACEMENT = ("publisher_platform", "platform_position")
DIVISIONS: tuple[tuple[str, ...], ...] = (
    ("age",),
    ("gender",),
    ("age", "gender"),
    ("country",),
    ("region",),
    PLACEMENT[:1],
    PLACEMENT,
    ("publisher_platform", "impression_device"),
    (*PLACEMENT, "impression_device"),
    ("impression_device",),
    ("product_id",),
    (HOURLY,),
)
LEVELS = ("ad", "adset", "campaign", "account")
PAST = Window(date(2026, 7, 1), date(2026, 7, 31))
SPLIT: dict[str, Any] = {"size": {"sync_rows": 90, "async_rows": 90}}
GAP = {"poison": [{"account": ACCOUNT, "slot": 0}]}
REPORTS: dict[str, dict[str, Any]] = {"default": {}, "placement": {"breakdowns": PLACEMENT}}


class Reports:
    """Both reports of one account, and what their fetches took."""

    def __init__(self, runtime: Runtime, server: SimulatorServer, clock: VirtualClock) -> None:
        self._runtime, self._server, self._clock = runtime, server, clock
        self._engine = runtime.prefetch_engine()
        save_accounts(runtime, server)
        server.state.clock = clock  # waits for an async report pass on the platform as well
        server.state.set_fault_profile(server.state.fault_profile)

    def fetch(self, day: str, moment: datetime) -> list[dict[str, Any]]:
        """Fetch both reports at a moment, and return a row for each."""
        self._clock.set(moment)
        return [{"day": day, "report": name, **self._fetch_one(name, moment)} for name in REPORTS]

    def _fetch_one(self, name: str, moment: datetime) -> dict[str, Any]:
        key, calls, started = ReportKey(ACCOUNT, RANGE, name), self._server.calls()["total"], time.process_time()
        [outcome] = self._engine.run([KeyRequest(key)], Priority.LOW, wait_seconds=600).outcomes
        if not outcome.status.is_served:
            raise SystemExit(f"{name} was not fetched: {outcome.reason}")
        seconds, calls = time.process_time() - started, self._server.calls()["total"] - calls
        spec = self._runtime.settings.spec(name)
        stored = entries.find(self._runtime.engine, resolve_key(key, Account(ACCOUNT), spec, moment))
        if stored is None:
            raise SystemExit(f"{name} is not stored")
        entry, blob = stored
        document = unpack_document(blob, self._runtime.settings.compression)
        return {
            "rows": document.daily.rows,
            "calls": calls,
            "CPU seconds": seconds,
            "JSON bytes": len(encode_document(document)),
            "bytes sent": entry.stored_bytes,
        }


def measure_breakdowns() -> list[dict[str, Any]]:
    """Return what each report took on each day."""
    clock = VirtualClock(NOW)
    with (
        SimulatorServer(SimulatorConfig(accounts=1, ads=sized(50, 4), seed=7, now=NOW)) as server,
        temporary_runtime(server.url, clock, reports=REPORTS) as runtime,
    ):
        reports = Reports(runtime, server, clock)
        return reports.fetch("first", NOW) + reports.fetch("second", NOW + timedelta(days=1))


class Sums:
    """A report by groups of one account, and what its groups lack of the true sums."""

    def __init__(self, runtime: Runtime, server: SimulatorServer, clock: VirtualClock, report: str) -> None:
        self._runtime, self._server, self._clock, self._report = runtime, server, clock, report
        self._spec, self._engine = runtime.settings.spec(report), runtime.prefetch_engine()
        self.compared = self.wrong = self.rows = 0

    def fetch(self, days: int, faults: dict[str, Any]) -> None:
        """Fetch the report so many days later, while the platform has faults; what has no gap is compared."""
        self._clock.set(max(NOW + timedelta(days=days), self._clock.now()))
        self._server.state.set_fault_profile(parse_fault_profile(faults, "sums"))
        request = KeyRequest(ReportKey(ACCOUNT, "last_7d", self._report))
        [outcome] = self._engine.run([request], Priority.LOW, wait_seconds=600).outcomes
        if not outcome.status.is_served:
            raise SystemExit(f"{self._report} was not fetched: {outcome.reason}")
        if faults is not GAP:
            self._compare_range()

    def backfill_and_compact(self) -> None:
        """Backfill a month, wait until it has settled, compact and compare it."""
        result = run_backfill(self._engine, [Account(ACCOUNT)], PAST, report=self._report)
        self._clock.sleep(60 * 86_400)
        packed = compact(self._runtime.context)
        if result.reasons or packed.errors or not packed.months:
            raise SystemExit(f"{self._report}: {result.reasons or packed}")
        self._compare(self._stored(PAST), PAST, daily=True)

    def _compare_range(self) -> None:
        key = resolve_key(ReportKey(ACCOUNT, "last_7d", self._report), Account(ACCOUNT), self._spec, self._clock.now())
        stored = entries.find(self._runtime.engine, key)
        document = unpack_document(stored[1], self._runtime.settings.compression) if stored else None
        self._compare(self._stored(key.window), key.window, daily=True)
        self._compare(document.window_table.to_rows() if document else [], key.window, daily=False)

    def _stored(self, window: Window) -> list[Row]:
        states = partitions.list_states(self._runtime.engine, ACCOUNT, self._spec.hash, window)
        return daily_rows(self._runtime.objects, states, window)

    def _compare(self, rows: Iterable[Row], window: Window, *, daily: bool) -> None:
        level, found = self._spec.level, Counter[tuple[str, str, str]]()
        for row in rows:
            for name in ("impressions", "clicks", "spend"):
                value = round(float(row.get(name, 0)) * (100 if name == "spend" else 1))
                found[row[f"{level}_id"].removeprefix("act_"), row["date_start"], name] += value
            self.rows += 1
        truth = self._server.state.sums(ACCOUNT, level, DateRange(window.since, window.until), daily=daily)
        true = {
            (row.id, str(row.since), name): value
            for row in truth
            for name, value in (("impressions", row.impressions), ("clicks", row.clicks), ("spend", row.spend_cents))
        }
        self.compared += len(true)
        self.wrong += sum(found[key] != true.get(key, 0) for key in found.keys() | true.keys())


def measure_sums() -> list[dict[str, Any]]:
    """Return for each breakdown how many sums over its groups, at all levels, are not the true ones."""
    result = []
    for breakdowns in DIVISIONS[: sized(None, 1)]:
        levels = LEVELS[: sized(None, 1)]
        clock, reports = VirtualClock(NOW), {level: {"level": level, "breakdowns": breakdowns} for level in levels}
        with (
            SimulatorServer(SimulatorConfig(accounts=1, ads=8, seed=7, now=NOW)) as server,
            temporary_runtime(server.url, clock, reports=reports) as runtime,
        ):
            save_accounts(runtime, server)
            server.state.clock = clock
            items = [Sums(runtime, server, clock, level) for level in levels]
            for days, faults in ((0, SPLIT), (1, GAP), (2, {})):
                for item in items[: len(items) - (faults is GAP and len(items) > 1)]:  # an account has no gap in it
                    item.fetch(days, faults)
            for item in items:
                item.backfill_and_compact()
        counts = {name: sum(getattr(item, name) for item in items) for name in ("rows", "compared", "wrong")}
        result.append({"breakdowns": " + ".join(breakdowns), **counts})
    return result
