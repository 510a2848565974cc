"""A report by placement beside the plain one: calls, time, and bytes of a first visit and of a returning reader.

One account, the last 30 days, fetched from the simulated platform on two days in a row. Both reports have the same
fields and are fetched in turn, so that their ratio holds on a busy machine.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from adwarm.compression import encode_document, unpack_document
from adwarm.compression.dictionaries import encode_delta
from adwarm.foundation.clock import VirtualClock
from adwarm.model import Account, Priority, ReportKey, resolve_key
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.store import entries
from graph_simulator.config import FIRST_ACCOUNT, SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.measure import sized
from tests.benchmarks.meta import save_accounts, temporary_runtime

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RANGE = "last_30d"
ACCOUNT = f"act_{FIRST_ACCOUNT}"
PLACEMENT = ("publisher_platform", "platform_position")
REPORTS: dict[str, dict[str, Any]] = {"default": {}, "placement": {"breakdowns": PLACEMENT}}


class Reports:
    """Both reports of one account, and what their fetches took."""

    def __init__(self, runtime: Runtime, server: SimulatorServer, clock: VirtualClock) -> None:
        self._runtime, self._server, self._clock = runtime, server, clock
        self._engine, self._documents = runtime.prefetch_engine(), dict[str, bytes]()
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
        body, before = encode_document(document), self._documents.get(name)
        self._documents[name] = body
        return {
            "rows": document.daily.rows,
            "calls": calls,
            "CPU seconds": seconds,
            "JSON bytes": len(body),
            "bytes sent": entry.stored_bytes,
            "delta bytes": 0 if before is None else len(encode_delta(body, before)),
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
