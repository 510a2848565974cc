"""A handler of misses on a virtual clock: one thread runs the event loop, the transactions and the time."""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, select

from adwarm.backpressure import ClaimedRequest, RequestQueue
from adwarm.foundation.clock import VirtualClock
from adwarm.model import AccessToken, Account, EntryKey, Priority, ReportKey, TokenScope, resolve_window
from adwarm.serving.drainers import FetchMode
from adwarm.serving.misses import FetchOutcome, QueueMissHandler
from adwarm.settings import BackpressureSettings, ServingSettings, Settings
from adwarm.store import access_tokens, accounts, entries
from adwarm.store.access_tokens import Counter
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import Entry
from adwarm.store.requests import QueuedRequest
from adwarm.store.requests import table as request_table
from tests.unit.conftest import NOW

Result = TypeVar("Result")
KEY = ReportKey("act_1", "last_7d")


class InlineExecutor(Executor):
    """Runs work at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run `fn`."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when nothing is ready, so that no wait takes time."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self.now = 0.0
        selector = self._selector  # type: ignore[attr-defined]
        real_select = selector.select

        def select_now(timeout: float | None = None) -> Any:
            events = real_select(0)
            if not events and timeout is None:
                raise AssertionError("the loop would wait forever")
            if not events and timeout:
                self.now += timeout
            return events

        selector.select = select_now

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        """Run what has no executor of its own at once: the loop does not wait for threads."""
        return super().run_in_executor(executor or InlineExecutor(), func, *args)


@dataclass
class RecordingDrainer:
    """Drains nothing, and counts how often it was woken."""

    mode: FetchMode = field(default_factory=lambda: FetchMode("waits", "nobody fetches"))
    wakes: int = 0

    def start(self, on_progress: Callable[[], None]) -> None:
        """Do nothing."""

    def wake(self) -> None:
        """Count."""
        self.wakes += 1

    def stop(self, seconds: float) -> None:
        """Do nothing."""

    def retry_after(self) -> float:
        """Return a number that the answers repeat."""
        return 7.0

    def describe(self) -> str:
        """Return words that the answers repeat."""
        return "somebody fetches it soon"


class CountingQueue(RequestQueue):
    """A queue that counts its transactions."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.enqueues = self.polls = 0
        self.has_enqueued = threading.Event()

    def enqueue(self, *args: Any, **values: Any) -> Any:
        """Enqueue, and count."""
        ticket = super().enqueue(*args, **values)
        self.enqueues += 1
        self.has_enqueued.set()
        return ticket

    def find_many(self, *args: Any) -> Any:
        """Count, and read."""
        self.polls += 1
        return super().find_many(*args)


@dataclass
class MissHarness:
    """The handler, its queue, and the loop whose time is the database's too."""

    engine: Engine
    loop: VirtualTimeLoop
    queue: CountingQueue
    misses: QueueMissHandler
    drainer: RecordingDrainer = field(default_factory=RecordingDrainer)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the virtual clock."""
        return self.loop.run_until_complete(work)

    def fetch(self, key: ReportKey = KEY, *, wait: float = 0.0, **values: Any) -> FetchOutcome:
        """Fetch a report and return the outcome."""
        return self.run(self.start(key, wait, **values))

    async def start(self, key: ReportKey = KEY, wait: float = 30.0, **values: Any) -> FetchOutcome:
        """Fetch a report in a running loop."""
        priority = values.pop("priority", Priority.NORMAL)
        return await self.misses.fetch(key, make_token(**values), priority, wait)

    def rows(self) -> int:
        """Return how many requests are stored."""
        with read_transaction(self.engine) as connection:
            return int(connection.execute(select(func.count()).select_from(request_table)).scalar_one())

    def store(self, key: ReportKey) -> None:
        """Store an old answer for a report, as a fetch does."""
        window = resolve_window(key.date_range, "UTC", NOW)
        entry_key = EntryKey(key.account_id, window, Settings().spec(key.report).hash)
        item = Entry(entry_key, key.date_range, key.report, "zstd", 1, 1, NOW - timedelta(days=1), NOW, "meta")
        with write_transaction(self.engine) as connection:
            entries.publish(connection, [(item, b"sealed")], 1, NOW)

    def count(self, counter: Counter, token_id: str = "t1") -> int:
        """Return one count of a token on the first day."""
        with read_transaction(self.engine) as connection:
            return access_tokens.get_day_count(connection, token_id, NOW.date(), counter)

    def claim(self) -> ClaimedRequest:
        """Take the next request, as a worker does."""
        return self.queue.dequeue(1)[0]

    def find(self, request_id: int | None) -> QueuedRequest:
        """Return a request."""
        found = None if request_id is None else self.queue.find(request_id)
        assert found is not None
        return found


def make_token(name: str = "t1", *, scopes: Iterable[str] = ("enqueue",), **values: Any) -> AccessToken:
    """Return a token, by default with the scope `enqueue`."""
    chosen = frozenset(TokenScope(scope) for scope in scopes)
    return AccessToken(id=name, name=name, scopes=chosen, created_at=datetime(2026, 1, 1, tzinfo=UTC), **values)


def store_token(engine: Engine, name: str = "t1") -> None:
    """Store a token once."""
    if access_tokens.find(engine, name) is None:
        access_tokens.insert_token(engine, make_token(name), "0" * 64)


async def settle(rounds: int = 50) -> None:
    """Let the tasks of the loop run until they wait for time or for somebody."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def make_harness(
    engine: Engine, serving: dict[str, Any] | None = None, known: Iterable[int] = range(1, 31), **backpressure: Any
) -> MissHarness:
    """Return a handler on a database that knows some accounts and tokens; the caller closes its loop."""
    clock, loop = VirtualClock(NOW), VirtualTimeLoop()
    for number in range(1, 10):
        store_token(engine, f"t{number}")
    accounts.save(engine, [Account(f"act_{number}", "UTC", "UTC") for number in known], NOW)

    def database_time(_connection: Connection) -> float:
        return NOW.timestamp() + loop.now

    limits = {"max_waiters_per_token": 1_000, **(serving or {})}
    settings = Settings(serving=ServingSettings(**limits), backpressure=BackpressureSettings(**backpressure))
    queue = CountingQueue(engine, settings.backpressure, owner="one", database_time=database_time)
    drainer = RecordingDrainer()
    misses = QueueMissHandler(engine, settings, clock, queue, drainer, InlineExecutor())
    return MissHarness(engine, loop, queue, misses, drainer)
