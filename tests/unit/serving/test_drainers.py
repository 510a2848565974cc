"""Who fetches misses: the choice, the threads that drain the queue, and the DAG that is started instead."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, Denied, Transient
from adwarm.model import Account, Priority, ReportKey
from adwarm.prefetch.queue_worker import QueueWorker
from adwarm.read_api import build_miss_handler
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus, drainers
from adwarm.serving.drainers import FetchMode, QueueDrainer, describe_fetching, make_drainer
from adwarm.serving.misses import FetchOutcome, QueueMissHandler
from adwarm.settings import ServingSettings, Settings, SourceSettings
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import accounts, read_traffic
from adwarm.store.database import database_time
from adwarm.store.requests import RequestStatus
from tests.unit.conftest import NOW, PrefetchHarness, one_ad_page
from tests.unit.serving.miss_harness import CountingQueue, make_token, store_token

KEY = ReportKey("act_1", "last_7d")
DRAINS = FetchMode("drains", "this process fetches")


@dataclass
class Process:
    """A serving process on the shared database: its handler and its threads."""

    harness: PrefetchHarness
    owner: str
    seconds_ahead: list[float]
    misses: QueueMissHandler = field(init=False)
    queue: CountingQueue = field(init=False)
    drainer: QueueDrainer = field(init=False)

    def __post_init__(self) -> None:
        store_token(self.harness.engine)
        settings = Settings(serving=ServingSettings(max_waiters_per_token=1_000))
        self.queue = CountingQueue(
            self.harness.engine, settings.backpressure, owner=self.owner, database_time=self._database_time
        )
        self.drainer = QueueDrainer(DRAINS, self.queue, self.make_worker)
        self.misses = QueueMissHandler(self.harness.engine, settings, self.harness.clock, self.queue, self.drainer)

    def make_worker(self) -> QueueWorker:
        """Return a worker over the scripted source."""
        return QueueWorker(replace(self.harness.prefetch, owner=self.owner), self.queue, 4)

    def _database_time(self, connection: Connection) -> float:
        return database_time(connection) + sum(self.seconds_ahead)

    async def read(self, key: ReportKey = KEY, wait: float = 30.0) -> FetchOutcome:
        """Fetch a report as a reader does."""
        return await self.misses.fetch(key, make_token(), Priority.NORMAL, wait)


@pytest.fixture(autouse=True)
def many_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let more readers wait than a process takes."""
    monkeypatch.setattr("adwarm.serving.misses.MAX_WAITERS", 4_000)


@pytest.fixture
def seconds_ahead() -> list[float]:
    """How far the queue's time is ahead of the database's."""
    return [0.0]


@pytest.fixture
def process(harness: PrefetchHarness, seconds_ahead: list[float]) -> Process:
    """A serving process that knows some accounts."""
    accounts.save(harness.engine, [Account(f"act_{number}", "UTC", "UTC") for number in range(1, 6)], NOW)
    return Process(harness, "one", seconds_ahead)


def run(work: Callable[[], Any], *processes: Process) -> Any:
    """Run a coroutine while the processes serve, and check that they leave nothing behind."""
    before = threading.active_count()

    async def serve() -> Any:
        for process in processes:
            process.misses.start()
        try:
            return await work()
        finally:
            for process in processes:
                await process.misses.close()
            await asyncio.sleep(0)
            assert not any(process.misses.waiting or process.misses._flights._flights for process in processes)
            assert len(asyncio.all_tasks()) == 1

    result = asyncio.run(serve())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("queue-", "prefetch"))]
    assert threading.active_count() <= before + 4  # pools that are closed end soon
    return result


def calls_of_one_fetch(harness: PrefetchHarness) -> int:
    """Return how many calls another account's report takes, fetched alone."""
    return len([unit for unit in harness.source.submitted if unit.account_id == "act_5"])


def test_a_thousand_readers_cause_one_fetch(process: Process) -> None:
    """All concurrent readers of one missing report are served by one upstream fetch, half of them leaving midway."""
    entered, release = threading.Event(), threading.Event()

    def hold(unit: FetchUnit) -> ResultPage:
        entered.set()
        release.wait(20)
        return one_ad_page(unit)

    process.harness.source.script["act_1"] = hold

    async def read_all() -> list[FetchOutcome]:
        readers = [asyncio.create_task(process.read()) for _ in range(1_000)]
        await asyncio.to_thread(entered.wait, 20)
        for reader in readers[::2]:
            reader.cancel()
        await asyncio.wait(readers[::2])
        assert process.misses.waiting == 500
        release.set()
        outcomes = await asyncio.gather(*readers[1::2])
        await process.read(ReportKey("act_5", "last_7d"))
        return outcomes

    outcomes = run(read_all, process)
    assert [outcome.is_stored for outcome in outcomes] == [True] * 500
    submitted = [unit for unit in process.harness.source.submitted if unit.account_id == "act_1"]
    assert len(submitted) == calls_of_one_fetch(process.harness)
    totals = read_traffic.get_totals(process.harness.engine, NOW.replace(hour=0), NOW.replace(hour=23))
    assert (totals["misses"], totals["upstream_calls"] > 0) == (0, True), "who reads counts the miss, not who fetches"


def test_a_runtime_serves_misses(harness: PrefetchHarness, tmp_path: Path) -> None:
    """What a process builds from its settings drains the queue itself when it has a source, and serves all readers."""
    accounts.save(harness.engine, [Account("act_1", "UTC", "UTC")], NOW)
    store_token(harness.engine)
    url = harness.engine.url.render_as_string(hide_password=False)
    limits = ServingSettings(max_waiters_per_token=1_000)
    settings = Settings(home=tmp_path / "home", database_url=url, serving=limits)
    runtime = Runtime(settings, harness.clock, make_source=lambda: harness.source, sources={})

    async def read_all() -> list[FetchOutcome]:
        misses = build_miss_handler(runtime)
        assert misses.drainer.mode.mode == "drains"
        misses.start()
        try:
            readers = (misses.fetch(KEY, make_token(), Priority.NORMAL, 30) for _ in range(1_000))
            return await asyncio.gather(*readers)
        finally:
            await misses.close()

    assert [outcome.is_stored for outcome in asyncio.run(read_all())] == [True] * 1_000
    units = [(unit.increment, unit.windows) for unit in harness.source.submitted]
    assert len(units) == len(set(units)), "no call was made twice"
    assert runtime.reader.read(KEY).status is ReadStatus.HIT


def test_two_processes_fetch_once(process: Process, seconds_ahead: list[float]) -> None:
    """Processes that share the queue do not fetch the same report twice, and the readers of both are served."""
    other = Process(process.harness, "two", seconds_ahead)

    def hold(unit: FetchUnit) -> ResultPage:
        for each in (process, other):
            each.queue.has_enqueued.wait(20)
        return one_ad_page(unit)

    process.harness.source.script["act_1"] = hold

    async def read_all() -> list[FetchOutcome]:
        readers = [each.read() for _ in range(200) for each in (process, other)]
        outcomes = await asyncio.gather(*readers)
        await process.read(ReportKey("act_5", "last_7d"))
        return outcomes

    outcomes = run(read_all, process, other)
    assert all(outcome.is_stored for outcome in outcomes)
    assert len({outcome.request_id for outcome in outcomes}) == 1
    submitted = [unit for unit in process.harness.source.submitted if unit.account_id == "act_1"]
    assert len(submitted) == calls_of_one_fetch(process.harness)


def test_the_error_of_the_source_reaches_the_readers(process: Process, seconds_ahead: list[float]) -> None:
    """A permanent error ends the wait with its reason; after a passing one the request is tried again and done."""
    process.harness.source.script = {"act_1": _raise(Denied("no access", account_id="act_1"))}
    process.harness.source.script["act_2"] = _raise(Transient("the platform is down"))
    second = ReportKey("act_2", "last_7d")

    async def read() -> tuple[FetchOutcome, FetchOutcome, FetchOutcome]:
        denied = await process.read()
        down = await process.read(second, wait=1)
        process.harness.source.script.clear()
        seconds_ahead.append(60.0)
        return denied, down, await process.read(second)

    denied, down, later = run(read, process)
    assert (denied.is_stored, "no access" in (denied.reason or "")) == (False, True)
    assert (down.is_stored, down.retry_after) == (False, 5)
    assert "the platform is down" in (down.reason or "")
    assert later.is_stored
    retried = process.queue.find(down.request_id)
    assert retried is not None
    assert retried.status == "completed"


def _raise(error: Exception) -> Callable[[FetchUnit], ResultPage]:
    def answer(unit: FetchUnit) -> ResultPage:
        raise error

    return answer


def test_a_thread_continues_after_an_error(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot be made, or that breaks, is replaced after a pause."""
    monkeypatch.setattr(drainers, "POLL_SECONDS", 0.01)
    failures: list[Exception] = [BadRequest("no token"), RuntimeError("secret=abcdef"), Transient("no database")]
    make_worker = process.make_worker

    def break_at_first() -> QueueWorker:
        if failures:
            raise failures.pop()
        return make_worker()

    process.drainer = QueueDrainer(DRAINS, process.queue, break_at_first, threads=1)
    process.misses = QueueMissHandler(
        process.harness.engine, process.harness.settings, process.harness.clock, process.queue, process.drainer
    )

    assert run(process.read, process).is_stored
    assert failures == []


def test_a_stop_gives_the_running_batch_back(process: Process) -> None:
    """A batch that is stopped loses nothing: its requests are pending again and were no attempt."""
    entered, release = threading.Event(), threading.Event()

    def hold(unit: FetchUnit) -> ResultPage:
        entered.set()
        release.wait(20)
        raise Transient("the connection was closed")

    process.harness.source.script["act_1"] = hold
    number = process.queue.enqueue(KEY, Priority.NORMAL).id
    process.drainer.start(lambda: None)
    process.drainer.wake()
    entered.wait(20)
    threading.Timer(0.3, release.set).start()  # the call that runs is not interrupted, only followed by none
    process.drainer.stop(20)

    request = process.queue.find(number)
    assert request is not None
    assert (request.status, request.attempts) == (RequestStatus.PENDING, 0)
    assert "stopping" in (request.error or "")


def test_who_fetches(subtests: pytest.Subtests) -> None:
    """A process with a credential drains, others say what is missing."""
    for source, mode, words in [
        ({"access_token": "t"}, "drains", ["meta source"]),
        ({"kind": "parquet", "url": "/data"}, "drains", ["parquet source"]),
        ({"kind": "sql", "url": "sqlite://"}, "drains", ["sql source"]),
        ({}, "waits", ["ADWARM_SOURCE__ACCESS_TOKEN", "every 5 minutes"]),
        ({"kind": "parquet"}, "waits", ["ADWARM_SOURCE__URL"]),
    ]:
        with subtests.test(source=source, mode=mode, words=words):
            settings = Settings(source=SourceSettings(**source))

            found = describe_fetching(settings, Runtime(settings).source_factories)
            assert found.mode == mode
            for text in words:
                assert text in found.sentence


def test_a_connection_without_its_credential_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection needs what it calls with; the reason names what is missing."""
    settings = Settings(
        source=SourceSettings(access_token=SecretStr("t")), connections={"b": SourceSettings(kind="sql")}
    )

    assert describe_fetching(settings, Runtime(settings).source_factories).mode == "waits"
    assert describe_fetching(settings, lambda: None).mode == "drains"


@pytest.fixture
def queue(sqlite_engine: Engine) -> RequestQueue:
    """An empty queue."""
    return RequestQueue(sqlite_engine, Settings().backpressure, owner="one")


def test_without_any_credential_the_next_run_is_named(queue: RequestQueue) -> None:
    """The hint is the time until the schedule of the DAG; no worker is made."""
    settings = Settings()
    clock = VirtualClock(datetime(2026, 11, 25, 9, 58, 30, tzinfo=UTC))
    mode = describe_fetching(settings, Runtime(settings).source_factories)
    drainer = make_drainer(mode, queue, lambda: pytest.fail("no worker"), clock)

    assert (drainer.retry_after(), "next at 10:00 UTC" in drainer.describe()) == (93, True)
