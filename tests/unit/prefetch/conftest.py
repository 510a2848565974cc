"""A prefetch engine over the simulated platform, both on one clock that only moves when a thread waits."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from adwarm.backpressure import CallRequest
from adwarm.backpressure.admission import CallOutcome, CallOutcomeKind, Decision, Grant, Wait
from adwarm.foundation.clock import VirtualClock
from adwarm.model import Priority, ReportKey, Row, Window
from adwarm.prefetch import BatchResult, KeyRequest, PrefetchEngine
from adwarm.recovery import RecoveryPipeline
from adwarm.settings import Settings, SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.sources.pool import SourceFactory, SourcePool
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.error_events import ErrorEvent, ErrorLog
from adwarm.store.partition_rows import daily_rows
from graph_simulator.calls import LoggedCall
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.support.memory_recovery import memory_options
from tests.unit.conftest import NOW

TOKEN = "simulated-token"
LONG_RANGE = "2026-10-01..2026-11-24"
LONG_WINDOW = Window(date(2026, 10, 1), date(2026, 11, 24))


@dataclass
class UnlimitedAdmission:
    """Admission without limits; it parks what the platform throttles, by the test's clock, and records decisions."""

    clock: VirtualClock
    parked: dict[str, Any] = field(default_factory=dict)
    admitted: list[tuple[tuple[str, ...], float]] = field(default_factory=list)
    in_flight: int = 0
    peak_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, call: CallRequest) -> Decision:
        """Grant at once unless a scope is parked."""
        with self.lock:
            for scope in map(str, call.scopes):
                left = (self.parked.get(scope, self.clock.now()) - self.clock.now()).total_seconds()
                if left > 0:
                    return Wait(left, f"{scope} is parked", scope)
            self.admitted.append((tuple(map(str, call.scopes)), call.cost))
            self.in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return Grant(uuid4().hex, call.scopes, call.priority, call.cost, 0.0, 1e12, call.source)

    def renew(self, grant: Grant) -> Grant:
        """Return the grant; nothing expires."""
        return grant

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Park what was throttled, and what its usage reports as used up."""
        with self.lock:
            self.in_flight -= 1
            if outcome.kind is CallOutcomeKind.THROTTLED and outcome.parked_scope:
                self._park(str(outcome.parked_scope), outcome.park_seconds or 60)
            for sample in outcome.usage:
                if sample.regain_seconds and sample.percent >= 100:
                    self._park(str(sample.scope), sample.regain_seconds)

    def _park(self, scope: str, seconds: float) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        self.parked[scope] = max(until, self.parked.get(scope, until))


@dataclass
class PlatformHarness:
    """The simulated platform, the engine that fetches from it, and what both did."""

    server: SimulatorServer
    prefetch: PrefetchEngine
    clock: VirtualClock
    admission: UnlimitedAdmission
    errors: ErrorLog

    def set_faults(self, **values: Any) -> None:
        """Use this fault profile from now on."""
        self.server.state.set_fault_profile(parse_fault_profile(values, "storm"))

    def run(self, *accounts: str, span: str = LONG_RANGE, wait: float = 600, **changes: Any) -> BatchResult:
        """Fetch one range of some accounts."""
        requests = [KeyRequest(ReportKey(account, span)) for account in accounts]
        engine = replace(self.prefetch, **changes) if changes else self.prefetch
        return engine.run(requests, Priority.LOW, wait_seconds=wait)

    def with_settings(self, settings: Settings) -> "PlatformHarness":
        """Return the same harness with an engine that has other settings."""
        context = replace(self.prefetch.context, settings=settings)
        return replace(self, prefetch=replace(self.prefetch, context=context))

    def with_source(self, make_source: SourceFactory) -> "PlatformHarness":
        """Return the same harness with an engine that has another default source."""
        return replace(self, prefetch=replace(self.prefetch, sources=SourcePool(make_source)))

    def calls(self, route: str | None = None) -> list[LoggedCall]:
        """Return the calls so far, of one route or all."""
        return [call for call in self.server.state.calls.entries()[0] if route in {None, call.route}]

    def stored_rows(self, account: str, window: Window = LONG_WINDOW) -> list[Row]:
        """Return the stored daily rows of an account."""
        spec = self.prefetch.settings.spec("default").hash
        return daily_rows(
            self.prefetch.objects, partitions.list_states(self.prefetch.engine, account, spec, window), window
        )

    def expected_rows(self, account: str, window: Window = LONG_WINDOW) -> list[Row]:
        """Return the platform's own rows, read without faults and limits."""
        storm = self.server.state.fault_profile
        self.server.state.set_fault_profile(parse_fault_profile({}, "calm"))
        source = self.prefetch.sources.make_default()
        from adwarm.sources.protocol import Increment, ResultPage

        (unit,) = source.plan(
            source.get_account(account), [window], Increment.DAY, self.prefetch.settings.spec("default")
        )
        page = source.submit(unit)
        rows: list[Row] = []
        while isinstance(page, ResultPage):
            rows += page.rows
            if page.next_cursor is None:
                break
            page = source.read(unit, page.next_cursor)
        self.server.state.set_fault_profile(storm)
        return sorted(rows, key=lambda row: (str(row["date_start"]), str(row.get("ad_id", ""))))

    def events(self, kind: str) -> list[ErrorEvent]:
        """Return the recorded errors of a kind."""
        return [event for event in self.errors.list_recent(1_000) if event.kind == kind]


@pytest.fixture
def make_staging(sqlite_engine: Engine, objects: ObjectStore) -> Any:
    """Returns a factory of harnesses; their servers stop at the end of the test."""
    servers: list[SimulatorServer] = []

    def make(config: dict[str, Any] | None = None, **source: Any) -> PlatformHarness:
        clock = VirtualClock(NOW)
        server = SimulatorServer(SimulatorConfig(**{"ads": 6, "now": NOW, "token": TOKEN, **(config or {})}))
        server.__enter__()
        servers.append(server)
        server.state.clock = clock
        server.state.set_fault_profile(server.state.fault_profile)
        settings = Settings(workers=4, source=SourceSettings(graph_url=server.url, **source))
        errors = ErrorLog(sqlite_engine)
        pipeline = RecoveryPipeline(settings.recovery, errors, clock, random.Random(1), **memory_options(clock))
        admission = UnlimitedAdmission(clock)
        sources = SourcePool(make_source_factory(settings.source, TOKEN, clock))
        context = Context(sqlite_engine, objects, settings)
        prefetch = PrefetchEngine(context, sources, admission, pipeline, clock, "test")
        return PlatformHarness(server, prefetch, clock, admission, errors)

    yield make
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def staging(make_staging: Callable[..., PlatformHarness]) -> PlatformHarness:
    """A platform without faults, and an engine."""
    return make_staging()


def make_source_factory(
    settings: SourceSettings, token: str, clock: VirtualClock, connection: str = "default"
) -> Callable[[], MetaSource]:
    """Return a factory of sources with a token."""
    return lambda: MetaSource(MetaCredentials(SecretStr(token)), settings, connection, clock)
