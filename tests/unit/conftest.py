"""A prefetch engine and a reader over a source whose every response a test decides."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue, SqlAdmission
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Transient
from adwarm.model import Account, Priority, QuerySpec, ReportKey, Scope, ScopeKind, WarmResult, Window
from adwarm.prefetch import KeyRequest, PrefetchEngine
from adwarm.prefetch.healers import PartitionRefetch
from adwarm.recovery import RecoveryPipeline
from adwarm.recovery.retry import ErrorFilter
from adwarm.serving import ReadChain, Reader, ReadResult, read_or_fetch
from adwarm.settings import CompressionSettings, Settings
from adwarm.sources.pool import SourcePool
from adwarm.sources.protocol import (
    AccountPage,
    AsyncReportHandle,
    AsyncReportProgress,
    Capabilities,
    FetchUnit,
    Increment,
    ResultPage,
)
from adwarm.store import Context, ObjectStore, warms
from adwarm.store.database import write_transaction
from adwarm.store.entries import payload
from adwarm.store.error_events import ErrorLog
from tests.support.memory_recovery import memory_options

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SQLITE_ONLY = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
"""Marks a test of logic that is the same on every database."""


@dataclass
class ScriptedSource:
    """A source that responds by a script: per account a callable that returns a page or raises."""

    script: dict[str, Callable[[FetchUnit], ResultPage]] = field(default_factory=dict)
    submitted: list[FetchUnit] = field(default_factory=list)
    zone: str = "UTC"
    account_lookups: list[str] = field(default_factory=list)
    split_into: list[FetchUnit] = field(default_factory=list)
    name: str = "scripted"
    capabilities: Capabilities = field(default_factory=Capabilities)
    connection: str = "default"
    credential: str = "abc"
    clock_offset_seconds: float | None = None

    def get_account(self, account_id: str) -> Account:
        """Return an account in `zone`."""
        self.account_lookups.append(account_id)
        return Account(account_id, self.zone, self.zone, "EUR")

    def close(self) -> None:
        """Hold nothing open."""

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return no account."""
        return AccountPage(())

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the account's own scope."""
        return (Scope(ScopeKind.ACCOUNT, account_id),)

    def plan(
        self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
    ) -> list[FetchUnit]:
        """Return one unit for everything."""
        return [FetchUnit(account.id, tuple(windows), increment, spec)]

    def submit(self, unit: FetchUnit) -> ResultPage:
        """Respond by the script, or with one ad that runs every day."""
        self.submitted.append(unit)
        return self.script.get(unit.account_id, one_ad_page)(unit)

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return nothing; this source has no reports."""
        return {}

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Fail; this source has one page only."""
        raise AssertionError("no second page was announced")

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Fail; this source has no reports."""
        raise AssertionError("this source answers at once")

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Split as the test sets it."""
        return self.split_into

    def list_objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        """Fail; this source lists no objects."""
        raise AssertionError("this source lists no objects")


def finish_warms(
    engine: Engine, run_id: str, results: Sequence[WarmResult], requests: int, errors: Sequence[str]
) -> None:
    """Store results of warms in a transaction of their own."""
    with write_transaction(engine) as connection:
        warms.finish(connection, run_id, results, requests, errors)


def one_ad_page(unit: FetchUnit) -> ResultPage:
    """One ad with the same metrics every day, or once per window."""
    spans = (
        [(day, day) for window in unit.windows for day in window.days()]
        if unit.increment is Increment.DAY
        else [(window.since, window.until) for window in unit.windows]
    )
    rows = [
        {
            "account_id": unit.account_id,
            "ad_id": "7",
            "date_start": str(since),
            "date_stop": str(until),
            "impressions": "1000",
            "reach": "800",
            "clicks": "10",
            "spend": "5.00",
        }
        for since, until in spans
    ]
    return ResultPage(rows, api_version="v26.0")


@dataclass
class PrefetchHarness:
    """The parts that a prefetch test works with."""

    prefetch: PrefetchEngine
    source: ScriptedSource
    engine: Engine
    clock: VirtualClock
    settings: Settings

    def use_compression(self, compression: CompressionSettings) -> None:
        """Fetch with other compression settings from now on."""
        settings = self.settings.model_copy(update={"compression": compression})
        self.prefetch = replace(self.prefetch, context=replace(self.prefetch.context, settings=settings))


@pytest.fixture
def harness(engine: Engine, objects: ObjectStore) -> PrefetchHarness:
    """A prefetch engine over a scripted source, with a clock that stands still."""
    clock, source = VirtualClock(NOW), ScriptedSource()
    settings = Settings(workers=2)
    context = Context(engine, objects, settings)
    queue = RequestQueue(engine, settings.backpressure, owner="test")
    healers = [PartitionRefetch(context, queue, clock, ErrorFilter(("Corrupt",)), 60)]
    pipeline = RecoveryPipeline(
        settings.recovery, ErrorLog(engine), clock, random.Random(1), **memory_options(clock, healers=healers)
    )
    admission = SqlAdmission(engine, settings.backpressure, owner="test", rng=random.Random(2))
    prefetch = PrefetchEngine(context, SourcePool(lambda: source), admission, pipeline, clock, "test")
    return PrefetchHarness(prefetch, source, engine, clock, settings)


@dataclass
class ReaderHarness:
    """A reader, and the prefetch harness that fills its store."""

    harness: PrefetchHarness
    reader: Reader

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.harness.engine

    def warm(self, *keys: ReportKey) -> None:
        """Make keys fresh."""
        self.harness.prefetch.run([KeyRequest(key) for key in keys], Priority.LOW)

    def fetch(self, key: ReportKey) -> ReadResult:
        """Read a key, and fetch it when it is not fresh."""
        return read_or_fetch(self.reader, lambda: self.harness.prefetch, key)

    def chain(self, context: Context | None = None) -> ReadChain:
        """Return a read chain over the reader, or over one of its own with other settings."""
        reader = self.reader if context is None else Reader(context, self.harness.clock)
        return ReadChain(reader, lambda: self.harness.prefetch)

    def break_upstream(self, account: str = "act_1") -> None:
        """Make every call for an account fail."""

        def down(unit: FetchUnit) -> ResultPage:
            raise Transient("the platform is down")

        self.harness.source.script = {account: down}

    def corrupt_objects(self) -> None:
        """Flip the last byte of every stored object."""
        root = Path(self.harness.prefetch.objects.url)
        for path in (item for item in root.rglob("*") if item.is_file()):
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    def corrupt_payloads(self) -> None:
        """Flip the last byte of every payload."""
        with write_transaction(self.engine) as connection:
            for row in connection.execute(payload.select()).all():
                spoiled = bytes(row.body[:-1]) + bytes([row.body[-1] ^ 1])
                connection.execute(payload.update().where(payload.c.hash == row.hash).values(body=spoiled))


@pytest.fixture
def reading(harness: PrefetchHarness) -> ReaderHarness:
    """A reader with the clock of the prefetch harness."""
    return ReaderHarness(harness, Reader(harness.prefetch.context, harness.clock))
